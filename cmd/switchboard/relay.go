// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// stream is a connection whose sending half can be closed: a *switchboard.Conn, *net.TCPConn, *net.UnixConn.
type stream interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// relay copies both ways until both directions have ended, passing on half-closes, and closes both.
func relay(a, b stream) error {
	var forth, back error
	var wait sync.WaitGroup
	wait.Go(func() { forth = pump(b, a) })
	back = pump(a, b)
	wait.Wait()
	a.Close()
	b.Close()
	return errors.Join(forth, back)
}

// pump copies one direction to its end and half-closes the receiver.
func pump(to, from stream) error {
	_, err := io.Copy(to, from)
	to.CloseWrite()
	return ignoreHangup(err)
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
