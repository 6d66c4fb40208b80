// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	maxUndecided = 1024 // connections that have not said what they are
	maxWaiting   = 1024 // connections that wait for Accept; further ones stay in the kernel's queue
	maxBrokers   = 64   // connections for handing over
)

// Listener takes the connections of a backend's clients. It is a net.Listener.
type Listener struct {
	socket    *socket
	handoffs  *socket // nil: there are none
	path      string  // that clients connect to
	identity  *identity
	queue     *queue
	undecided pending
	brokers   pending
	spent     spent
	closed    chan struct{}
	tasks     sync.WaitGroup
}

var _ net.Listener = (*Listener)(nil)

// Listen makes this process a backend, as its environment says (section 8).
//
// If RUNNING_PROCESS_BROKER_LISTENER_FD is set, that descriptor becomes the
// Listener's, and the variable is removed from the environment; one that is no
// listening stream socket is an error. Else RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE
// is bound, with mode 0600, where at most a stale socket may be. If
// RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE is set, connections that are handed over
// are taken there. From now on probes are answered.
//
// If what the program is turns out to be impossible to tell, Accept says why.
func Listen() (*Listener, error) {
	started := time.Now()
	path := os.Getenv(envPath)
	s, err := open(path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = s.Addr().String()
	}
	l := &Listener{
		socket: s, path: path, queue: newQueue(maxWaiting), closed: make(chan struct{}),
		undecided: pending{limit: maxUndecided}, brokers: pending{limit: maxBrokers},
	}
	if at := os.Getenv(envHandoff); at != "" {
		if l.handoffs, err = bind(at); err != nil {
			s.close()
			return nil, fmt.Errorf("runningprocess: cannot take connections at %s=%s: %w", envHandoff, at, err)
		}
		l.tasks.Go(l.takeHandoffs)
	}
	l.identity = know(envelope.Endpoint{NamespaceID: os.Getenv(envNamespace), Path: path}, started, l.closed)
	go func() {
		if <-l.identity.done; l.identity.err != nil {
			l.end(l.identity.err)
		}
	}()
	l.tasks.Go(l.takeClients)
	return l, nil
}

// Accept waits for the next client, and returns a [*Conn]. It has sent its first
// bytes: a frame, or others than a frame begins with. Whoever sends none is no
// client yet. After Close the error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn is Accept with the type that it returns.
func (l *Listener) AcceptConn() (*Conn, error) { return l.queue.take() }

// Close stops listening, and closes the connections that Accept has not returned.
// A socket that was bound is removed.
func (l *Listener) Close() error {
	if !l.end(net.ErrClosed) {
		return net.ErrClosed
	}
	l.tasks.Wait()
	return nil
}

// Addr returns the address that clients connect to.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// end ends everything, and reports whether this was the first time.
func (l *Listener) end(err error) bool {
	if !l.queue.end(err) {
		return false
	}
	close(l.closed)
	l.socket.close()
	if l.handoffs != nil {
		l.handoffs.close()
	}
	l.undecided.close()
	l.brokers.close()
	return true
}

// takeClients takes connections until the Listener ends.
func (l *Listener) takeClients() {
	for l.queue.room() {
		c, err := l.socket.next(l.undecided.shed, l.closed)
		if err != nil {
			l.end(fmt.Errorf("runningprocess: cannot accept: %w", err))
			return
		}
		l.receive(c, false)
	}
}
