// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func init() { roles["filter"] = filterRole }

// filterRole is a child that inverts each frame and sends it back. With an argument it crashes after that many.
func filterRole(args []string) error {
	ctx := context.Background()
	l, err := Parent()
	if err != nil {
		return err
	}
	in, err := l.Open(ctx, ToChild, Lossless, Last())
	if err != nil {
		return err
	}
	out, err := l.Create(FromChild, in.Format())
	if err != nil {
		return err
	}
	fmt.Println("the filter runs")
	for n := 1; ; n++ {
		f, err := in.Next(ctx)
		if err != nil {
			return nil
		}
		o, err := out.Loan(ctx)
		if err != nil {
			return err
		}
		to := o.Plane(0)
		for i, b := range f.Plane(0) {
			to[i] = ^b
		}
		o.Answers, o.Timestamp, o.Metadata = f.ID(), f.Timestamp, append([]byte(nil), f.Metadata...)
		f.Release()
		if err := o.Publish(); err != nil {
			return err
		}
		if len(args) > 0 && n == 3 {
			fmt.Fprintln(os.Stderr, "the filter crashes")
			os.Exit(3)
		}
	}
}

// inverted checks an answer.
func inverted(f *Frame, id ID) error {
	if f.Answers != id {
		return fmt.Errorf("it answers %+v, not %+v", f.Answers, id)
	}
	want := f.Metadata
	sum := newSum()
	b := append([]byte(nil), f.Plane(0)...)
	for i := range b {
		b[i] = ^b[i]
	}
	sum.Write(b)
	if order.Uint32(want) != sum.Sum32() {
		return fmt.Errorf("frame %d came back as something else", f.Sequence)
	}
	return nil
}

func filter(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"=filter")
	return cmd
}

func TestChild(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	p, err := Child(filter(), Output(func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}))
	noError(t, err)
	defer p.Close()
	w, err := p.Create(ToChild, small)
	noError(t, err)
	if _, err := p.Create(ToChild, small); err == nil {
		t.Fatal("two channels of one name")
	}
	r, err := p.Open(testContext(t), FromChild, Every, Last())
	noError(t, err)
	defer r.Close()
	for i := range 20 {
		id := publish(t, w, i)
		f, err := r.Next(testContext(t))
		noError(t, err)
		noError(t, inverted(f, id))
		f.Release()
	}
	noError(t, w.Close())
	if _, err := r.Next(testContext(t)); err != ErrWriterGone {
		t.Fatalf("the child has ended, and Next said %v", err)
	}
	noError(t, p.Wait())
	mu.Lock()
	defer mu.Unlock()
	if len(lines) != 1 || lines[0] != "the filter runs" {
		t.Fatalf("it wrote %q", lines)
	}
}

func TestChildThatCrashes(t *testing.T) {
	p, err := Child(filter("crash"), Restart(time.Millisecond, 4*time.Millisecond))
	noError(t, err)
	w, err := p.Create(ToChild, small)
	noError(t, err)
	r, err := p.Open(testContext(t), FromChild, Every, Last(), Rejoin())
	noError(t, err)
	defer r.Close()
	for i := 0; p.Starts() < 4; i++ {
		id := publish(t, w, i)
		for { // until the answer of the one that runs has come
			f, err := r.Next(testContext(t))
			noError(t, err)
			answers := f.Answers.Sequence
			if answers == id.Sequence {
				noError(t, inverted(f, id))
			}
			f.Release()
			if answers == id.Sequence {
				break
			}
		}
	}
	noError(t, p.Close())
	if err := p.Wait(); err != nil && !strings.Contains(err.Error(), "the filter") {
		t.Fatalf("the end: %v", err)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	if _, err := Child(exec.Command("/nonexistent")); err == nil {
		t.Fatal("it was started")
	}
}

func TestLinkEnds(t *testing.T) {
	a, b := pair(t, sys.Seqpacket)
	one, err := NewLink(a)
	noError(t, err)
	defer one.Close()
	other, err := NewLink(b)
	noError(t, err)
	// Who calls before the channel is there waits for it.
	time.AfterFunc(time.Millisecond, func() {
		w, err := one.Create("early", small)
		if err != nil {
			t.Error(err)
			return
		}
		publish(t, w, 1)
	})
	r, err := other.Open(testContext(t), "early", Every, Last())
	noError(t, err)
	next(t, r).Release()
	noError(t, one.Close())
	if _, err := r.Next(testContext(t)); err != io.EOF {
		t.Fatal(err)
	}
	noError(t, r.Close())
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
	defer cancel()
	if _, err := other.Open(ctx, "early"); err == nil {
		t.Fatal("a channel of a link that has ended")
	}
	noError(t, other.Close())
}

// TestRejoinGivenUp: who gives up waiting for the next writer can wait again.
func TestRejoinGivenUp(t *testing.T) {
	a, b := pair(t, sys.Seqpacket)
	one, err := NewLink(a)
	noError(t, err)
	defer one.Close()
	other, err := NewLink(b)
	noError(t, err)
	defer other.Close()
	for _, closing := range []bool{false, true} {
		w, err := one.Create("c", small)
		noError(t, err)
		r, err := other.Open(testContext(t), "c", Every, Last(), Rejoin())
		noError(t, err)
		defer r.Close()
		noError(t, w.Close())
		for range 2 {
			ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
			defer cancel()
			if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if closing {
			noError(t, r.Close())
			if _, err := r.Next(testContext(t)); !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			break
		}
		w, err = one.Create("c", small)
		noError(t, err)
		publish(t, w, 1)
		if f := next(t, r); f.Flags&Discontinuity == 0 {
			t.Fatalf("%+v is no frame of another writer", f)
		}
		noError(t, w.Close())
	}
}

// TestChildGone: a channel of a child that has ended for good is not waited for, with Rejoin neither.
func TestChildGone(t *testing.T) {
	p, err := Child(exec.Command("/bin/sh", "-c", "exit 3"))
	noError(t, err)
	defer p.Close()
	if p.Wait() == nil {
		t.Fatal("it ended well")
	}
	for _, opts := range [][]OpenOption{nil, {Rejoin()}} {
		if _, err := p.Open(testContext(t), FromChild, opts...); !errors.Is(err, ErrWriterGone) {
			t.Fatal(err)
		}
	}
}
