// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// seals are those without which memory that somebody passes may change, or go away, while it is read.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// SealedMemory returns a descriptor of memory (memfd) that holds a copy of data and can never change. name is for people
// who look into /proc.
func SealedMemory(name string, data []byte) (*FD, error) {
	n, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		n, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	fd := NewFD(n)
	for written := 0; written < len(data) && err == nil; {
		var some int
		if some, err = unix.Write(n, data[written:]); err == unix.EINTR {
			err = nil
		}
		written += max(some, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(n), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL)
	}
	if err != nil {
		fd.Close()
		return nil, os.NewSyscallError("memfd", err)
	}
	return fd, nil
}

// SealedSize returns how many bytes a descriptor of memory has, or why it is not to be read: it is none, or it can still change.
func SealedSize(fd int) (int64, error) {
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	switch {
	case err == unix.EINVAL:
		return 0, errors.New("the descriptor is not one of memory")
	case err != nil:
		return 0, os.NewSyscallError("fcntl", err)
	case have&seals != seals:
		return 0, fmt.Errorf("the memory is not sealed (its seals are %#x, and %#x must be)", have, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Size, nil
}

// ReadSealed returns the first n bytes of a descriptor of memory after the checks of SealedSize. That n is not too much is for
// the caller to know.
func ReadSealed(fd, n int) ([]byte, error) {
	size, err := SealedSize(fd)
	switch {
	case err != nil:
		return nil, err
	case size < int64(n):
		return nil, fmt.Errorf("the memory has %d bytes, and %d were announced", size, n)
	}
	b := make([]byte, n)
	for read := 0; read < n; {
		some, err := unix.Pread(fd, b[read:], int64(read))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, os.NewSyscallError("pread", err)
		case some == 0:
			return nil, errors.New("the memory ended early")
		default:
			read += some
		}
	}
	return b, nil
}

// MapSealed maps the first n bytes of a descriptor of memory, n > 0, for reading, after the checks of SealedSize. Give what it returns
// to Unmap when nobody reads it any more.
func MapSealed(fd, n int) ([]byte, error) {
	size, err := SealedSize(fd)
	switch {
	case err != nil:
		return nil, err
	case size < int64(n):
		return nil, fmt.Errorf("the memory has %d bytes, and %d were announced", size, n)
	}
	b, err := unix.Mmap(fd, 0, n, unix.PROT_READ, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}

// Unmap ends what MapSealed returned.
func Unmap(b []byte) error { return os.NewSyscallError("munmap", unix.Munmap(b)) }

// HungUp reports whether a socket's other end is closed, or both were shut down.
func HungUp(fd int) bool { return polled(fd, 0, unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) }

// Ended reports whether nothing more will come to a socket: it hung up, or the other end was shut down for writing. It tells the end from an
// empty packet.
func Ended(fd int) bool {
	return polled(fd, unix.POLLRDHUP, unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL)
}

func polled(fd int, ask, want int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: ask}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n > 0 && p[0].Revents&want != 0
		}
	}
}
