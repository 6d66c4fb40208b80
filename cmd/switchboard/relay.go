// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// stream is a connection whose sending half can be closed: a *switchboard.Conn, *net.TCPConn, *net.UnixConn.
type stream interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// relayLinger is how long the rest of a call that is ending may be silent before it is cut off.
const relayLinger = time.Second

// relay copies both ways, passing on half-closes, until both directions have ended or one side is gone, and closes both.
func relay(caller, server stream) error {
	forth, back := startLeg(server, caller), startLeg(caller, server)
	select {
	case <-forth.done:
		if forth.err == nil {
			<-back.done // the answer may take its time
		} else {
			forth.failed(back)
		}
	case <-back.done:
		if back.err == nil {
			answered(server, forth)
		} else {
			back.failed(forth)
		}
	}
	caller.Close()
	server.Close()
	<-forth.done
	<-back.done
	return errors.Join(ignoreHangup(forth.err), ignoreHangup(back.err))
}

// answered lets the caller go on when the server has closed its sending half, as long as the server may be reading.
func answered(server stream, forth *leg) {
	if _, tcp := server.(*net.TCPConn); tcp {
		forth.linger() // it looks the same when it has closed the connection
		return
	}
	select {
	case <-forth.done:
	case <-hungUp(server):
	}
}

// leg is one direction of a relay.
type leg struct {
	from    stream
	moved   atomic.Int64  // bytes that were read
	readErr error         // the part of err that is the sender's
	err     error         // nil at an end-of-file, which was passed on
	done    chan struct{} // closed when it has ended; what is above is written before
}

// startLeg copies one direction in a goroutine of its own, until it ends or a stream is closed.
func startLeg(to, from stream) *leg {
	l := &leg{from: from, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		if _, l.err = io.Copy(to, l); l.err == nil {
			_ = to.CloseWrite() // it fails where the other direction does, too
		}
	}()
	return l
}

// Read implements io.Reader.
func (l *leg) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	l.moved.Add(int64(n))
	if err != nil && err != io.EOF {
		l.readErr = err
	}
	return n, err
}

// failed waits for what is left of the other direction. It is nothing if the sender of this one is gone; a receiver
// that is gone may have said something before.
func (l *leg) failed(other *leg) {
	if l.readErr == nil {
		other.linger()
	}
}

// linger waits until the leg has ended, or was silent for relayLinger.
func (l *leg) linger() {
	tick := time.NewTicker(relayLinger)
	defer tick.Stop()
	for moved := l.moved.Load(); ; {
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
		before := moved
		if moved = l.moved.Load(); moved == before {
			return
		}
	}
}

// attach relays between a connection and the streams of this process. It ends when the other side has closed the
// connection, even while in is still open; the end of in half-closes the connection.
//
// The goroutine that reads in may be left behind in a read that nothing can interrupt (a terminal): the process ends.
func attach(c stream, in io.Reader, out io.Writer) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, in)
		c.CloseWrite()
		sent <- ignoreHangup(err)
	}()
	if _, err := io.Copy(out, c); ignoreHangup(err) != nil {
		return err
	}
	select {
	case err := <-sent:
		return err
	case <-hungUp(c):
		return nil
	}
}

// hungUp returns a channel that is closed once the other side has closed the connection for both directions. At an
// end-of-file it may have closed only its sending half, and still read what we send.
func hungUp(c stream) <-chan struct{} {
	done := make(chan struct{})
	raw, err := c.SyscallConn()
	if err != nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		// An empty write fails once there is nobody to read it; until then the poller wakes us when the state of the
		// connection changes.
		_ = raw.Read(func(fd uintptr) bool {
			_, err := syscall.Write(int(fd), nil)
			return err != nil
		})
	}()
	return done
}

// ignoreHangup drops the errors that only say that the other side went away.
func ignoreHangup(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
