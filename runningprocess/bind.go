// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// backlog is how many connections the kernel keeps for a socket that is bound here.
const backlog = 1024

// socket is a listening socket.
type socket struct {
	*net.UnixListener
	path string         // of a file that is removed when the socket is closed; "": it is somebody else's
	file sys.SocketFile // the one that was bound there
}

// open adopts the broker's listener, or else binds path.
func open(path string) (*socket, error) {
	text, passed := os.LookupEnv(envListener)
	switch {
	case passed:
		s, err := adopt(text)
		if err != nil {
			// No other way is tried: nobody would look there (section 8).
			return nil, fmt.Errorf("runningprocess: cannot adopt the listener that %s=%s names: %w (it must be the number of a listening stream socket that this process inherited; unset it to bind %s instead)",
				envListener, text, err, envPath)
		}
		// Neither children nor a second Listen shall find it.
		os.Unsetenv(envListener)
		return s, nil
	case path == "":
		return nil, fmt.Errorf("runningprocess: neither %s nor %s is set: let a broker launch this program, or set %s to the path of the socket to listen at",
			envListener, envPath, envPath)
	}
	s, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("runningprocess: cannot listen at %s=%s: %w", envPath, path, err)
	}
	return s, nil
}

func adopt(text string) (*socket, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, errors.New("it is not a number")
	}
	fd := int(n)
	if err := sys.CheckListener(fd, sys.Stream); err != nil {
		return nil, err
	}
	sys.CloseOnExec(fd)
	return listener(sys.NewFD(fd))
}

// bind listens at path, with mode 0600. A socket there that nobody listens at any more is replaced.
func bind(path string) (*socket, error) {
	fd, err := sys.Listen(path, sys.Stream, backlog)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		fd, err = sys.Listen(path, sys.Stream, backlog)
	}
	if err != nil {
		return nil, err
	}
	file, err := sys.StatSocket(path)
	if err != nil {
		fd.Close()
		return nil, err
	}
	s, err := listener(fd)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	s.path, s.file = path, file
	return s, nil
}

// removeStale removes a socket that nobody listens at.
func removeStale(path string) error {
	before, err := sys.StatSocket(path)
	if err != nil {
		return err
	}
	fd, err := sys.Connect(path, sys.Stream, false)
	switch {
	case err == nil, errors.Is(err, syscall.EAGAIN): // EAGAIN: its queue is full
		if fd != nil {
			fd.Close()
		}
		return errors.New("another process listens there: end it, or choose another path")
	case !errors.Is(err, syscall.ECONNREFUSED):
		return err
	}
	// Another one of us may have replaced it meanwhile.
	if after, err := sys.StatSocket(path); err != nil || after != before {
		return errors.New("another process has just bound it")
	}
	return os.Remove(path)
}

// listener makes a net.Listener, and owns fd in any case.
func listener(fd *sys.FD) (*socket, error) {
	file := os.NewFile(uintptr(fd.Take()), "listener")
	defer file.Close()
	l, err := net.FileListener(file) // of a duplicate
	if err != nil {
		return nil, err
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("it is not a Unix socket")
	}
	return &socket{UnixListener: unix}, nil
}

// close stops listening, and removes what was bound.
func (s *socket) close() {
	if s.path != "" {
		if file, err := sys.StatSocket(s.path); err == nil && file == s.file {
			os.Remove(s.path)
		}
	}
	s.UnixListener.Close()
}

// isTemporary reports whether an error says that the system, or this process, is short of something.
func isTemporary(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && sys.IsTemporary(errno)
}

// acceptPause is how long to wait when descriptors are short.
const acceptPause = 50 * time.Millisecond

// next waits for a connection. Where there is no descriptor for one, shed is to free some, and it is tried again.
func (s *socket) next(shed func() bool, closed <-chan struct{}) (*net.UnixConn, error) {
	for {
		c, err := s.AcceptUnix()
		if err == nil {
			return c, nil
		}
		if !isTemporary(err) {
			return nil, err
		}
		pause := acceptPause
		if shed() {
			pause = time.Millisecond
		}
		select {
		case <-closed:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
	}
}
