// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// reasonTimeout bounds the question why a connection ended.
const reasonTimeout = time.Second

// silence is what a connection to a service's own socket is in until its first byte comes. One that ends in silence may have waited for a service
// that could not be started: nobody took it, and the broker knows why.
type silence struct {
	client  *Client
	request dial.Request
	broken  atomic.Bool // something was read

	once   sync.Once
	reason error // or nil
}

// explained returns the reason for the end of a connection if there is one to be had, else err.
func (c *Conn) explained(err error) error {
	s := c.silence
	if s == nil || s.broken.Load() || c.closed.Load() {
		return err
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	s.once.Do(func() { s.reason = s.ask(c) })
	if s.reason != nil {
		return s.reason
	}
	return err
}

// ask asks the broker why the process ended that listened: a call of the name that launches nothing.
func (s *silence) ask(c *Conn) error {
	client := s.client
	ctx, cancel := context.WithTimeout(client.ctx, reasonTimeout)
	defer cancel()
	request := s.request
	if request.Ended = c.listenerPID(); request.Ended <= 0 {
		return nil
	}
	fd, err := client.connectBroker()
	if err != nil {
		return nil
	}
	again, err := newConn(fd, s.request.Name, true)
	if err != nil {
		return nil
	}
	defer again.Close()
	q := questions.Get().(*question)
	defer questions.Put(q)
	q.line = request.Append(q.line[:0])
	r := newRetry(ctx, client.patience)
	verdict, err := q.ask(ctx, client, again, &r)
	q.pidfd.Close()
	if err != nil || verdict.Code == session.OK || verdict.Code == session.Code(CodeUsage) {
		return nil // nothing to say, or a broker that does not know the question
	}
	return during("dial", s.request.Name, refusal(verdict.Code, verdict.Text))
}

// listenerPID is the process that listened when the connection was made, 0 if that is in another pid namespace.
func (c *Conn) listenerPID() (pid int32) {
	_ = c.raw.Control(func(fd uintptr) {
		if cred, err := sys.PeerCred(int(fd)); err == nil {
			pid = int32(cred.PID)
		}
	})
	return pid
}
