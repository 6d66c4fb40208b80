// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// backlog is how many connections of a Listener may wait for Accept. They have been answered OK; those beyond it have not, and
// are refused by the broker.
const backlog = 1024

type listenOptions struct {
	version, scope, path string
	accept               session.Accept
	kind                 session.EntryKind
}

type listenOption func(*listenOptions)

func (f listenOption) applyListen(o *listenOptions) { f(o) }

// Version tells callers which version the service has, such as "1.4.0".
func Version(v string) ListenOption { return listenOption(func(o *listenOptions) { o.version = v }) }

// Scope tells callers which folder the service is for.
func Scope(dir string) ListenOption {
	return listenOption(func(o *listenOptions) { o.scope = absolute(dir) })
}

// ByPath makes callers connect to a socket that the broker binds and this program accepts on, instead of having each of them
// handed over: cheaper for many short connections. Any program may also connect to it at [Listener.Path], without this package.
func ByPath() ListenOption {
	return listenOption(func(o *listenOptions) { o.accept = session.AcceptListener })
}

// AtPath gives the name to a server that already accepts at a Unix socket of its own. The Listener only holds the name: its Accept
// returns when the name is lost or given back.
func AtPath(path string) ListenOption {
	return listenOption(func(o *listenOptions) { o.accept, o.path = session.AcceptPath, absolute(path) })
}

// AsChannel says that the name is that of a channel of frames: callers speak the protocol of package frames.
func AsChannel() ListenOption {
	return listenOption(func(o *listenOptions) { o.kind = session.EntryChannel })
}

// Listener is a name that this program has, and those who call it. It is a net.Listener. It outlives the broker: the
// next one is asked for the name again, while Accept keeps waiting.
type Listener struct {
	name    string
	options listenOptions
	session *clientSession
	ctx     context.Context // ends with the Listener; the cause is why
	cancel  context.CancelCauseFunc
	ready   chan struct{} // holds a token if Accept should look

	mu       sync.Mutex // guards what follows
	queue    []*Conn
	reserved int           // connections that will be in the queue in a moment
	settled  chan struct{} // closed when the Listener has ended and none is reserved
	ended    bool
	path     string
	socket   *socket // with ByPath
}

var _ net.Listener = (*Listener)(nil)

// Listen gives this program a name, as long as the Listener is open and the program runs. ctx is about this call only. A
// name that somebody else has is ErrTryAgain, and the error says who. In a process that was launched for the name with a listening socket (LISTEN_FDS), the
// Listener accepts on that one, the options do not count, and closing it leaves the name to the broker.
func (c *Client) Listen(ctx context.Context, service string, opts ...ListenOption) (*Listener, error) {
	if err := name.Check(service); err != nil {
		return nil, &Error{Code: CodeUsage, Op: "listen on", Name: service, Text: err.Error(), Err: err}
	}
	l := &Listener{name: service, session: c.session, ready: make(chan struct{}, 1), settled: make(chan struct{})}
	l.options.kind = session.EntryService
	for _, opt := range opts {
		opt.applyListen(&l.options)
	}
	l.ctx, l.cancel = context.WithCancelCause(c.ctx)
	if passed, err := c.passedListener(l); passed || err != nil {
		if err != nil {
			l.end(err)
			return nil, during("listen on", service, err)
		}
		return l, nil
	}
	if err := c.session.obtain(ctx, l); err != nil {
		l.end(err)
		return nil, during("listen on", service, err)
	}
	return l, nil
}

// Accept waits for the next caller. When the Listener was closed, the error is net.ErrClosed; when the name was lost, it is an [*Error].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		if conn := l.next(); conn != nil {
			return conn, nil
		}
		if l.ctx.Err() != nil {
			return nil, l.failed(context.Cause(l.ctx))
		}
		if s := l.listeningSocket(); s != nil {
			l.signal() // for another Accept that found none
			fd, err := s.accept()
			switch {
			case err == nil:
				conn, err := newConn(fd, l.name, false)
				if err == nil {
					return conn, nil
				}
			case !errors.Is(err, net.ErrClosed): // else it was replaced, or the Listener has ended
				return nil, l.failed(err)
			}
			continue
		}
		if err := l.session.await(l.ctx, l.ready, l.finished); err != nil && l.ctx.Err() == nil {
			return nil, l.failed(err)
		}
	}
}

func (l *Listener) failed(err error) error {
	var e *Error
	if errors.As(err, &e) {
		err = during("keep", l.name, e)
	}
	return &net.OpError{Op: "accept", Net: Addr{}.Network(), Addr: l.Addr(), Err: err}
}

// Close gives the name back, and closes connections that were not accepted. Accept returns net.ErrClosed. It waits until
// the broker has heard, so that the name is free when it returns, but not for longer than two seconds. Closing again does nothing.
func (l *Listener) Close() error {
	if l.end(errClosed) {
		ctx, cancel := context.WithTimeout(l.session.client.ctx, releaseTimeout)
		defer cancel()
		// What is being acknowledged at this moment must be, before the name is given back: the broker refuses the rest. One that does not read
		// what it is sent must leave time for the request, which is queued behind the acknowledgements.
		settling, stop := context.WithTimeout(ctx, releaseTimeout/2)
		defer stop()
		select {
		case <-l.settled:
		case <-settling.Done():
		}
		l.session.release(ctx, l)
	}
	return nil
}

// Addr returns an Addr with the name.
func (l *Listener) Addr() net.Addr { return Addr{Name: l.name} }

// Path returns where the service accepts by itself, with ByPath and AtPath, else "". Another broker may bind another path.
func (l *Listener) Path() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.path
}

// next takes a connection out of the queue, or returns nil.
func (l *Listener) next() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	conn := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) > 0 {
		l.signal()
	}
	return conn
}

// signal makes one Accept look.
func (l *Listener) signal() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *Listener) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 0 || l.ended || l.socket != nil
}

// reserve makes room for a connection, which deliver then fills; false: there is none.
func (l *Listener) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.queue)+l.reserved >= backlog {
		return false
	}
	l.reserved++
	return true
}

// deliver puts a connection into the room that was reserved for it, or gives the room back (nil).
func (l *Listener) deliver(conn *Conn) {
	l.mu.Lock()
	ended := l.ended
	if l.reserved--; ended && l.reserved == 0 {
		close(l.settled)
	}
	if conn != nil && !ended {
		l.queue = append(l.queue, conn)
		l.signal()
	}
	l.mu.Unlock()
	if conn != nil && ended {
		conn.Close()
	}
}

// end ends the Listener on this side, once; false: it had ended.
func (l *Listener) end(why error) bool {
	l.mu.Lock()
	ended, queue, s := l.ended, l.queue, l.socket
	l.ended, l.queue, l.socket = true, nil, nil
	if !ended && l.reserved == 0 {
		close(l.settled)
	}
	l.mu.Unlock()
	l.cancel(why)
	for _, conn := range queue {
		conn.Close()
	}
	if s != nil {
		s.close()
	}
	return !ended
}

// request asks for the name. A socket of before is in the way of the one that comes: it is closed, and who
// had connected to it is taken over.
func (l *Listener) request() *call {
	l.mu.Lock()
	old := l.socket
	l.socket = nil
	l.mu.Unlock()
	if old != nil {
		l.drain(old)
	}
	return newCall(session.OpClaim, session.Claim{
		Name: l.name, Kind: l.options.kind, Version: l.options.version, Scope: l.options.scope,
		Accept: l.options.accept, Path: l.options.path,
	}.Append)
}

func (l *Listener) granted(payload []byte, b *sys.Buffer) (uint64, error) {
	m, err := session.ParseClaimReply(payload)
	switch {
	case err != nil:
		return 0, err
	case m.Code != session.OK:
		return 0, refusal(m.Code, m.Text)
	}
	path := m.Path
	if path == "" {
		path = l.options.path
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(l.session.client.dir, path)
	}
	var s *socket
	if l.options.accept == session.AcceptListener {
		if s, err = newSocket(takeFD(b)); err != nil {
			return m.Lease, l.unusable(err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket, l.path = s, path
	l.signal()
	return m.Lease, nil
}

func (l *Listener) unusable(err error) error {
	return &Error{Code: CodeTryAgain, Err: err, Text: "the socket for it did not arrive: " + err.Error()}
}

func (l *Listener) lost(err error) { l.end(err) }
