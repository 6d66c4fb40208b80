// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Loan is a slot that the writer has got, to be filled and published. It is for one goroutine.
type Loan struct {
	Info

	w    *Writer
	pool *pool
	used *[maxPlanes]int // bytes of each plane, if SetSize was called
	slot int32
	done bool
}

// Loan returns a slot to be filled. It waits only if lossless readers have not got their frames yet; ctx bounds that. The memory has
// what was left there.
func (w *Writer) Loan(ctx context.Context) (*Loan, error) {
	if l := w.spare.Swap(nil); l != nil {
		return l, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var wait waiter
	defer wait.end(w)
	for {
		if w.closed {
			return nil, net.ErrClosed
		}
		p := w.pool
		i, blocked := w.chooseLocked(p)
		switch {
		case i >= 0:
			if w.takeLocked(p, i) {
				return w.newLoan(p, i), nil
			}
		case blocked == 0:
			return nil, ErrNoSlot
		default:
			if err := wait.until(ctx, w, p, blocked); err != nil {
				return nil, err
			}
		}
	}
}

// chooseLocked is [pool.choose], as the words of the readers are now.
func (w *Writer) chooseLocked(p *pool) (int, uint64) {
	held := w.held[:p.used]
	clear(held)
	needed := w.heldLocked(held)
	return p.choose(held, needed)
}

// prepareLocked takes the slot for the next Loan as soon as a frame is published, when nobody waits for the writer, and not when the next frame is
// due. It takes none that has no memory yet, and none with a frame that a reader may still come for: these are left to Loan.
func (w *Writer) prepareLocked(p *pool) {
	if w.waiting > 0 || w.spare.Load() != nil {
		return
	}
	i, _ := w.chooseLocked(p)
	if i < 0 || i >= p.used || p.mine[i].state == ready && w.wantedLocked(p.mine[i].sequence) || !w.takeLocked(p, i) {
		return
	}
	l := w.newLoan(p, i)
	w.spare.Store(l)
}

// dropSpareLocked gives up what prepareLocked took, in a pool that is about to end.
func (w *Writer) dropSpareLocked() {
	if w.spare.Swap(nil) != nil {
		w.pool.loans--
	}
}

// wantedLocked tells whether a reader may still come for a frame that is not the newest.
func (w *Writer) wantedLocked(frame uint64) bool {
	for _, r := range w.readers {
		if r.mode != Latest && r.needs() <= frame {
			return true
		}
	}
	return false
}

// takeLocked makes a slot one that is being written, unless a reader has come first. Retire, fence (the store is one), look at
// the holds: a reader that holds, fence, looks at the state finds out, or is found.
func (w *Writer) takeLocked(p *pool, i int) bool {
	s := &p.mine[i]
	if s.state == ready {
		p.retire(i)
		w.at("loan.retired")
		for _, r := range w.readers {
			if r.has(i) {
				return false
			}
		}
	}
	w.at("loan.checked")
	s.generation++
	p.set(i, writing)
	p.used = max(p.used, i+1)
	p.loans++
	w.at("loan.writing")
	return true
}

// together is how many loans, or frames, are allocated at once: that many fill a piece of memory as the allocator has it.
const together = 20

func (w *Writer) newLoan(p *pool, i int) *Loan {
	if len(w.loans) == 0 {
		w.loans = make([]Loan, together)
	}
	l := &w.loans[0]
	w.loans = w.loans[1:]
	l.w, l.pool, l.slot = w, p, int32(i)
	l.begin(&p.mine[i])
	return l
}

// Plane returns the memory of a plane, to be written until the Loan is published.
func (l *Loan) Plane(i int) []byte {
	if l.done {
		return nil
	}
	p := l.pool.format.Planes[i]
	return l.pool.of(int(l.slot))[p.Offset : p.Offset+p.Size : p.Offset+p.Size]
}

// Planes returns how many planes there are.
func (l *Loan) Planes() int { return len(l.pool.format.Planes) }

// Format returns the format of the slot.
func (l *Loan) Format() Format { return l.pool.format }

// SetSize says how many bytes of a plane are used; all of them unless said. For coded streams.
func (l *Loan) SetSize(i, n int) {
	if l.used == nil {
		l.used = new(l.pool.sizes)
	}
	l.used[i] = min(max(n, 0), l.pool.format.Planes[i].Size)
}

// Publish gives the frame to the readers. From then on it must not be written.
func (l *Loan) Publish() error { _, err := l.PublishID(); return err }

// PublishID is Publish, and returns what the frame is known by.
func (l *Loan) PublishID() (ID, error) {
	if len(l.Metadata) > MaxMetadata {
		return ID{}, fmt.Errorf("cannot publish: %d bytes of metadata are more than %d", len(l.Metadata), MaxMetadata)
	}
	w, p := l.w, l.pool
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case l.done:
		return ID{}, ErrReleased
	case w.closed, p != w.pool:
		l.dropLocked()
		if w.closed {
			return ID{}, net.ErrClosed
		}
		return ID{}, ErrReformatted
	}
	sys.Release64(p.head, w.sequence) // its value already: this fetches the line of memory from the readers while the clock is read
	l.done = true
	p.loans--
	w.sequence++
	s := &p.mine[l.slot]
	l.put(s, w.sequence, w.clock.now())
	w.at("publish.header")
	s.sequence = w.sequence
	p.set(int(l.slot), ready)
	w.at("publish.ready")
	entry := slotWord(uint32(l.slot), s.generation)
	sys.Release64(p.memory.Word64(p.logAt+int(w.sequence)&(p.entries-1)*8), entry)
	w.at("publish.logged")
	sys.Release64(p.newest, entry)
	w.at("publish.newest")
	sys.Release64(p.head, w.sequence)
	w.at("publish.head")
	p.ring(w.readers)
	w.at("publish.rung")
	w.counts.published++
	w.prepareLocked(p)
	return ID{order.Uint64(w.channel[:]), w.sequence, uint32(l.slot), s.generation}, nil
}

// Drop gives the slot back unpublished. After Publish it does nothing.
func (l *Loan) Drop() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.done {
		l.dropLocked()
		l.w.counts.dropped++
	}
}

func (l *Loan) dropLocked() {
	l.done = true
	l.pool.loans--
	if l.pool.old {
		l.pool.release()
		return
	}
	l.pool.set(int(l.slot), retired)
	l.w.signalLocked()
}

// waiter is one call of Loan that waits for lossless readers.
type waiter struct {
	timer  *time.Timer
	counts bool // in Writer.waiting
	since  map[*attached]progress
}

// progress is where a reader was when.
type progress struct {
	cursor uint64
	at     time.Time
}

// until waits, without the lock, until something happened that may free the frame. The first time it only says that it waits:
// what readers release from then on, they tell, and what they released before is found by looking again.
func (wt *waiter) until(ctx context.Context, w *Writer, p *pool, frame uint64) error {
	if !wt.counts {
		wt.counts, wt.since = true, map[*attached]progress{}
		w.waiting++
		p.wanted.Store(1)
		w.at("loan.wanted")
		return nil
	}
	p.wanted.Store(1) // the pool may be another than the first time. A fence, too
	const forever = time.Duration(1<<63 - 1)
	least := forever
	for _, r := range w.readers {
		if r.mode != Lossless || r.needs() > frame {
			continue
		}
		now := time.Now()
		last, known := wt.since[r]
		if cursor := r.needs(); !known || cursor != last.cursor {
			last = progress{cursor, now}
			wt.since[r] = last
		}
		left := r.deadline - now.Sub(last.at)
		if left <= 0 {
			w.evictLocked(r)
			return nil
		}
		least = min(least, left)
	}
	if least == forever { // nobody needs it any more; whoever took it may have looked before this said that it waits
		return nil
	}
	if wt.timer == nil {
		wt.timer = time.NewTimer(least)
	} else {
		wt.timer.Reset(least)
	}
	released := w.released
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-released:
	case <-wt.timer.C:
	case <-ctx.Done():
		return fmt.Errorf("cannot get a slot: %w", context.Cause(ctx))
	}
	return nil
}

func (wt *waiter) end(w *Writer) {
	if wt.timer != nil {
		wt.timer.Stop()
	}
	if wt.counts {
		if w.waiting--; w.waiting == 0 && !w.closed {
			w.pool.wanted.Store(0)
		}
	}
}
