// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

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
	c.asks(conn)
	verdict, err := q.ask(ctx, c, conn, r)
	if !c.answered(conn) {
		err = errClosed
	}
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
