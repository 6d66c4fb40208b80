// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Readiness of a descriptor in a Poller.
const (
	Readable = unix.EPOLLIN
	Writable = unix.EPOLLOUT
	HangUp   = unix.EPOLLHUP   // always reported
	ReadEnd  = unix.EPOLLRDHUP // nothing more will come
	Once     = unix.EPOLLONESHOT
	Edge     = unix.EPOLLET // told of what comes, and not of what is there still
)

// Poller is an epoll set with a way to wake its waiter. Add, Modify, Remove and Wake may be called
// from any goroutine; Wait from one.
//
// The set itself waits in the runtime's poller. A thread of its own in epoll_wait would look like a slow system
// call to the runtime, whose monitor then wakes every 20 µs to take its processor away: on two cores that
// doubles the time of a hand-over.
type Poller struct {
	file   *os.File // of the set; the runtime waits until it is readable
	raw    syscall.RawConn
	epoll  int
	wake   *FD
	waking sync.RWMutex // Close waits for those who wake
	armed  time.Time    // the deadline that is set on file; zero: none
	events [128]unix.EpollEvent
	n      int
	err    error
	take   func(uintptr) bool // made once: a closure for each Wait would be garbage
}

// Ready is one descriptor's readiness.
type Ready struct {
	Token  uint64
	Events uint32
}

// wakeToken is the Poller's own; callers' tokens must differ from it.
const wakeToken = ^uint64(0)

// NewPoller makes an empty set.
func NewPoller() (*Poller, error) {
	e, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(e)
		return nil, os.NewSyscallError("eventfd", err)
	}
	// os.NewFile hands only non-blocking descriptors to the runtime's poller.
	if err := unix.SetNonblock(e, true); err != nil {
		unix.Close(e)
		unix.Close(w)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{file: os.NewFile(uintptr(e), "epoll"), epoll: e, wake: NewFD(w)}
	p.take = func(uintptr) bool {
		for {
			p.n, p.err = epollWait(p.epoll, p.events[:])
			if p.err != unix.EINTR {
				return p.n != 0 || p.err != nil
			}
		}
	}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.Add(w, Readable|unix.EPOLLET, wakeToken)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Poller) control(op, fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, fd, &ev))
}

// Add watches fd; token comes back with its readiness.
func (p *Poller) Add(fd int, events uint32, token uint64) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, events, token)
}

// Modify changes what is watched.
func (p *Poller) Modify(fd int, events uint32, token uint64) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, events, token)
}

// Remove stops watching fd. It must come before a descriptor that was passed on is closed: a
// registration belongs to the open file, and outlives our number for it.
func (p *Poller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// Wake makes a waiting Wait return.
func (p *Poller) Wake() {
	one := [8]byte{1}
	p.waking.RLock()
	defer p.waking.RUnlock()
	if fd := p.wake.Int(); fd >= 0 {
		_, _ = unix.Write(fd, one[:])
	}
}

// Wait waits until something is ready, Wake is called or the deadline has passed (zero: none), and
// appends what is ready to out. It may return early with nothing.
func (p *Poller) Wait(deadline time.Time, out []Ready) ([]Ready, error) {
	// Setting a deadline costs more than waking once too often, so one that is earlier than needed stays.
	if p.armed.IsZero() != deadline.IsZero() || deadline.Before(p.armed) {
		if err := p.file.SetReadDeadline(deadline); err != nil {
			return out, err
		}
		p.armed = deadline
	}
	p.n, p.err = 0, nil
	if err := p.raw.Read(p.take); err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return out, err
		}
		p.armed = time.Time{}
		return out, p.file.SetReadDeadline(p.armed)
	}
	if p.err != nil {
		return out, os.NewSyscallError("epoll_wait", p.err)
	}
	for _, ev := range p.events[:p.n] {
		token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
		if token != wakeToken { // edge-triggered: the counter need not be read
			out = append(out, Ready{Token: token, Events: ev.Events})
		}
	}
	return out, nil
}

// Close ends the set; nobody may be waiting.
func (p *Poller) Close() {
	p.waking.Lock()
	defer p.waking.Unlock()
	p.file.Close()
	p.wake.Close()
}

// Monotonic returns CLOCK_MONOTONIC in nanoseconds.
func Monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it cannot fail
	return ts.Nano()
}
