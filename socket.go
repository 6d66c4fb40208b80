// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// pathBacklog is the backlog of a listening socket.
const pathBacklog = 4096

// socket is a listening socket that the broker bound, of a Listener with ByPath or in a launched process.
type socket struct {
	file   *os.File
	raw    syscall.RawConn
	passed bool // by who launched us: it goes on without us
	closed atomic.Bool
}

// newSocket listens anew on a socket, so that callers see this process as their peer.
func newSocket(fd *sys.FD) (*socket, error) {
	if fd == nil {
		return nil, errors.New("no descriptors are left")
	}
	if err := errors.Join(sys.SetNonblock(fd.Int(), true), sys.Relisten(fd.Int(), pathBacklog)); err != nil {
		fd.Close()
		return nil, err
	}
	file := os.NewFile(uintptr(fd.Take()), "listener")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &socket{file: file, raw: raw}, nil
}

// accept waits for a connection. The error is net.ErrClosed after refuse or close.
func (s *socket) accept() (*sys.FD, error) {
	fd, errno := -1, error(nil)
	err := s.raw.Read(func(listener uintptr) bool {
		fd, errno = sys.Accept(int(listener))
		return errno != syscall.EAGAIN
	})
	switch {
	case (err != nil || errno != nil) && s.closed.Load():
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	case errno != nil:
		return nil, os.NewSyscallError("accept", errno)
	}
	return sys.NewFD(fd), nil
}

// rest returns what is in the queue, without waiting.
func (s *socket) rest() (fds []*sys.FD) {
	_ = s.raw.Control(func(listener uintptr) {
		for {
			fd, err := sys.Accept(int(listener))
			if err != nil {
				return
			}
			fds = append(fds, sys.NewFD(fd))
		}
	})
	return fds
}

// refuse refuses who connects from now on, also where the broker, or a child between fork and exec, still holds the socket.
func (s *socket) refuse() {
	if s.closed.Store(true); s.passed {
		return
	}
	_ = s.raw.Control(func(listener uintptr) { _ = sys.Shutdown(int(listener)) })
}

func (s *socket) close() {
	s.refuse()
	s.file.Close()
}

// listeningSocket returns the socket to accept from, or nil.
func (l *Listener) listeningSocket() *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.socket
}

// drain takes over those who had connected to a socket that another one replaces.
func (l *Listener) drain(old *socket) {
	old.refuse()
	for _, fd := range old.rest() {
		if !l.reserve() {
			fd.Close()
			continue
		}
		conn, _ := newConn(fd, l.name, false)
		l.deliver(conn)
	}
	old.close()
}
