// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package exehash

import (
	"io/fs"
	"syscall"
)

// stampOf takes what tells one state of a file from another. The time of the last change of any kind has another name
// on each system; the last change of the contents has to do.
func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino
	}
	return s
}
