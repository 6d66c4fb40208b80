// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// FileState is another for every file, and changes whenever the file does: its content, mode or owner, or a folder's entries.
type FileState struct {
	device, inode     uint64
	mode, uid         uint32
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

// StateOf returns the state of the file at a path, and of a link itself unless it is to be followed.
func StateOf(path string, follow bool) (s FileState, ok bool) {
	var st unix.Stat_t
	call := unix.Lstat
	if follow {
		call = unix.Stat
	}
	for {
		switch call(path, &st) {
		case nil:
			return FileState{uint64(st.Dev), st.Ino, st.Mode, st.Uid, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, true
		case unix.EINTR:
			continue
		}
		return s, false
	}
}

// Settled reports whether the last change was long enough before a moment for the next one to show: the clock of files is coarse.
func (s FileState) Settled(at time.Time) bool {
	return at.UnixNano()-s.changed >= int64(50*time.Millisecond)
}

// IsLocal reports whether the file at a path is in a file system of this kernel's own, which answers a look at a file that was seen
// lately from memory. Others wait for somebody who may hang.
func IsLocal(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.F2FS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
		return true
	}
	return false
}
