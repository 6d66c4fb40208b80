// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Writer is the side of a channel that has the memory and publishes frames in it. Its methods may be called from several
// goroutines at once.
type Writer struct {
	options createOptions
	channel [16]byte
	clock   clock
	started int64
	name    string

	// end ends what brings readers; nil: nothing does.
	end  func()
	work sync.WaitGroup // a goroutine for each connection, and what brings readers

	ended atomic.Bool          // as closed
	spare atomic.Pointer[Loan] // for the next Loan, or nil; set with mu held

	mu       sync.Mutex // guards what follows, and every step of the protocol
	pool     *pool
	sequence uint64 // of the newest frame
	readers  []*attached
	conns    map[*conn]bool // connections that are open, of readers or not yet
	waiting  int            // loans that wait for lossless readers
	released chan struct{}  // closed, and another one made, when they should look again
	closed   bool
	held     [maxSlots]bool // of Loan
	loans    []Loan         // to be handed out
	counts   struct{ published, dropped, evicted uint64 }
}

// NewWriter makes a channel without a name: readers come by [Writer.Serve].
func NewWriter(f Format, opts ...CreateOption) (*Writer, error) {
	o := createOptions{slots: 4, readers: maxReaders, holds: 4, patience: 10 * time.Second, hello: helloTime}
	for _, opt := range opts {
		opt.applyCreate(&o)
	}
	if o.readers < 1 || o.readers > maxReaders || o.holds < 1 || o.holds > maxHolds {
		return nil, fmt.Errorf("cannot create a channel for %d readers with %d holds: at least 1 of each, and at most %d and %d", o.readers, o.holds, maxReaders, maxHolds)
	}
	w := &Writer{options: o, clock: newClock(), released: make(chan struct{}), conns: map[*conn]bool{}}
	w.started = w.clock.now()
	rand.Read(w.channel[:])
	p, err := w.newPool(f, 1)
	if err != nil {
		return nil, fmt.Errorf("cannot create a channel: %w", err)
	}
	w.pool = p
	return w, nil
}

func (w *Writer) newPool(f Format, epoch uint32) (*pool, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	s, err := newShape(f, w.options.slots, w.options.readers*w.options.holds)
	if err != nil {
		return nil, err
	}
	s.channel, s.epoch, s.first = w.channel, epoch, w.sequence+1
	return newPoolMemory(s)
}

// Format returns the format that frames have now, complete.
func (w *Writer) Format() Format {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pool.format
}

// Reformat changes the format: a new pool, into which readers follow when they have taken what is in the old one. Slots that
// are on loan cannot be published any more.
func (w *Writer) Reformat(f Format) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	p, err := w.newPool(f, w.pool.epoch+1)
	if err != nil {
		return fmt.Errorf("cannot change the format: %w", err)
	}
	w.dropSpareLocked()
	old, before := w.pool, w.readers
	next := make([]*words, 0, len(before))
	w.readers = nil
	for _, r := range before {
		nw, err := r.follow(p)
		if err != nil {
			r.conn.close() // it is lost: its goroutine does the rest
		} else {
			w.readers = append(w.readers, r)
		}
		next = append(next, nw)
	}
	w.at("reformat.sent")
	old.closed.Store(moved)
	old.ring(before)
	w.at("reformat.rung")
	for i, r := range before {
		r.words.unmap()
		r.words = next[i]
	}
	w.pool, old.old = p, true
	old.release()
	w.signalLocked()
	return nil
}

// Close ends the channel: readers take what they have not yet, and then get io.EOF. It waits for the writer's goroutines. What
// is on loan stays valid until it is dropped.
func (w *Writer) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.ended.Store(true)
		w.pool.closed.Store(ended)
		w.pool.ring(w.readers)
		for _, r := range w.readers {
			_ = r.conn.send(byeKind, text("the writer has ended the channel"))
			r.words.unmap()
		}
		w.readers = nil
		for c := range w.conns {
			c.close()
		}
		w.dropSpareLocked()
		w.pool.old = true
		w.pool.release()
		w.signalLocked()
		if w.end != nil {
			w.end()
		}
	}
	w.mu.Unlock()
	w.work.Wait()
	return nil
}

// isClosed takes no lock: it is for who holds that of a link, which Close takes behind its own.
func (w *Writer) isClosed() bool { return w.ended.Load() }

// signalLocked makes all who wait for a slot look again.
func (w *Writer) signalLocked() {
	if w.waiting > 0 {
		close(w.released)
		w.released = make(chan struct{})
	}
}

// at is a step of the protocol, where a test may end the process.
func (w *Writer) at(point string) {
	if w.options.fault != nil {
		w.options.fault(point)
	}
}

func text(s string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, s...) }
}

// heldLocked tells which slots of the pool readers hold, and from which frame on lossless readers need them. A lossless reader's
// cursor is loaded before its holds: it holds a frame before it goes on from it.
func (w *Writer) heldLocked(held []bool) (needed uint64) {
	needed = ^uint64(0)
	for _, r := range w.readers {
		if r.mode == Lossless {
			needed = min(needed, r.needs())
		}
		r.mark(held)
	}
	return needed
}

// evictLocked stops waiting for a reader. What it holds counts until it hangs up.
func (w *Writer) evictLocked(r *attached) {
	r.mode, r.evicted = Every, true
	w.counts.evicted++
	_ = r.conn.send(evictedKind, text(fmt.Sprintf("the writer waited for this reader for %v without progress", r.deadline)))
}
