// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenFolder opens a folder itself, for locking and to reach what is in it. It does not follow a
// symbolic link in the last place.
func OpenFolder(path string) (*FD, error) {
	n, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return NewFD(n), nil
}

// Lock takes an exclusive flock on an open file. Without wait, a lock held elsewhere is syscall.EWOULDBLOCK.
func Lock(fd int, wait bool) error {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err := unix.Flock(fd, how)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EWOULDBLOCK {
			return err
		}
		return os.NewSyscallError("flock", err)
	}
}

// FolderID tells folders apart, also one that was removed from one made anew at its path.
type FolderID struct{ Device, Inode uint64 }

// FolderStat is what the rules for a runtime folder look at.
type FolderStat struct {
	ID      FolderID
	UID     int
	Mode    uint32 // permission bits
	IsDir   bool
	Deleted bool // no path leads to it any more
}

// StatFolder looks at an open folder.
func StatFolder(fd int) (FolderStat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return FolderStat{}, os.NewSyscallError("fstat", err)
	}
	return folderStat(&st), nil
}

// LstatFolder looks at what is at a path, without following a link in the last place.
func LstatFolder(path string) (FolderStat, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return FolderStat{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return folderStat(&st), nil
}

func folderStat(st *unix.Stat_t) FolderStat {
	return FolderStat{
		ID:  FolderID{Device: uint64(st.Dev), Inode: st.Ino},
		UID: int(st.Uid), Mode: st.Mode & 0o7777,
		IsDir: st.Mode&unix.S_IFMT == unix.S_IFDIR, Deleted: st.Nlink == 0,
	}
}

// WatchFolder returns an inotify descriptor that becomes readable when something in the folder is removed or
// renamed, or the folder itself is. What happened is not told: look.
func WatchFolder(path string) (*FD, error) {
	fd, err := NewWatch()
	if err != nil {
		return nil, err
	}
	const mask = unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVED_FROM | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd.Int(), path, mask); err != nil {
		fd.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return fd, nil
}

// NewWatch returns an empty inotify descriptor.
func NewWatch() (*FD, error) {
	n, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return NewFD(n), nil
}

// WatchEntries has a descriptor of NewWatch tell of changes of a folder's entries; files only when they were written whole. Again
// for the same folder it changes nothing.
func WatchEntries(fd int, path string) error {
	const mask = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ATTRIB | unix.IN_ONLYDIR
	_, err := unix.InotifyAddWatch(fd, path, mask)
	return os.NewSyscallError("inotify_add_watch", err)
}

// DrainWatch empties a descriptor of WatchFolder or NewWatch.
func DrainWatch(fd int) {
	var b [4096]byte
	for {
		if n, err := unix.Read(fd, b[:]); n <= 0 || err != nil {
			return
		}
	}
}

// DescriptorLimit returns this process' limit on open descriptors.
func DescriptorLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return int(min(l.Cur, 1<<30)), nil
}

// Inodes returns how many inodes the file system of a path has, and how many of them are free. 0 and 0: it has no such table.
func Inodes(path string) (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return st.Files, st.Ffree, nil
}
