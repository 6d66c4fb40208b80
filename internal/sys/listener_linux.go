// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CheckListener reports why fd is not a listening AF_UNIX socket of the type, or nil.
func CheckListener(fd int, t SocketType) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("descriptor %d is not a socket", fd)
	}
	if domain != unix.AF_UNIX {
		return fmt.Errorf("descriptor %d is not a Unix socket", fd)
	}
	if l, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || l == 0 {
		return fmt.Errorf("descriptor %d is not a listening socket", fd)
	}
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || SocketType(got) != t {
		return fmt.Errorf("descriptor %d is a Unix socket of the wrong type", fd)
	}
	return nil
}

// CloseOnExec keeps an inherited descriptor from this process's children.
func CloseOnExec(fd int) { unix.CloseOnExec(fd) }

// Inherited reports whether a descriptor is open and this process's children get it.
func Inherited(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}
