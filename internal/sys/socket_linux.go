// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is what sun_path holds beside its terminating zero.
const maxPath = 107

// SocketType is the type of an AF_UNIX socket.
type SocketType int

// The two types that Switchboard uses.
const (
	Stream    SocketType = unix.SOCK_STREAM
	Seqpacket SocketType = unix.SOCK_SEQPACKET
)

// Pair makes two connected sockets, non-blocking and close-on-exec.
func Pair(t SocketType) (a, b *FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, int(t)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return NewFD(p[0]), NewFD(p[1]), nil
}

// Connect connects to the socket at path, however long it is. With passCred the credentials (and
// the pidfd, where the kernel has it) of who writes are asked for from the first byte on.
// ENOENT, ECONNREFUSED and EAGAIN (full backlog) come back as they are, wrapped.
func Connect(path string, t SocketType, passCred bool) (*FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, int(t)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	fd := NewFD(n)
	if passCred {
		if err := SetPassCred(n, true); err != nil {
			fd.Close()
			return nil, err
		}
	}
	err = withAddress(path, func(a *unix.SockaddrUnix) error { return unix.Connect(n, a) })
	if err != nil {
		fd.Close()
		return nil, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// Listen binds a new socket at path with mode 0600 and listens. EADDRINUSE is left to the caller:
// only who holds the folder's lock can tell a stale socket from a live one.
func Listen(path string, t SocketType, backlog int) (*FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, int(t)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	fd := NewFD(n)
	// The mode goes on before the name exists: fchmod on the socket decides what bind creates.
	if err = unix.Fchmod(n, 0o600); err == nil {
		err = withAddress(path, func(a *unix.SockaddrUnix) error { return unix.Bind(n, a) })
	}
	if err != nil {
		fd.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	if err = unix.Listen(n, backlog); err != nil {
		fd.Close()
		os.Remove(path)
		return nil, os.NewSyscallError("listen", err)
	}
	return fd, nil
}

// Relisten calls listen on a socket that somebody else may have bound, so that those who connect
// from now on see this process as their peer.
func Relisten(fd, backlog int) error {
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// withAddress calls f with an address for path; a path too long for one is reached through a
// descriptor of its folder.
func withAddress(path string, f func(*unix.SockaddrUnix) error) error {
	if len(path) <= maxPath {
		return f(&unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	short := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)
	if len(short) > maxPath {
		return unix.ENAMETOOLONG
	}
	return f(&unix.SockaddrUnix{Name: short})
}

// Accept takes one connection from a listening socket without waiting: non-blocking, close-on-exec.
// With none waiting the error is syscall.EAGAIN.
func Accept(fd int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return -1, errno
		}
	}
}

// CheckSocket reports why fd is not a connected AF_UNIX socket of one of the types, or nil; the type is returned.
func CheckSocket(fd int, types ...SocketType) (SocketType, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, fmt.Errorf("descriptor %d is not a socket", fd)
	}
	if domain != unix.AF_UNIX {
		return 0, fmt.Errorf("descriptor %d is not a Unix socket", fd)
	}
	if l, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || l != 0 {
		return 0, fmt.Errorf("descriptor %d is a listening socket", fd)
	}
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	for _, want := range types {
		if SocketType(t) == want {
			return want, nil
		}
	}
	return 0, fmt.Errorf("descriptor %d is a Unix socket of the wrong type", fd)
}

// ShutdownWrite ends what this side sends.
func ShutdownWrite(fd int) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
}

// Shutdown ends both directions, for every holder of the socket.
func Shutdown(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RDWR)) }

// SetNonblock sets or clears O_NONBLOCK, which all holders of the open file share.
func SetNonblock(fd int, on bool) error { return os.NewSyscallError("fcntl", unix.SetNonblock(fd, on)) }

// Dup duplicates a descriptor, close-on-exec.
func Dup(fd int) (*FD, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return NewFD(n), nil
}

// Cookie returns the kernel's number for a socket, which is never used twice, and by which Connected knows it.
func Cookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return cookie, os.NewSyscallError("getsockopt SO_COOKIE", err)
}

// IsTemporary reports whether an accept failed for want of descriptors or memory, which passes.
func IsTemporary(err error) bool {
	switch err {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return true
	}
	return false
}
