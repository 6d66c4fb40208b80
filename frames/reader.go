// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Reader is a reader's side of a channel. Next is for one goroutine at a time; the rest may be called from several.
type Reader struct {
	options openOptions
	clock   clock
	redial  func(ctx context.Context) (net.Conn, error) // with Rejoin
	sleep   sleeper

	next gate // Next is in it; guards what follows
	line *line
	view *view
	want uint64 // the next frame
	miss uint64 // frames missed since the one before
	late bool   // the next frame is the first of another writer
	spin spinner

	fence  atomic.Uint32
	frames []Frame // to be handed out
	sleeps uint32  // on the futex
	before int64   // when the frame before was published
	seldom bool    // it was published soon or later after the one before it

	closed           atomic.Bool
	received, missed atomic.Uint64
	ctx              context.Context // ends with Close
	cancel           context.CancelFunc
	work             sync.WaitGroup

	mu     sync.Mutex // guards what follows, and that nobody joins after Close
	format Format
}

// line is the connection to one writer.
type line struct {
	*conn
	event  *event        // with ByEvent, else nil
	writer *living       // or nil
	done   chan struct{} // closed when the connection is over

	news    chan struct{} // holds a token if a message came
	ended   atomic.Bool   // done is closed
	evicted atomic.Bool

	mu    sync.Mutex // guards what follows
	pools []*view    // epochs that were announced and not gone to yet
	err   error      // why it is over: io.EOF if the writer ended it
}

// NewReader reads the channel of the writer at the other end of a connection, which it takes over. ctx is about this call only.
func NewReader(ctx context.Context, c net.Conn, opts ...OpenOption) (*Reader, error) {
	r, err := newReader(opts)
	if err != nil {
		c.Close()
		return nil, err
	}
	if err := r.join(ctx, c); err != nil {
		r.cancel()
		return nil, fmt.Errorf("cannot read frames: %w", err)
	}
	return r, nil
}

func newReader(opts []OpenOption) (*Reader, error) {
	o := openOptions{mode: Latest, spin: -1}
	for _, opt := range opts {
		opt.applyOpen(&o)
	}
	if o.holds < 0 || o.holds > maxHolds || o.depth < 0 || o.deadline < 0 {
		return nil, fmt.Errorf("cannot read frames with %d holds, a depth of %d and a deadline of %v", o.holds, o.depth, o.deadline)
	}
	if o.spin < 0 {
		o.spin = 0
		if runtime.NumCPU() >= 4 {
			o.spin = 20 * time.Microsecond
		}
	}
	r := &Reader{options: o, clock: newClock()}
	r.spin.most = o.spin
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// join says HELLO on a connection and takes what comes back.
func (r *Reader) join(ctx context.Context, c net.Conn) error {
	k, err := newConn(c)
	if err != nil {
		return err
	}
	o := r.options
	stop := context.AfterFunc(ctx, k.close)
	stop2 := context.AfterFunc(r.ctx, k.close)
	deadline := uint32(min(max(o.deadline/time.Millisecond, 0), 1<<31))
	if o.deadline > 0 && deadline == 0 {
		deadline = 1
	}
	err = withOwnPIDFD(func(fds ...int) error {
		return k.send(helloKind, hello{o.mode, o.holds, deadline, o.last}.append, fds...)
	})
	var m message
	if err == nil {
		m, err = k.receive()
	}
	l := &line{conn: k, done: make(chan struct{}), news: make(chan struct{}, 1)}
	var v *view
	var w welcome
	if err == nil {
		if v, w, err = l.welcomed(m); err == nil && (!stop() || !stop2()) {
			v.leave()
			l.event.close()
			l.writer.close()
			err = net.ErrClosed
		}
	}
	if err != nil {
		stop()
		stop2()
		k.close()
		k.closeReceived()
		return whyNot(ctx, err)
	}
	r.line, r.view = l, v
	r.want = w.head + 1
	if o.last && w.head >= v.first {
		r.want = w.head
	}
	v.reader, v.line = r, l
	v.words.cursor.Store(r.want)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.format = v.format
	if r.closed.Load() {
		l.close()
	}
	r.work.Go(func() { l.watch(r) })
	if l.writer != nil {
		r.work.Go(func() {
			if l.writer.await() {
				l.hangUp()
			}
		})
	}
	return nil
}

// whyNot says why a writer could not be asked: the end of ctx, which closes the connection, or the writer's, however that shows.
func whyNot(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ErrWriterGone
	}
	return err
}

// welcomed takes the answer to HELLO.
func (l *line) welcomed(m message) (*view, welcome, error) {
	if m.kind != welcomeKind || len(m.fds) != 3 && len(m.fds) != 4 {
		return nil, welcome{}, refusalOf(m)
	}
	eventFD := sys.NewFD(m.fds[2])
	defer eventFD.Close()
	var writer *living
	if len(m.fds) == 4 {
		writer = newLiving(m.fds[3])
	}
	defer func() {
		if l.writer == nil {
			writer.close()
		}
	}()
	w, err := parseWelcome(m.payload)
	if err != nil {
		sys.CloseAll(m.fds[:2])
		return nil, w, fault("%v", err)
	}
	v, err := newView(m.fds[0], m.fds[1], w.holds)
	if err == nil && (v.epoch != w.epoch || v.channel != w.channel) {
		v.leave()
		return nil, w, fault("it sent another pool than it said")
	}
	if err == nil {
		if l.event, err = newEvent(eventFD.Take()); err != nil {
			v.leave()
		}
	}
	if err == nil {
		l.writer = writer
	}
	return v, w, err
}

// refusalOf makes an error of a message that is not the one expected.
func refusalOf(m message) error {
	sys.CloseAll(m.fds)
	if m.kind == refusedKind && len(m.payload) >= 4 {
		return &RefusedError{int(order.Uint32(m.payload)), string(m.payload[4:])}
	}
	return fault("it sent a message of kind %d", m.kind)
}

// watch reads the writer's messages until the connection is over.
func (l *line) watch(r *Reader) {
	for {
		m, err := l.receive()
		if err == nil {
			err = l.heard(r, m)
		}
		if err != nil {
			l.mu.Lock()
			if l.err == nil {
				l.err = ErrWriterGone
			}
			l.mu.Unlock()
			break
		}
		l.tell()
		r.sleep.kick()
	}
	l.close()
	l.writer.close()
	l.closeReceived()
	l.ended.Store(true)
	close(l.done)
	r.sleep.kick()
}

func (l *line) heard(r *Reader, m message) error {
	switch m.kind {
	case poolKind:
		p, err := parsePool(m.payload)
		if err != nil || len(m.fds) != 2 {
			sys.CloseAll(m.fds)
			return fault("a POOL that is none: %v", err)
		}
		v, err := newView(m.fds[0], m.fds[1], p.holds)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil {
			l.err = err
			return err
		}
		v.reader, v.line = r, l
		l.pools = append(l.pools, v)
	case evictedKind, byeKind:
		sys.CloseAll(m.fds)
		l.mu.Lock()
		defer l.mu.Unlock()
		if m.kind == byeKind {
			l.err = io.EOF
		} else {
			l.evicted.Store(true)
		}
	default:
		sys.CloseAll(m.fds)
	}
	return nil
}

func (l *line) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// over returns why the connection is over, or nil.
func (l *line) over() error {
	if !l.ended.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Format returns the format of the frames that come now.
func (r *Reader) Format() Format {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.format
}

// Counts returns how many frames were received, and how many missed.
func (r *Reader) Counts() (received, missed uint64) {
	return r.received.Load(), r.missed.Load()
}

// Close ends reading, and gives back what is held: such frames can still be looked at until they are released, but they may change. A Next that waits
// returns net.ErrClosed.
func (r *Reader) Close() error {
	r.mu.Lock()
	again := r.closed.Swap(true)
	r.mu.Unlock()
	r.cancel()
	r.sleep.kick()
	r.next.enter()
	defer r.next.leave()
	if !again && r.line != nil {
		r.leave()
	}
	r.sleep.watch(context.Background())
	r.work.Wait()
	return nil
}

// leave gives up the line. Called with next held.
func (r *Reader) leave() {
	r.line.close()
	<-r.line.done
	r.line.event.close()
	for _, v := range r.line.pools {
		v.leave()
	}
	r.line.pools = nil
	r.view.leave()
	r.line, r.view = nil, nil
}

// tell wakes a writer that waits for this reader: what was released is stored, fence (the exchange is one), then wanted is loaded.
func (r *Reader) tell(v *view) {
	if r.options.mode != Lossless {
		return
	}
	r.fence.Swap(1)
	if v.wanted.Load() != 0 {
		_ = v.line.send(releasedKind, nil) // full: the writer has been told
	}
}

func (r *Reader) at(point string) {
	if r.options.fault != nil {
		r.options.fault(point)
	}
}
