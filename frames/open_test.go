// SPDX-License-Identifier: Apache-2.0

package frames_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
	"github.com/switchboard-ipc/switchboard/frames"
)

func via(t *testing.T) frames.Option {
	_, option := withBroker(t)
	return option
}

// withBroker runs a broker in a new folder.
func withBroker(t *testing.T) (string, frames.Option) {
	t.Helper()
	return withLimits(t, broker.Limits{})
}

func withLimits(t *testing.T, limits broker.Limits) (string, frames.Option) {
	t.Helper()
	dir, _ := brokertest.Start(t, broker.Config{Limits: limits})
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	t.Cleanup(func() { client.Close() })
	return dir, frames.Via(client)
}

// TestQuota: the broker counts channels as it counts names, and a writer counts its readers; both say "try again".
func TestQuota(t *testing.T) {
	_, via := withLimits(t, broker.Limits{NamesPerSession: 2})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	create := func(name string) (*frames.Writer, error) {
		return frames.Create(ctx, name, frames.Bytes(10), via, frames.MaxReaders(1))
	}
	var writers []*frames.Writer
	for _, name := range []string{"com.example.a", "com.example.b"} {
		w, err := create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		writers = append(writers, w)
	}
	if _, err := create("com.example.c"); !errors.Is(err, switchboard.ErrTryAgain) {
		t.Errorf("a third channel, of 2: %v", err)
	}
	writers[1].Close()
	w, err := create("com.example.c")
	if err != nil {
		t.Fatalf("one was given back, and: %v", err)
	}
	w.Close()
	r, err := frames.Open(ctx, "com.example.a", via)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var refused *frames.RefusedError
	_, err = frames.Open(ctx, "com.example.a", via)
	if !errors.As(err, &refused) || !errors.Is(err, switchboard.ErrTryAgain) || switchboard.ExitCode(err) != 75 {
		t.Errorf("a second reader, of 1: %v", err)
	}
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
