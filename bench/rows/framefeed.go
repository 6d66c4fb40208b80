// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/frames"
)

// FrameFeed is a process that sends frames of 4K to others, which get every one of them and look at none. Ours is one; another program that
// speaks as feedRole does is one, too.
type FrameFeed struct {
	p    *proc.Process
	pids []int // of the writer and its readers
}

// Fed is what a feed did: Frames in all, Rate a second, and the processor time of writer and readers for each, in µs.
type Fed struct {
	Frames int     `json:"frames"`
	Rate   float64 `json:"rate"`
	Median float64 `json:"median_ns"` // of a feed that times them: how long a frame takes one way
	Writer float64 `json:"-"`
	Reader float64 `json:"-"` // of all readers
}

// StartFrameFeed starts a feed of ours: how is "placed", frames are drawn where they are shared, which takes no time here, or "copied", they are
// copied there.
func (e *Env) StartFrameFeed(ctx context.Context, how string, readers int) (*FrameFeed, error) {
	return e.FeedBy(ctx, slices.Concat(e.options.Self, []string{"feed", how, strconv.Itoa(readers)}, e.options.Self))
}

// FeedBy starts a program that is a feed.
func (e *Env) FeedBy(ctx context.Context, argv []string) (*FrameFeed, error) {
	p, err := e.Start(ctx, argv, proc.Options{})
	if err != nil {
		return nil, err
	}
	f := &FrameFeed{p: p}
	for word := range strings.FieldsSeq(p.First) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("the first line of %q is %q, not process ids", argv[0], p.First)
		}
		f.pids = append(f.pids, pid)
	}
	return f, nil
}

// Feed sends frames for so long: so many a second, 0: as many as there can be.
func (f *FrameFeed) Feed(ctx context.Context, d time.Duration, perSecond int) (Fed, error) {
	var r Fed
	before, err := cpuOf(f.pids)
	if err == nil {
		err = f.p.Tell("%f %d", d.Seconds(), perSecond)
	}
	if err == nil {
		err = f.p.Result(ctx, &r)
	}
	if err != nil {
		return r, err
	}
	after, err := cpuOf(f.pids)
	if err != nil {
		return r, err
	}
	for i := range after {
		us := float64((after[i] - before[i]).Nanoseconds()) / 1000 / float64(max(1, r.Frames))
		if i == 0 {
			r.Writer = us
		} else {
			r.Reader += us
		}
	}
	return r, nil
}

// cpuOf is the processor time of each of these processes so far.
func cpuOf(pids []int) ([]time.Duration, error) {
	times := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if times[i], err = proc.CPU(pid); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// Stop ends it, and its readers.
func (f *FrameFeed) Stop() { f.p.Stop() }

// feedRole sends frames to readers, which it starts: placed|copied READERS COMMAND…. Its first line has the ids of all processes; then it
// answers SECONDS and PER_SECOND with Fed.
func feedRole(ctx context.Context, r *role) error {
	if err := r.need(3); err != nil {
		return err
	}
	readers, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	w, err := frames.NewWriter(frames.Format{FourCC: frames.BGRA, Width: 3840, Height: 2160})
	if err != nil {
		return err
	}
	defer w.Close()
	pids := []any{os.Getpid()}
	for range readers {
		p, err := frames.Child(exec.Command(r.args[2], slices.Concat(r.args[3:], []string{"frames", "drain", "sleeping"})...))
		if err != nil {
			return err
		}
		defer p.Close()
		if err := p.Share(frames.ToChild, w); err != nil {
			return err
		}
		pids = append(pids, p.PID())
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for w.Readers() < readers {
		if err := pause(within, time.Millisecond); err != nil {
			return err
		}
	}
	fmt.Fprintln(r.out, pids...)
	var pixels []byte
	if r.args[0] == "copied" {
		pixels = slices.Repeat([]byte{1}, w.Format().Size())
	}
	return r.answerWords(func(words []string) (any, error) { return feed(ctx, w, readers, pixels, words) })
}

// feed sends frames: for SECONDS, PER_SECOND.
func feed(ctx context.Context, w *frames.Writer, readers int, pixels []byte, words []string) (f Fed, err error) {
	if len(words) != 2 {
		return f, fmt.Errorf("%q are not SECONDS and PER_SECOND", words)
	}
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return f, err
	}
	perSecond, err := strconv.Atoi(words[1])
	if err != nil {
		return f, err
	}
	start := time.Now()
	for ; time.Since(start).Seconds() < seconds; f.Frames++ {
		l, err := w.Loan(ctx)
		if err != nil {
			return f, err
		}
		copy(l.Plane(0), pixels)
		if err := l.Publish(); err != nil {
			return f, err
		}
		if perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(f.Frames+1) * time.Second / time.Duration(perSecond))))
		}
	}
	f.Rate = float64(f.Frames) / time.Since(start).Seconds()
	for _, r := range w.Stats().Readers {
		if r.Evicted || r.Missed > 0 {
			return f, fmt.Errorf("reader %d missed frames", r.PID)
		}
	}
	if n := w.Readers(); n != readers {
		return f, fmt.Errorf("%d readers are left of %d", n, readers)
	}
	return f, nil
}
