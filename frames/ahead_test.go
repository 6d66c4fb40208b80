// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"testing"
)

// A writer that does not say where its newest frame is, or says what is not so, only makes readers look into the log.
func TestNewestIsAHint(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Latest, Every, Lossless} {
		w := newWriter(t, small)
		r := attach(t, w, mode)
		for i, newest := range []uint64{0, slotWord(0, 1), slotWord(3, 1), slotWord(2, 77), slotWord(1, ^uint32(0))} {
			publish(t, w, i)
			w.pool.newest.Store(newest)
			f := next(t, r)
			if f.Sequence != uint64(i+1) || f.Missed > 0 {
				t.Errorf("%v, newest %#x: frame %d, %d missed, and not %d", mode, newest, f.Sequence, f.Missed, i+1)
			}
			f.Release()
		}
		publish(t, w, 0)
		w.pool.newest.Store(slotWord(uint32(w.pool.slots), 1))
		if _, err := r.Next(testContext(t)); err == nil || errors.Is(err, ErrWriterGone) {
			t.Errorf("%v: a slot that cannot be: %v", mode, err)
		}
	}
}

// The slot of the next frame is taken ahead, but never one that a reader may still come for, nor one more than the writer works with.
func TestLoansAheadTakeNothingThatIsWanted(t *testing.T) {
	t.Parallel()
	const slots = 4
	w := newWriter(t, small, Slots(slots))
	latest := attach(t, w)
	every := attach(t, w, Every)
	for i := range slots {
		publish(t, w, i)
	}
	if w.spare.Load() != nil {
		t.Error("a frame that a reader wants has given way to one that is not written yet")
	}
	for i := range slots {
		f := next(t, every)
		if f.Sequence != uint64(i+1) || f.Missed > 0 {
			t.Errorf("frame %d, %d missed, and not %d", f.Sequence, f.Missed, i+1)
		}
		f.Release()
	}
	next(t, latest).Release()
	for i := range 3 * slots {
		publish(t, w, i)
		if w.spare.Load() == nil {
			t.Error("no slot was taken ahead, of which nobody wants any")
		}
		next(t, every).Release()
	}
	if s := w.Stats(); s.SlotsUsed != slots {
		t.Errorf("%d slots were used, and not %d", s.SlotsUsed, slots)
	}
	// One that was taken ahead goes with its pool, and with the writer.
	old := w.pool
	noError(t, w.Reformat(small))
	if old.loans != 0 || w.spare.Load() != nil {
		t.Errorf("%d slots of the old pool are on loan", old.loans)
	}
	for i := range 2 * slots {
		publish(t, w, i)
		next(t, every).Release()
	}
	p := w.pool
	noError(t, w.Close())
	if p.loans != 0 || w.spare.Load() != nil {
		t.Errorf("%d slots are on loan of a writer that is closed", p.loans)
	}
}

// A frame that is copied, or released twice while its hold has another frame already, is released once.
func TestReleaseIsOfOneFrame(t *testing.T) {
	t.Parallel()
	w := newWriter(t, small)
	r := attach(t, w, Holds(1))
	publish(t, w, 1)
	first := next(t, r)
	first.Release()
	publish(t, w, 2)
	second := next(t, r)
	first.Release()
	if second.Plane(0) == nil || first.Plane(0) != nil {
		t.Error("the second release of a frame was that of another")
	}
	noError(t, check(second))
	publish(t, w, 3)
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrTooManyHeld) {
		t.Errorf("a second frame with one hold: %v", err)
	}
}
