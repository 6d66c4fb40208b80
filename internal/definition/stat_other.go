// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package definition

import (
	"io/fs"
	"syscall"
)

// system returns what only the system's own form of a file's state has. The time of the last change of any kind
// has another name on each system; the last change of the contents has to do.
func system(info fs.FileInfo) (uid int, device, inode uint64, changed int64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, 0, 0, 0
	}
	return int(st.Uid), uint64(st.Dev), st.Ino, info.ModTime().UnixNano()
}
