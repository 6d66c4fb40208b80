// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PortPair makes the two ends of a port: SEQPACKET sockets, close-on-exec, and blocking, as programs expect that were not written for a
// poller. Here they are used without waiting all the same.
func PortPair() (receive, send *FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return NewFD(p[0]), NewFD(p[1]), nil
}

// SetSendBuffer bounds what lies unread at the peer of a socket, in bytes as the kernel counts them.
func SetSendBuffer(fd, size int) error {
	return os.NewSyscallError("setsockopt SO_SNDBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size))
}

// SendBuffer returns that bound, as the kernel counts: twice what SetSendBuffer was told.
func SendBuffer(fd int) (int, error) {
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	return size, os.NewSyscallError("getsockopt SO_SNDBUF", err)
}

// PeekEach calls f with the first len(b) bytes, and the size, of each packet that waits at a SEQPACKET socket, in order, and takes none. Empty ones are
// passed over. Only the holder of the socket who calls it may be reading.
func PeekEach(fd int, b []byte, f func(head []byte, size int)) error {
	defer unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1)
	for at := 0; ; {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, at); err != nil {
			return os.NewSyscallError("setsockopt SO_PEEK_OFF", err)
		}
		n, err := recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		case n == 0 && Ended(fd):
			return nil
		case n == 0: // an empty packet, which the kernel tells of once
			continue
		}
		f(b[:min(n, len(b))], n)
		at += n
	}
}

// AskPIDFD has a process be started with a pidfd of it in fd, which is who starts it's to close; -1: the kernel has none.
func AskPIDFD(attr *syscall.SysProcAttr, fd *int) { attr.PidFD = fd }

// SessionOf returns the session id of a process, as setsid made it.
func SessionOf(pid int) (int, error) {
	sid, err := unix.Getsid(pid)
	return sid, os.NewSyscallError("getsid", err)
}
