// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"io"
	"math/bits"
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Next waits for the next frame, as the mode has it, and holds it. Errors: io.EOF when the writer has ended the channel,
// ErrWriterGone when it died, both after all that it published; ErrEvicted; ErrTooManyHeld; net.ErrClosed after Close; the cause of ctx.
func (r *Reader) Next(ctx context.Context) (*Frame, error) {
	r.next.enter()
	defer r.next.leave()
	for {
		if r.closed.Load() {
			return nil, net.ErrClosed
		}
		if r.line == nil { // an earlier one has given up waiting for the next writer
			if err := r.rejoin(ctx); err != nil {
				return nil, err
			}
		}
		f, err := r.step(ctx)
		switch {
		case f != nil:
			return f, nil
		case err == nil:
		case r.redial != nil && (errors.Is(err, ErrWriterGone) || err == io.EOF):
			if err := r.rejoin(ctx); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
}

// step takes a frame, goes to the next pool, or waits once; nil and no error: look again.
func (r *Reader) step(ctx context.Context) (*Frame, error) {
	l, v := r.line, r.view
	// In this order: what is found to be over has published all before, and what is published after the bell was loaded rings it again.
	over := l.over()
	bell := v.bell.Load()
	closed := v.closed.Load()
	head := v.head.Load()
	r.at("next.looked")
	if f, err := r.pick(v, head); f != nil || err != nil {
		return f, err
	}
	switch {
	case l.evicted.Load():
		return nil, ErrEvicted
	case closed == moved:
		return nil, r.follow(ctx, l)
	case closed == ended:
		return nil, io.EOF
	case over != nil:
		return nil, over
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	r.wait(ctx, l, v, bell)
	return nil, nil
}

// pick takes the frame that the mode wants next, of those up to head.
func (r *Reader) pick(v *view, head uint64) (*Frame, error) {
	if r.want < v.first { // in the pool before, and not taken from there
		r.skip(v, v.first)
	}
	for head >= r.want {
		q := r.want
		switch {
		case r.options.mode == Latest:
			q = head
		case r.options.mode == Every && r.options.depth > 0 && head-q >= uint64(r.options.depth):
			q = head - uint64(r.options.depth) + 1
		}
		if head-q >= uint64(v.entries) { // the log has others in their place
			q = head - uint64(v.entries) + 1
		}
		var f *Frame
		var err error
		if newest := v.newest.Load(); q == head && newest != 0 { // most often that of q, and always at hand, where the log must be fetched
			f, err = r.take(v, q, newest)
		}
		if f == nil && err == nil {
			f, err = r.take(v, q, v.memory.Word64(v.logAt+int(q)&(v.entries-1)*8).Load())
		}
		switch {
		case err != nil:
			return nil, err
		case f != nil:
			r.skip(v, q)
			r.got(v, f)
			return f, nil
		case r.options.mode == Latest:
			newer := v.head.Load()
			if newer == head {
				return nil, fault("its newest frame, %d, is not there", head)
			}
			head = newer
		case r.options.mode == Lossless: // who is waited for misses nothing
			return nil, ErrEvicted
		default:
			r.skip(v, q+1)
		}
	}
	return nil, nil
}

// skip goes on to a frame, and counts those before it as missed.
func (r *Reader) skip(v *view, to uint64) {
	if n := to - r.want; n > 0 {
		r.want = to
		r.miss += n
		v.words.missed.Store(r.missed.Add(n))
		r.advance(v)
	}
}

// advance tells the writer which frame is wanted next. What is held is held before.
func (r *Reader) advance(v *view) {
	sys.Release64(v.words.cursor, r.want)
	r.at("next.advanced")
	r.tell(v)
}

// agesOf is of how many frames the age of one is counted while they are published less than soon after each other: a look at the clock
// costs a good part of what taking a frame does.
const (
	agesOf = 16
	soon   = int64(time.Millisecond)
)

// got counts a frame that was taken.
func (r *Reader) got(v *view, f *Frame) {
	r.want = f.Sequence + 1
	f.Missed, r.miss = r.miss, 0
	if r.late {
		f.Flags |= Discontinuity
		r.late = false
	}
	r.advance(v)
	n := r.received.Load() + 1
	sys.Release64(&r.received, n)
	sys.Release64(v.words.received, n)
	after := f.Published - r.before
	r.before = f.Published
	r.seldom = after >= soon
	if after < soon && n%agesOf != 1 {
		return
	}
	bucket := min(bits.Len64(uint64(max(r.clock.now()-f.Published, 0))), ageBuckets-1)
	v.words.memory.Word32(atAges + 4*bucket).Add(1)
}

// follow goes to the next epoch, which the writer has announced before it left this one.
func (r *Reader) follow(ctx context.Context, l *line) error {
	for {
		l.mu.Lock()
		var v *view
		if len(l.pools) > 0 {
			v = l.pools[0]
			l.pools = l.pools[1:]
		}
		l.mu.Unlock()
		if v != nil {
			r.view.leave()
			r.view = v
			v.words.cursor.Store(r.want)
			r.mu.Lock()
			r.format = v.format
			r.mu.Unlock()
			return nil
		}
		if err := l.over(); err != nil {
			l.mu.Lock()
			none := len(l.pools) == 0
			l.mu.Unlock()
			if none {
				return err
			}
			continue
		}
		select {
		case <-l.news:
		case <-l.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ctx.Done():
			return net.ErrClosed
		}
	}
}

// rejoin waits for the next writer of the name.
func (r *Reader) rejoin(ctx context.Context) error {
	if r.line != nil {
		r.leave()
	}
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(net.ErrClosed) })()
	for {
		c, err := r.redial(both)
		if err == nil {
			err = r.join(both, c)
		}
		switch {
		case err == nil:
			r.late = true
			return nil
		case both.Err() != nil:
			return context.Cause(both)
		case !errors.Is(err, ErrWriterGone), errors.Is(err, errNobody):
			return err
		}
	}
}
