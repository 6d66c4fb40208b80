// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
)

// What a child finds its end of the link by: the number of an inherited descriptor.
const (
	EnvSocketFD    = "SWITCHBOARD_SOCKET_FD"
	envSocketFDToo = "STREAMLIB_SOCKET_FD"
)

// The usual names of the channels of a link.
const (
	ToChild   = "in"  // the parent writes it
	FromChild = "out" // the child writes it
)

// Link is a socket pair over which two processes, usually parent and child, open each other's channels by name, without a broker
// (docs/frames.md, section 9). Its methods may be called from several goroutines at once.
type Link struct {
	mu      sync.Mutex // guards what follows
	line    *conn      // nil: there is nobody at the other end, for now or for good
	change  chan struct{}
	writers map[string]*Writer
	shared  map[string]bool       // writers that are not closed with the link
	waiting map[string][]net.Conn // callers of channels that there are not yet
	closed  bool
	again   bool // another one may come to the other end, when one is gone
	over    bool // nobody is there, nor will be
	work    sync.WaitGroup
}

// maxWaiting bounds callers of channels that there are not yet.
const maxWaiting = 64

func newLink() *Link {
	return &Link{change: make(chan struct{}), writers: map[string]*Writer{}, shared: map[string]bool{}, waiting: map[string][]net.Conn{}}
}

// NewLink makes a Link of one end of a Unix socket pair, which it takes over.
func NewLink(c net.Conn) (*Link, error) {
	l := newLink()
	if _, err := l.connect(c); err != nil {
		return nil, fmt.Errorf("cannot use the link: %w", err)
	}
	return l, nil
}

// Parent is the link to the process that started this one as its [Child]. It takes the descriptor over, and what names it out of the
// environment: it can be called once.
func Parent() (*Link, error) {
	number, ok := os.LookupEnv(EnvSocketFD)
	if !ok {
		number, ok = os.LookupEnv(envSocketFDToo)
	}
	if !ok {
		return nil, errors.New("cannot reach the parent: this program was not started with " + EnvSocketFD)
	}
	fd, err := strconv.Atoi(number)
	if err == nil {
		_, err = sys.CheckSocket(fd, sys.Stream, sys.Seqpacket)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reach the parent through %s=%s: %w", EnvSocketFD, number, err)
	}
	c, err := unixconn.Of(sys.NewFD(fd))
	if err != nil {
		return nil, fmt.Errorf("cannot reach the parent: %w", err)
	}
	_, _ = os.Unsetenv(EnvSocketFD), os.Unsetenv(envSocketFDToo) // it is not for the children of this one
	return NewLink(c)
}

// connect puts somebody at the other end, until the channel that is returned is closed.
func (l *Link) connect(c net.Conn) (<-chan struct{}, error) {
	k, err := newConn(c)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.line != nil {
		k.close()
		return nil, net.ErrClosed
	}
	l.line = k
	close(l.change)
	l.change = make(chan struct{})
	over := make(chan struct{})
	l.work.Add(1)
	go func() {
		defer l.work.Done()
		defer close(over)
		l.listen(k)
	}()
	return over, nil
}

// listen takes what comes over the link, until it ends.
func (l *Link) listen(k *conn) {
	for {
		m, err := k.receive()
		if err != nil {
			break
		}
		if m.kind == connectKind && len(m.fds) == 1 {
			l.called(string(m.payload), sys.NewFD(m.fds[0]))
		} else {
			sys.CloseAll(m.fds)
		}
	}
	k.close()
	k.closeReceived()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = nil
	l.over = !l.again
	l.forgetLocked()
	close(l.change)
	l.change = make(chan struct{})
}

func (l *Link) forgetLocked() {
	for _, callers := range l.waiting {
		for _, c := range callers {
			c.Close()
		}
	}
	clear(l.waiting)
}

// called gives a connection to the channel that it is for.
func (l *Link) called(channel string, fd *sys.FD) {
	if _, err := sys.CheckSocket(fd.Int(), sys.Stream, sys.Seqpacket); err != nil || name.Check(channel) != nil {
		fd.Close()
		return
	}
	c, err := unixconn.Of(fd)
	if err != nil {
		return
	}
	l.mu.Lock()
	w, waiting := l.writers[channel], 0
	for _, callers := range l.waiting {
		waiting += len(callers)
	}
	switch {
	case w != nil:
	case waiting < maxWaiting && !l.closed:
		l.waiting[channel] = append(l.waiting[channel], c)
	default:
		c.Close()
	}
	l.mu.Unlock()
	if w != nil {
		_ = w.Serve(c)
	}
}

// Create makes a channel that the other end can open.
func (l *Link) Create(channel string, f Format, opts ...CreateOption) (*Writer, error) {
	if err := name.Check(channel); err != nil {
		return nil, fmt.Errorf("cannot create a channel: %w", err)
	}
	w, err := NewWriter(f, opts...)
	if err != nil {
		return nil, err
	}
	w.name = channel
	w.end = func() { l.remove(channel, w) }
	if err := l.add(channel, w, false); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Share lets the other end open a channel that this program has already: one channel can be on the links to several children, and have a
// name, too. Closing the link leaves it open; [Writer.Close] takes it away from all.
func (l *Link) Share(channel string, w *Writer) error {
	if err := name.Check(channel); err != nil {
		return fmt.Errorf("cannot share a channel: %w", err)
	}
	return l.add(channel, w, true)
}

// add puts a writer on the link, for callers that have come and those to come.
func (l *Link) add(channel string, w *Writer, shared bool) error {
	l.mu.Lock()
	old := l.writers[channel]
	if old != nil && old.isClosed() { // one that was shared
		old = nil
	}
	closed := l.closed
	var callers []net.Conn
	if old == nil && !closed {
		l.writers[channel], l.shared[channel] = w, shared
		callers = l.waiting[channel]
		delete(l.waiting, channel)
	}
	l.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case old != nil:
		return fmt.Errorf("cannot create channel %q: this side of the link has one of that name", channel)
	}
	for _, c := range callers {
		_ = w.Serve(c)
	}
	return nil
}

func (l *Link) remove(channel string, w *Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writers[channel] == w {
		delete(l.writers, channel)
	}
}

// errNobody: a link has ended for good.
var errNobody = fmt.Errorf("nobody is at the other end of the link any more: %w", ErrWriterGone)

// Open reads a channel of the other end; it waits until that has made it, or is gone for good: that is ErrWriterGone. With [Rejoin], and a child that is started again, Next
// goes on with the next one.
func (l *Link) Open(ctx context.Context, channel string, opts ...OpenOption) (*Reader, error) {
	if err := name.Check(channel); err != nil {
		return nil, fmt.Errorf("cannot open a channel: %w", err)
	}
	r, err := newReader(opts)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) { return l.dial(ctx, channel) }
	if r.options.rejoin {
		r.redial = dial
	}
	for {
		c, err := dial(ctx)
		if err == nil {
			err = r.join(ctx, c)
		}
		switch {
		case err == nil:
			return r, nil
		case r.redial == nil || !errors.Is(err, ErrWriterGone) || errors.Is(err, errNobody):
			r.cancel()
			return nil, fmt.Errorf("cannot open channel %q of the link: %w", channel, err)
		}
	}
}

// dial makes a connection to a channel of the other end, as soon as there is somebody.
func (l *Link) dial(ctx context.Context, channel string) (net.Conn, error) {
	for {
		l.mu.Lock()
		line, change, closed, over := l.line, l.change, l.closed, l.over
		l.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case over:
			return nil, errNobody
		case line != nil:
			ours, theirs, err := sys.Pair(sys.Seqpacket)
			if err != nil {
				return nil, err
			}
			err = line.send(connectKind, text(channel), theirs.Int())
			theirs.Close()
			if err == nil {
				return unixconn.Of(ours)
			}
			ours.Close()
			if errors.Is(err, errFull) {
				return nil, err
			}
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close ends the link, and the channels that this side has created on it.
func (l *Link) Close() error {
	l.mu.Lock()
	l.closed = true
	writers := make([]*Writer, 0, len(l.writers))
	for channel, w := range l.writers {
		if !l.shared[channel] {
			writers = append(writers, w)
		}
	}
	if l.line != nil {
		l.line.close()
	}
	l.forgetLocked()
	l.mu.Unlock()
	for _, w := range writers {
		w.Close()
	}
	l.work.Wait()
	return nil
}
