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

// diagAttr returns the value of the first attribute of a kind, or nil.
func diagAttr(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofRtAttr {
		a := (*unix.RtAttr)(unsafe.Pointer(&b[0]))
		if int(a.Len) < unix.SizeofRtAttr || int(a.Len) > len(b) {
			return nil
		}
		if a.Type == kind {
			return b[unix.SizeofRtAttr:a.Len]
		}
		b = b[min(len(b), (int(a.Len)+3)&^3):]
	}
	return nil
}

// dumpUnix lists the Unix sockets of this network namespace that are in one of the states.
func dumpUnix(states, show uint32, found func(m *unixDiagMsg, attrs []byte)) error {
	nl, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(nl)
	var req struct {
		h unix.NlMsghdr
		r unixDiagReq
	}
	req.h.Len = uint32(unsafe.Sizeof(req))
	req.h.Type = unix.SOCK_DIAG_BY_FAMILY
	req.h.Flags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
	req.r = unixDiagReq{family: unix.AF_UNIX, states: states, show: show}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&req)), unsafe.Sizeof(req))
	if err := unix.Sendto(nl, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 32768)
	for {
		n, _, err := unix.Recvfrom(nl, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		for b := buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
			if int(h.Len) < unix.SizeofNlMsghdr || int(h.Len) > len(b) {
				return fmt.Errorf("sock_diag: a message of %d bytes in %d", h.Len, len(b))
			}
			body := b[unix.SizeofNlMsghdr:h.Len]
			switch h.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(body) >= 4 {
					return os.NewSyscallError("sock_diag", unix.Errno(-*(*int32)(unsafe.Pointer(&body[0]))))
				}
				return errors.New("sock_diag: an error without a number")
			case unix.SOCK_DIAG_BY_FAMILY:
				if size := int(unsafe.Sizeof(unixDiagMsg{})); len(body) >= size {
					found((*unixDiagMsg)(unsafe.Pointer(&body[0])), body[size:])
				}
			}
			b = b[min(len(b), (int(h.Len)+3)&^3):]
		}
	}
}
