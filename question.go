// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// question is a request on its way and the verdict on it. They are kept in a pool.
type question struct {
	line   []byte
	step   func(fd uintptr) bool // bound once
	buffer *sys.Buffer

	sent   bool
	answer []byte // what came of the verdict
	ok     bool   // it is OK
	cred   sys.Cred
	pidfd  *sys.FD // of who wrote the answer's first bytes
	err    error
}

var questions = sync.Pool{New: func() any {
	q := &question{buffer: sys.NewBuffer(dial.MaxVerdict)}
	q.step = q.advance
	return q
}}

// ok is the verdict that hands the connection over.
const okVerdict = "OK\n"

// patienceWith returns how long to wait for a verdict, or 0: the deadline of ctx is enough. Behind a door there may be nobody.
func (c *Client) patienceWith(ctx context.Context) time.Duration {
	if _, ok := ctx.Deadline(); ok && c.door == nil {
		return 0
	}
	return c.patience
}

// attends reports whether a broker that has not answered a call yet answers something else.
func (c *Client) attends(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	cl := newCall(session.OpLookUp, session.LookUp{Name: name}.Append)
	cl.apply, cl.once = ignoreReply, true
	return c.session.do(ctx, cl) == nil
}

// ask sends the line and waits for the verdict: without a deadline in ctx, as long as the broker answers at all, as it may be starting the service.
func (q *question) ask(ctx context.Context, c *Client, conn *Conn, r *retry) (dial.Verdict, error) {
	patience := c.patienceWith(ctx)
	q.sent, q.answer, q.ok, q.cred, q.pidfd, q.err = false, q.answer[:0], false, sys.Cred{}, nil, nil
	stopped := func() bool { return true }
	if patience > 0 {
		_ = conn.file.SetReadDeadline(time.Now().Add(patience))
	}
	if ctx.Done() != nil {
		stopped = context.AfterFunc(ctx, conn.wake)
	}
	for {
		if c.ctx.Err() != nil { // looked at with the deadline set: it may have undone that of Close
			stopped()
			return dial.Verdict{}, errClosed
		}
		err := conn.raw.Read(q.step)
		if err == nil {
			err = q.err
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // or it was ctx, at which the caller looks first
			if patience > 0 && ctx.Err() == nil && c.attends(ctx, conn.name) {
				r.renew(ctx, patience)
				if _ = conn.file.SetReadDeadline(time.Now().Add(patience)); ctx.Err() == nil {
					continue
				}
			}
			err = errSilent
		}
		if err != nil {
			stopped()
			return dial.Verdict{}, err
		}
		if q.ok {
			if !stopped() {
				return dial.Verdict{}, ctx.Err() // its deadline may be set at any moment
			}
			if patience > 0 {
				_ = conn.file.SetReadDeadline(time.Time{})
			}
			return dial.Verdict{}, nil
		}
		verdict, n, err := dial.ParseVerdict(q.answer)
		if err != nil || n > 0 {
			stopped()
			verdict.Text = breakLines(verdict.Text)
			return verdict, err
		}
	}
}

// wake ends the wait for a verdict.
func (c *Conn) wake() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) }

// advance is called by the poller's rules: it returns false to be called again when there is something to read. The first time it sends the
// line and reads nothing, as the answer cannot be there yet: the socket was armed before.
func (q *question) advance(fd uintptr) bool {
	if !q.sent {
		q.sent = true
		_, err := sys.Send(int(fd), q.line)
		switch {
		case err == nil:
			return false
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET): // a verdict may have come before
		default:
			q.err = err
			return true
		}
	}
	// Not a byte of what the service sends behind its OK: it would come without its descriptors.
	limit := len(okVerdict) - len(q.answer)
	if limit <= 0 {
		limit = max(1, dial.MaxVerdict-len(q.answer))
	}
	n, err := q.buffer.RecvN(int(fd), limit)
	if err == syscall.EAGAIN {
		return false
	}
	q.keepSender()
	switch {
	case n == 0 && err == nil, errors.Is(err, syscall.ECONNRESET):
		q.err = errHungUp
		return true
	case err != nil:
		q.err = err
		return true
	}
	q.answer = append(q.answer, q.buffer.Data[:n]...)
	if string(q.answer) == okVerdict {
		q.ok = true
		q.err = sys.SetPassCred(int(fd), false)
	}
	return true
}

// keepSender takes who wrote out of what was received, of the first bytes only, and closes the rest.
func (q *question) keepSender() {
	m := &q.buffer.Message
	if len(q.answer) == 0 && m.PIDFD >= 0 {
		q.pidfd, m.PIDFD = sys.NewFD(m.PIDFD), -1
	}
	if len(q.answer) == 0 && m.HasCred {
		q.cred = m.Cred
	}
	m.Close()
}
