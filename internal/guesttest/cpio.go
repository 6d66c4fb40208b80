// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"bytes"
	"fmt"
)

// Types of files in an archive, as in a mode of Unix.
const (
	typeFile   = 0o100000
	typeFolder = 0o040000
	typeChar   = 0o020000
)

// archive is a cpio archive of the "newc" kind, which the kernel takes as an initramfs. Folders
// come before what is in them. An archive is only bytes, so it has devices that only root could make.
type archive struct {
	out   bytes.Buffer
	inode int
}

func (a *archive) folder(name string)               { a.entry(name, typeFolder|0o755, nil, 0, 0) }
func (a *archive) program(name string, data []byte) { a.entry(name, typeFile|0o755, data, 0, 0) }
func (a *archive) file(name string, data []byte)    { a.entry(name, typeFile|0o644, data, 0, 0) }
func (a *archive) character(name string, major, minor int) {
	a.entry(name, typeChar|0o600, nil, major, minor)
}

// bytes ends the archive.
func (a *archive) bytes() []byte {
	a.inode = -1 // the trailer has inode 0
	a.entry("TRAILER!!!", 0, nil, 0, 0)
	return a.out.Bytes()
}

// entry appends one file: 110 bytes of hexadecimal fields, the name, the data, each padded to four.
func (a *archive) entry(name string, mode int, data []byte, major, minor int) {
	a.inode++
	a.out.WriteString("070701")
	// inode, mode, uid, gid, links, mtime, size, device's major and minor, the special file's, length of the name with its NUL, checksum
	for _, field := range []int{a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0} {
		fmt.Fprintf(&a.out, "%08X", field)
	}
	a.out.WriteString(name + "\x00")
	a.pad()
	a.out.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}
