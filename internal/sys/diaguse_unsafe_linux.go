// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SocketFile identifies the file of a bound Unix socket as sock_diag does.
type SocketFile struct {
	Device uint64 // st_dev
	Inode  uint64
	Base   string // last part of the path: decides where a file system shows another device number than the kernel's own
}

// SocketUse is what the kernel says about a bound Unix stream or SEQPACKET socket.
type SocketUse struct {
	Listening bool // somebody listens on this very file
	Waiting   int  // connections that were not accepted yet
	Open      int  // accepted connections whose other end is open
}

// StatSocket identifies the socket file at path. What is there and is no socket is an error that says so.
func StatSocket(path string) (SocketFile, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return SocketFile{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return SocketFile{}, fmt.Errorf("%s is not a socket", path)
	}
	return SocketFile{Device: uint64(st.Dev), Inode: st.Ino, Base: filepath.Base(path)}, nil
}

// ListeningAt reports whether a process of this network namespace listens on the socket file at path, without connecting to it. No
// file is no error.
func ListeningAt(path string) (bool, error) {
	f, err := StatSocket(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var use [1]SocketUse
	err = dumpSockets(1<<unix.BPF_TCP_LISTEN, []SocketFile{f}, use[:])
	return use[0].Listening, err
}

// UseOf returns the use of each file, from one listing of all Unix sockets of this network namespace (about half a microsecond
// a socket).
func UseOf(files []SocketFile) ([]SocketUse, error) {
	use := make([]SocketUse, len(files))
	if len(files) == 0 {
		return use, nil
	}
	return use, dumpSockets(1<<established|1<<unix.BPF_TCP_LISTEN, files, use)
}

const (
	udiagShowName  = 1
	udiagShowVFS   = 2
	udiagShowRQLen = 16
	unixDiagName   = 0
	unixDiagVFS    = 1
	unixDiagRQLen  = 4
)

// fileKey is a socket's file in sock_diag: the inode cut to 32 bits, the device in the kernel's own form.
type fileKey struct{ inode, device uint32 }

func (f SocketFile) key() fileKey {
	return fileKey{uint32(f.Inode), unix.Major(f.Device)<<20 | unix.Minor(f.Device)}
}

func dumpSockets(states uint32, files []SocketFile, use []SocketUse) error {
	exact := make(map[fileKey]int, len(files))
	byInode := make(map[uint32][]int, len(files))
	for i, f := range files {
		exact[f.key()] = i
		byInode[uint32(f.Inode)] = append(byInode[uint32(f.Inode)], i)
	}
	return dumpUnix(states, udiagShowName|udiagShowVFS|udiagShowPeer|udiagShowRQLen, func(m *unixDiagMsg, attrs []byte) {
		if m.typ != unix.SOCK_STREAM && m.typ != unix.SOCK_SEQPACKET {
			return
		}
		vfs := diagAttr(attrs, unixDiagVFS)
		if len(vfs) < 8 {
			return
		}
		k := fileKey{*(*uint32)(unsafe.Pointer(&vfs[0])), *(*uint32)(unsafe.Pointer(&vfs[4]))}
		i, ok := exact[k]
		if !ok {
			name := filepath.Base(string(diagAttr(attrs, unixDiagName)))
			for _, j := range byInode[k.inode] {
				if i, ok = j, files[j].Base == name; ok {
					break
				}
			}
		}
		switch {
		case !ok:
		case m.state == unix.BPF_TCP_LISTEN:
			use[i].Listening = true
			if q := diagAttr(attrs, unixDiagRQLen); len(q) >= 4 { // what waits is not in the list itself
				use[i].Waiting += int(*(*uint32)(unsafe.Pointer(&q[0])))
			}
		case hasPeer(attrs):
			use[i].Open++
		}
	})
}
