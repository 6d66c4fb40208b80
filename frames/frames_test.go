// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func TestPublishAndTake(t *testing.T) {
	for name, kind := range map[string]sys.SocketType{"seqpacket": sys.Seqpacket, "stream": sys.Stream} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, Format{FourCC: NV12, Width: 33, Height: 17, Rate: Rate{30000, 1001}, Colour: Colour{1, 1, 1, 0}})
			r := attachBy(t, w, kind, Every)
			if got := r.Format(); !got.Equal(w.Format()) {
				t.Fatalf("the format arrived as %+v", got)
			}
			l, err := w.Loan(testContext(t))
			noError(t, err)
			fill(l, 1)
			l.Timestamp, l.Duration, l.Flags, l.Crop, l.Transform = 12345, 99, Keyframe, Crop{1, 2, 3, 4}, 5
			l.Answers, l.Colour = ID{7, 8, 9, 10}, Colour{9, 16, 9, 1}
			info := l.Info
			id, err := l.PublishID()
			noError(t, err)
			f := next(t, r)
			info.Metadata, f.Info.Metadata = nil, nil
			if f.Sequence != 1 || f.ID() != id || f.Published == 0 || f.Epoch != 1 || f.Generation != 1 ||
				f.Timestamp != info.Timestamp || f.Crop != info.Crop || f.Answers != info.Answers || f.Flags != info.Flags || f.Colour != info.Colour {
				t.Fatalf("the frame arrived as %+v", f)
			}
			f.Release()
			if f.Release(); f.Plane(0) != nil {
				t.Fatal("a released frame has a plane")
			}
		})
	}
}

func TestModes(t *testing.T) {
	w := newWriter(t, small, Slots(4))
	latest, every, deep := attach(t, w, Latest), attach(t, w, Every), attach(t, w, Every, Depth(2))
	for i := range 10 {
		publish(t, w, i)
	}
	if f := next(t, latest); f.Sequence != 10 || f.Missed != 9 {
		t.Fatalf("latest got %d, after %d missed", f.Sequence, f.Missed)
	}
	if f := next(t, deep); f.Sequence != 9 || f.Missed != 8 {
		t.Fatalf("depth 2 got %d, after %d missed", f.Sequence, f.Missed)
	}
	first := next(t, every)
	if first.Sequence != 7 || first.Missed != 6 {
		t.Fatalf("every got %d, after %d missed", first.Sequence, first.Missed)
	}
	first.Release()
	for q := uint64(8); q <= 10; q++ {
		f := next(t, every)
		if f.Sequence != q || f.Missed != 0 {
			t.Fatalf("every got %d, after %d missed", f.Sequence, f.Missed)
		}
		f.Release()
	}
	late, none := attach(t, w, Latest, Last()), attach(t, w, Latest)
	if f := next(t, late); f.Sequence != 10 {
		t.Fatalf("last got %d", f.Sequence)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(time.Millisecond, cancel)
	if f, err := none.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("who did not ask for the last one got %v, %v", f, err)
	}
}

func TestWaitsForNothingHeld(t *testing.T) {
	w := newWriter(t, small, Slots(3), MaxReaders(4), Holds(2))
	var frames []*Frame
	for range 4 {
		r := attach(t, w, Every)
		for range 2 {
			publish(t, w, len(frames))
			frames = append(frames, next(t, r))
		}
		publish(t, w, 0)
		if _, err := r.Next(testContext(t)); !errors.Is(err, ErrTooManyHeld) {
			t.Fatalf("a third frame: %v", err)
		}
	}
	for i := range 50 {
		publish(t, w, i)
	}
	for _, f := range frames {
		noError(t, check(f))
		f.Release()
	}
	if s := w.Stats(); s.SlotsUsed > 11 || s.Published != 62 {
		t.Fatalf("%+v", s)
	}
}

func TestLossless(t *testing.T) {
	w := newWriter(t, small, Slots(3))
	r := attach(t, w, Lossless, Deadline(deadline))
	const frames = 500
	var work sync.WaitGroup
	work.Add(1)
	go func() {
		defer work.Done()
		for i := range frames {
			publish(t, w, i)
		}
	}()
	for q := uint64(1); q <= frames; q++ {
		f := next(t, r)
		if f.Sequence != q {
			t.Fatalf("got %d, wanted %d", f.Sequence, q)
		}
		f.Release()
	}
	work.Wait()
}

func TestEviction(t *testing.T) {
	w := newWriter(t, small, Slots(3))
	r, other := attach(t, w, Lossless, Deadline(time.Millisecond)), attach(t, w, Latest)
	publish(t, w, 0)
	held := next(t, r)
	for i := range 20 {
		publish(t, w, i)
	}
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrEvicted) {
		t.Fatalf("an evicted reader got %v", err)
	}
	noError(t, check(held))
	if f := next(t, other); f.Sequence != 21 {
		t.Fatalf("the other got %d", f.Sequence)
	}
}

func TestCancelledLoan(t *testing.T) {
	w := newWriter(t, small, Slots(2))
	attach(t, w, Lossless, Deadline(deadline))
	publish(t, w, 0)
	publish(t, w, 0)
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := w.Loan(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestWaitForWhatIsNotNeeded: a Loan whose pool is another than when it first said that it waits looks again, rather than wait for the word of a
// reader that has gone on before it was asked.
func TestWaitForWhatIsNotNeeded(t *testing.T) {
	w := newWriter(t, small, Slots(2))
	r := attach(t, w, Lossless, Deadline(deadline))
	publish(t, w, 0)
	next(t, r).Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := waiter{counts: true, since: map[*attached]progress{}}
	w.waiting++
	noError(t, wait.until(testContext(t), w, w.pool, 1))
	wait.end(w)
}

func TestLoans(t *testing.T) {
	w := newWriter(t, small, Slots(2))
	a, err := w.Loan(testContext(t))
	noError(t, err)
	b, err := w.Loan(testContext(t))
	noError(t, err)
	if _, err := w.Loan(testContext(t)); !errors.Is(err, ErrNoSlot) {
		t.Fatalf("a third loan of two: %v", err)
	}
	a.Drop()
	noError(t, b.Publish())
	if err := b.Publish(); !errors.Is(err, ErrReleased) {
		t.Fatalf("published again: %v", err)
	}
	b.Drop()
	c, err := w.Loan(testContext(t))
	noError(t, err)
	c.Metadata = make([]byte, MaxMetadata+1)
	if c.Publish() == nil {
		t.Fatal("too much metadata was published")
	}
	c.Metadata = c.Metadata[1:]
	noError(t, c.Publish())
}

func TestFormatChange(t *testing.T) {
	for _, mode := range []Mode{Latest, Every, Lossless} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWriter(t, small, Slots(4))
			r := attach(t, w, mode)
			publish(t, w, 1)
			held := next(t, r)
			publish(t, w, 2)
			stale, err := w.Loan(testContext(t))
			noError(t, err)
			noError(t, w.Reformat(Format{Type: Float32, Shape: []int{2, 3, 5}}))
			stale.Plane(0)[0] = 1
			if err := stale.Publish(); !errors.Is(err, ErrReformatted) {
				t.Fatalf("a slot of the old format: %v", err)
			}
			publish(t, w, 3)
			noError(t, w.Reformat(small))
			publish(t, w, 4)
			for q, format := range []string{"30x20 BGRA", "float32[2 3 5]", "30x20 BGRA"} {
				f := next(t, r)
				if f.Sequence != uint64(q)+2 || f.Format().String() != format || f.Epoch != uint32(q)+1 || f.Missed != 0 {
					t.Fatalf("got frame %d, %v in epoch %d, after %d", f.Sequence, f.Format(), f.Epoch, f.Missed)
				}
				f.Release()
			}
			noError(t, check(held))
			held.Release()
			attached := attach(t, w, Every, Last())
			if f := next(t, attached); f.Sequence != 4 {
				t.Fatalf("a late one got %d", f.Sequence)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	for name, byEvent := range map[string][]OpenOption{"futex": nil, "event": {ByEvent()}, "spin": {Spin(time.Millisecond)}} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, small)
			r := attach(t, w, append(byEvent, Every)...)
			closing := attach(t, w, byEvent...)
			publish(t, w, 1)
			done := make(chan error)
			go func() {
				if _, err := closing.Next(context.Background()); err != nil {
					done <- err
					return
				}
				_, err := closing.Next(context.Background())
				done <- err
			}()
			time.AfterFunc(2*time.Millisecond, func() { closing.Close() })
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Fatalf("closed while it waits: %v", err)
			}
			loan, err := w.Loan(testContext(t))
			noError(t, err)
			noError(t, w.Close())
			loan.Plane(0)[0] = 1
			loan.Drop()
			next(t, r).Release()
			if _, err := r.Next(testContext(t)); err != io.EOF {
				t.Fatalf("after the end: %v", err)
			}
			if _, err := w.Loan(testContext(t)); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("a loan after the end: %v", err)
			}
		})
	}
}

func TestWriterLost(t *testing.T) {
	w := newWriter(t, small)
	r := attach(t, w, Every)
	publish(t, w, 1)
	time.AfterFunc(2*time.Millisecond, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.conns {
			c.close() // as when it is killed
		}
	})
	next(t, r).Release()
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrWriterGone) {
		t.Fatalf("got %v", err)
	}
}

func TestManyReaders(t *testing.T) {
	w := newWriter(t, small)
	var readers []*Reader
	for i := range maxReaders {
		readers = append(readers, attach(t, w, []OpenOption{Latest, Every, Lossless}[i%3], Deadline(deadline)))
	}
	a, b := pair(t, sys.Stream)
	noError(t, w.Serve(a))
	var refused *RefusedError
	if _, err := NewReader(testContext(t), b); !errors.As(err, &refused) || refused.Code != 75 {
		t.Fatalf("one reader too many: %v", err)
	}
	const frames = 200
	var work sync.WaitGroup
	for i, r := range readers {
		work.Add(1)
		go func() {
			defer work.Done()
			seen := uint64(0)
			for {
				f, err := r.Next(testContext(t))
				if err == io.EOF {
					break
				}
				if err == nil {
					err = check(f)
				}
				if err != nil {
					t.Errorf("reader %d: %v", i, err)
					return
				}
				if seen += 1 + f.Missed; f.Sequence != seen || i%3 == 2 && f.Missed > 0 {
					t.Errorf("reader %d: frame %d, and had or missed %d before", i, f.Sequence, seen-1)
				}
				f.Release()
			}
			if seen != frames {
				t.Errorf("reader %d had or missed %d", i, seen)
			}
		}()
	}
	for i := range frames {
		publish(t, w, i)
	}
	noError(t, w.Close())
	work.Wait()
}

func TestStats(t *testing.T) {
	w := newWriter(t, small)
	r := attach(t, w, Every)
	publish(t, w, 0)
	publish(t, w, 0)
	defer next(t, r).Release()
	a, b := pair(t, sys.Stream)
	noError(t, w.Serve(a))
	s, err := ReadStats(testContext(t), b)
	noError(t, err)
	if s.Published != 2 || s.FourCC != "AR24" || len(s.Readers) != 1 || s.Readers[0].Held != 1 || s.Readers[0].Behind != 1 || s.Readers[0].Received != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestStatsOfNobody: the end of the writer is that, and the end of the context that, however they show.
func TestStatsOfNobody(t *testing.T) {
	for _, kind := range []sys.SocketType{sys.Seqpacket, sys.Stream} {
		for i := range 100 {
			w := newWriter(t, small)
			a, b := pair(t, kind)
			noError(t, w.Serve(a))
			var closing sync.WaitGroup
			closing.Go(func() { w.Close() })
			if _, err := ReadStats(testContext(t), b); err != nil && !errors.Is(err, ErrWriterGone) {
				t.Fatalf("%v, the writer is closed: %v", kind, err)
			}
			closing.Wait()

			a, b = pair(t, kind)
			ctx, cancel := context.WithCancel(context.Background())
			if i%2 == 0 {
				cancel()
			} else {
				closing.Go(cancel)
			}
			if _, err := ReadStats(ctx, b); !errors.Is(err, context.Canceled) {
				t.Fatalf("%v, nobody answers: %v", kind, err)
			}
			closing.Wait()
			noError(t, a.Close())
		}
	}
}
