// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw calls go through the standard library's functions and not through those of x/sys: these are assembly stubs, and on the way
// into one the stack may grow, which moves what a pointer in an argument points to. The standard library's never let it.

// Room for MaxFDs descriptors, SCM_CREDENTIALS and SCM_PIDFD.
const oobSize = 1032 + 32 + 24

// Buffer receives packets without allocating. It is for one goroutine at a time; keep it in a pool.
type Buffer struct {
	Data []byte
	Message

	hdr unix.Msghdr
	iov unix.Iovec
	oob [oobSize]byte
	fds [MaxFDs]int
}

// NewBuffer makes a buffer for packets of up to size bytes.
func NewBuffer(size int) *Buffer {
	b := &Buffer{Data: make([]byte, size)}
	b.PIDFD = -1
	return b
}

// Recv reads one packet, or what a stream has, without waiting. It returns the number of bytes in
// b.Data and fills b.Message. Every descriptor received is close-on-exec and belongs to the caller
// from then on. With nothing to read the error is syscall.EAGAIN.
func (b *Buffer) Recv(fd int) (int, error) { return b.RecvN(fd, len(b.Data)) }

// RecvN is Recv with a bound on the bytes taken, for streams.
func (b *Buffer) RecvN(fd, limit int) (int, error) {
	b.Message = Message{FDs: b.fds[:0], PIDFD: -1}
	b.iov.Base = &b.Data[0]
	b.iov.SetLen(limit)
	b.hdr = unix.Msghdr{Iov: &b.iov, Control: &b.oob[0]}
	b.hdr.SetIovlen(1)
	b.hdr.SetControllen(oobSize)
	for {
		// A raw call: MSG_DONTWAIT never blocks, so the scheduler need not be told.
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdr)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		b.Truncated = b.hdr.Flags&unix.MSG_TRUNC != 0
		b.ControlTruncated = b.hdr.Flags&unix.MSG_CTRUNC != 0
		b.parseControl(int(b.hdr.Controllen))
		return int(n), nil
	}
}

// parseControl walks the control messages. The kernel wrote them, so their shape is trusted, but
// lengths are checked all the same: a slip here would leak descriptors.
func (b *Buffer) parseControl(n int) {
	b.HasControl = n > 0
	oob := b.oob[:n]
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		length := int(h.Len)
		if length < unix.SizeofCmsghdr || length > len(oob) {
			return
		}
		data := oob[unix.CmsgLen(0):length]
		if h.Level == unix.SOL_SOCKET {
			switch h.Type {
			case unix.SCM_RIGHTS:
				for ; len(data) >= 4; data = data[4:] {
					b.FDs = append(b.FDs, int(*(*int32)(unsafe.Pointer(&data[0]))))
				}
			case unix.SCM_CREDENTIALS:
				if len(data) >= unix.SizeofUcred {
					c := (*unix.Ucred)(unsafe.Pointer(&data[0]))
					b.Cred, b.HasCred = Cred{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}, true
				}
			case unix.SCM_PIDFD:
				if len(data) >= 4 {
					b.PIDFD = int(*(*int32)(unsafe.Pointer(&data[0])))
				}
			}
		}
		step := unix.CmsgSpace(length - unix.CmsgLen(0))
		if step >= len(oob) {
			return
		}
		oob = oob[step:]
	}
}

// Send sends data as one packet, with fds, without waiting and without SIGPIPE. The fds stay the
// caller's. A full queue is syscall.EAGAIN. On a stream it may send less than all of data; n says.
func Send(fd int, data []byte, fds ...int) (n int, err error) {
	var hdr unix.Msghdr
	var iov unix.Iovec
	var small [32]byte // CmsgSpace of up to four descriptors
	if len(data) > 0 {
		iov.Base = &data[0]
		iov.SetLen(len(data))
	}
	hdr.Iov = &iov
	hdr.SetIovlen(1)
	if len(fds) > 0 {
		oob := small[:]
		if space := unix.CmsgSpace(4 * len(fds)); space > len(oob) {
			oob = make([]byte, space)
		}
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
		h.SetLen(unix.CmsgLen(4 * len(fds)))
		for i, f := range fds {
			*(*int32)(unsafe.Pointer(&oob[unix.CmsgLen(0)+4*i])) = int32(f)
		}
		hdr.Control = &oob[0]
		hdr.SetControllen(unix.CmsgSpace(4 * len(fds)))
	}
	for {
		r, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// Peek copies what a stream has waiting into b without taking it. 0 and no error is end-of-file.
func Peek(fd int, b []byte) (int, error) {
	return recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
}

// Read takes bytes from a stream without waiting. For streams that carry no descriptors: any that
// come are closed by the kernel.
func Read(fd int, b []byte) (int, error) { return recvfrom(fd, b, unix.MSG_DONTWAIT) }

func recvfrom(fd int, b []byte, flags uintptr) (int, error) {
	var p *byte
	if len(b) > 0 {
		p = &b[0]
	}
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// ioctlGetInt and friends of x/sys do not cover SIOCOUTQ on Unix sockets.
func outQueue(fd int) (int, error) {
	var n int32
	_, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, os.NewSyscallError("ioctl", syscall.Errno(errno))
	}
	return int(n), nil
}

// Unread returns how many bytes (with the kernel's own overhead) this socket sent that its peer has not read.
func Unread(fd int) (int, error) { return outQueue(fd) }

// epollWait takes what is ready, without waiting: so a raw call will do.
func epollWait(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
