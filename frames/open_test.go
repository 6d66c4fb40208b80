// SPDX-License-Identifier: Apache-2.0

package frames_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/frames"
)

func via(t *testing.T) frames.Option {
	_, option := withBroker(t)
	return option
}

// withBroker runs a broker in a new folder.
func withBroker(t *testing.T) (string, frames.Option) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Config{RuntimeDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir, frames.Via(client)
}

func TestOverTheBroker(t *testing.T) {
	broker := via(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const name = "com.example.camera"
	if _, err := frames.Open(ctx, name, broker); !errors.Is(err, switchboard.ErrUnavailable) {
		t.Fatalf("nobody has it, and: %v", err)
	}
	format := frames.Format{FourCC: frames.RGBA, Width: 64, Height: 48}
	for range 2 {
		w, err := frames.Create(ctx, name, format, broker, frames.Slots(4))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := frames.Create(ctx, name, format, broker); !errors.Is(err, switchboard.ErrTryAgain) {
			t.Fatalf("a name that is taken: %v", err)
		}
		r, err := frames.Open(ctx, name, broker, frames.Every)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			l, err := w.Loan(ctx)
			if err != nil {
				t.Fatal(err)
			}
			l.Plane(0)[7] = byte(i)
			if err := l.Publish(); err != nil {
				t.Fatal(err)
			}
			f, err := r.Next(ctx)
			if err != nil || f.Plane(0)[7] != byte(i) || f.Sequence != uint64(i)+1 {
				t.Fatalf("frame %d: %v", i, err)
			}
			f.Release()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(ctx); err != io.EOF {
			t.Fatal(err)
		}
		r.Close()
	}
}

func TestRejoin(t *testing.T) {
	broker := via(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const name = "com.example.again"
	writer := func(value byte) *frames.Writer {
		w, err := frames.Create(ctx, name, frames.Bytes(1), broker)
		if err != nil {
			t.Error(err)
			return nil
		}
		l, err := w.Loan(ctx)
		if err != nil {
			t.Error(err)
			return w
		}
		l.Plane(0)[0] = value
		if err := l.Publish(); err != nil {
			t.Error(err)
		}
		return w
	}
	first := make(chan *frames.Writer, 1)
	time.AfterFunc(5*time.Millisecond, func() { first <- writer(1) })
	r, err := frames.Open(ctx, name, broker, frames.Rejoin(), frames.Last())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := <-first
	for value := byte(1); value < 5; value++ {
		f, err := r.Next(ctx)
		if err != nil || f.Plane(0)[0] != value || f.Flags&frames.Discontinuity != 0 != (value > 1) {
			t.Fatalf("frame %d: %+v, %v", value, f, err)
		}
		w.Close()
		w = writer(value + 1)
		f.Release()
	}
	w.Close()
}
