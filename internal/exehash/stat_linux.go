// SPDX-License-Identifier: Apache-2.0

package exehash

import (
	"io/fs"
	"syscall"
)

// stampOf takes what tells one state of a file from another.
func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode, s.changed = uint64(st.Dev), st.Ino, st.Ctim.Nano()
	}
	return s
}
