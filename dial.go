// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Dial calls a name. It returns when the service has taken the connection, from when on [Peer] tells who that is, or with an [*Error] that
// says why not. If no broker runs it starts one; if the broker goes away it asks its successor. ctx is about
// the call, not the connection; without a deadline in it, attempts to reach a broker end after ten seconds with ErrTryAgain, and so does
// the wait for the word of a broker that does not answer at all.
func (c *Client) Dial(ctx context.Context, name string, opts ...DialOption) (*Conn, error) {
	request := dial.Request{Name: name}
	var command *launch
	if len(opts) > 0 {
		var o dialOptions
		for _, opt := range opts {
			opt.applyDial(&o)
		}
		request.Version, request.Scope, command = o.version, o.scope, o.launch
	}
	if err := request.Check(); err != nil {
		return nil, &Error{Code: CodeUsage, Op: "dial", Name: name, Text: err.Error(), Err: err}
	}
	if command != nil {
		d, err := c.declare(ctx, command, &request)
		if err != nil {
			return nil, during("dial", name, err)
		}
		defer d.release()
	}
	r := newRetry(ctx, c.patience)
	var last error
	epoch, holds := c.session.holds()
	for missed, started := 0, false; ; {
		conn, err := c.dialOnce(ctx, &request, &r)
		if err == nil {
			return conn, nil
		}
		var path *pathError
		var refused *Error
		switch {
		case ctx.Err() != nil:
			return nil, during("dial", name, interrupted(ctx, last))
		case c.ctx.Err() != nil:
			return nil, during("dial", name, errClosed)
		case errors.As(err, &path):
			// Its owner may just have gone: then the broker says so in a moment.
			if missed++; missed == pathAttempts || !isAbsent(err) {
				return nil, during("dial", name, err)
			}
		case isAbsent(err) && c.door == nil:
			c.trusted.Store(false)
			if err := c.startBroker(ctx); err != nil {
				return nil, during("dial", name, err)
			}
			if !started {
				started = true
				continue
			}
		case errors.Is(err, errSilent) && c.door != nil:
			return nil, during("dial", name, c.silent())
		case holds && errors.As(err, &refused) && refused.Code == CodeUnavailable:
			// It may be a broker that does not know yet what this Client holds.
			holds = false
			if c.session.settle(ctx, name) != epoch {
				continue
			}
			return nil, during("dial", name, err)
		case !isPassing(err):
			return nil, during("dial", name, err)
		}
		last = err
		if !r.wait(ctx) {
			return nil, during("dial", name, gaveUp(ctx, err))
		}
	}
}

// pathAttempts is how often a service is looked for where the broker says that it accepts.
const pathAttempts = 5

// DialContext is Dial for what wants addresses: http.Transport.DialContext, and grpc.WithContextDialer with a function around it. Of
// a TCP address it takes the host: http://com.example.web/ calls "com.example.web".
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(network, "tcp") {
		if host, _, err := net.SplitHostPort(address); err == nil {
			address = host
		}
	}
	conn, err := c.Dial(ctx, address)
	if err != nil {
		return nil, err // not a *Conn that is nil
	}
	return conn, nil
}

// dialOnce makes one attempt, up to the verdict.
func (c *Client) dialOnce(ctx context.Context, request *dial.Request, r *retry) (*Conn, error) {
	fd, err := c.connectBroker()
	if err != nil {
		return nil, err
	}
	conn, err := wrapConn(os.NewFile(uintptr(fd.Take()), request.Name), request.Name, true)
	if err != nil {
		return nil, err
	}
	q := questions.Get().(*question)
	defer questions.Put(q)
	q.line = request.Append(q.line[:0])
	verdict, err := q.ask(ctx, c, conn, r)
	if err == nil && verdict.Path == "" && verdict.Code == session.OK {
		conn.cred, conn.pidfd = q.cred, newPIDFD(q.pidfd)
		return conn, nil
	}
	conn.Close()
	q.pidfd.Close()
	switch {
	case err != nil:
		return nil, err
	case verdict.Code != session.OK:
		return nil, refusal(verdict.Code, verdict.Text)
	}
	return c.dialPath(request, verdict.Path)
}

func (c *Client) connectBroker() (*sys.FD, error) {
	if c.door != nil {
		return c.door.connect(sys.Stream, true)
	}
	if err := c.trust(); err != nil {
		return nil, err
	}
	return sys.Connect(c.brokerPath, sys.Stream, true)
}

// pathError: nobody accepts where the broker said that a service does.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string {
	return fmt.Sprintf("the service accepts at %s, and connecting there fails: %v", e.path, e.err)
}

func (e *pathError) Unwrap() error { return e.err }

// dialPath connects to a service that accepts for itself. Who listens there is the peer.
func (c *Client) dialPath(request *dial.Request, path string) (*Conn, error) {
	fd, err := sys.Connect(path, sys.Stream, false)
	switch {
	case err == nil:
		conn, err := newConn(fd, request.Name, true)
		if err == nil {
			conn.silence = &silence{client: c, request: *request}
		}
		return conn, err
	case isPassing(err):
		return nil, err
	}
	return nil, &pathError{path, err}
}

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
		stopped = context.AfterFunc(ctx, func() { conn.file.SetReadDeadline(time.Unix(1, 0)) })
	}
	for {
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
