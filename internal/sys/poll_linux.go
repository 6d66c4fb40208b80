package sys

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Readiness of a descriptor in a Poller.
const (
	Readable = unix.EPOLLIN
	Writable = unix.EPOLLOUT
	HangUp   = unix.EPOLLHUP // always reported
	Once     = unix.EPOLLONESHOT
)

// Poller is an epoll set with a way to wake its waiter. Add, Modify, Remove and Wake may be called
// from any goroutine; Wait from one.
type Poller struct {
	epoll, wake *FD
	events      [128]unix.EpollEvent
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
	p := &Poller{epoll: NewFD(e), wake: NewFD(w)}
	if err := p.Add(w, Readable|unix.EPOLLET, wakeToken); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Poller) control(op, fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll.Int(), op, fd, &ev))
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
	_, _ = unix.Write(p.wake.Int(), one[:])
}

// Wait waits until something is ready, Wake is called or timeout has passed (negative: none), and
// appends what is ready to out.
func (p *Poller) Wait(timeout time.Duration, out []Ready) ([]Ready, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.epoll.Int(), p.events[:], ms)
	if err == syscall.EINTR {
		return out, nil
	}
	if err != nil {
		return out, os.NewSyscallError("epoll_wait", err)
	}
	for _, ev := range p.events[:n] {
		token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
		if token != wakeToken { // edge-triggered: the counter need not be read
			out = append(out, Ready{Token: token, Events: ev.Events})
		}
	}
	return out, nil
}

// Close ends the set; nobody may be waiting.
func (p *Poller) Close() {
	p.epoll.Close()
	p.wake.Close()
}
