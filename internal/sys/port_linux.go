// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"

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

// SessionOf returns the session id of a process, as setsid made it.
func SessionOf(pid int) (int, error) {
	sid, err := unix.Getsid(pid)
	return sid, os.NewSyscallError("getsid", err)
}
