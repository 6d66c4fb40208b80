// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// BenchmarkRoundTrip sends a frame to another goroutine, and one back: two wake-ups.
func BenchmarkRoundTrip(b *testing.B) {
	for name, opts := range map[string][]OpenOption{"sleeping": {Spin(0)}, "event": {Spin(0), ByEvent()}, "spinning": {Spin(time.Millisecond)}} {
		for _, size := range []int{64, 33177600} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				there, back := newWriter(b, Bytes(size)), newWriter(b, Bytes(size))
				opts := append(opts, Latest)
				in, out := attach(b, there, opts...), attach(b, back, opts...)
				ctx := context.Background()
				send := func(w *Writer, n byte) {
					l, err := w.Loan(ctx)
					if err != nil {
						b.Error(err)
						return
					}
					l.Plane(0)[0] = n
					_ = l.Publish()
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					for {
						f, err := in.Next(ctx)
						if err != nil {
							return
						}
						n := f.Plane(0)[0]
						f.Release()
						send(back, n)
					}
				}()
				for b.Loop() {
					send(there, 1)
					f, err := out.Next(ctx)
					if err != nil {
						b.Fatal(err)
					}
					f.Release()
				}
				there.Close()
				<-done
			})
		}
	}
}

// BenchmarkFutex is the same with nothing but two words in memory.
func BenchmarkFutex(b *testing.B) {
	var there, back atomic.Uint32
	wait := func(w *atomic.Uint32, n uint32) {
		for w.Load() == n {
			sys.FutexWait(w, n, 0)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := uint32(0); ; n++ {
			if wait(&there, n); there.Load() == ^uint32(0) {
				return
			}
			back.Add(1)
			sys.FutexWake(&back)
		}
	}()
	for n := uint32(0); b.Loop(); n++ {
		there.Add(1)
		sys.FutexWake(&there)
		wait(&back, n)
	}
	there.Store(^uint32(0))
	sys.FutexWake(&there)
	<-done
}

// BenchmarkPublishNext is the work of both sides, without a wake-up.
func BenchmarkPublishNext(b *testing.B) {
	w := newWriter(b, Bytes(64))
	r := attach(b, w)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, err := w.Loan(ctx)
		if err != nil {
			b.Fatal(err)
		}
		_ = l.Publish()
		f, err := r.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		f.Release()
	}
}
