// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// TestMadReader has readers fill all of their words with noise. The writer goes on, and a reader that is well gets every frame.
func TestMadReader(t *testing.T) {
	w := newWriter(t, small, Slots(3), Patience(2*time.Millisecond))
	var mad []*Reader
	for _, mode := range []Mode{Latest, Every, Lossless} {
		mad = append(mad, attach(t, w, mode), attach(t, w, mode, ByEvent()))
	}
	well := attach(t, w, Every)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		for _, r := range mad {
			b := r.view.words.memory.Bytes()
			switch i % 3 {
			case 0:
				for j := 0; j < wordsSize; j += 4 {
					r.view.words.memory.Word32(j).Store(random.Uint32())
				}
			case 1:
				clear(b)
			case 2: // plausible holds
				for j := range maxHolds {
					r.view.words.memory.Word32(atHold + 4*j).Store(random.Uint32N(uint32(r.view.slots) + 2))
				}
			}
		}
		publish(t, w, i)
		f := next(t, well)
		if f.Sequence != uint64(i)+1 {
			t.Fatalf("the reader that is well got %d, not %d", f.Sequence, i+1)
		}
		f.Release()
	}
	w.Stats()
}

// TestMadCursor: a lossless reader whose cursor goes up and down, while the writer waits for it, makes no progress, and is evicted.
func TestMadCursor(t *testing.T) {
	w := newWriter(t, small, Slots(2), MaxReaders(1), Holds(1), Patience(20*time.Millisecond))
	r := attach(t, w, Lossless)
	const before = 1000
	for i := range before {
		publish(t, w, i)
		next(t, r).Release()
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for cursor := uint64(0); ; cursor += 7 {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				r.view.words.cursor.Store(cursor % before)
			}
		}
	}()
	for i := range 5 {
		publish(t, w, i)
	}
	close(stop)
	<-done
	if n := w.Stats().Evicted; n != 1 {
		t.Errorf("%d readers were evicted", n)
	}
}

// TestFullEvent: a reader that has writes to its eventfd wait does not hold the writer up.
func TestFullEvent(t *testing.T) {
	w := newWriter(t, small)
	r := attach(t, w, ByEvent())
	noError(t, r.line.event.raw.Control(func(fd uintptr) {
		noError(t, sys.SetNonblock(int(fd), false))
		_, err := syscall.Write(int(fd), binary.NativeEndian.AppendUint64(nil, ^uint64(0)-1))
		noError(t, err)
	}))
	r.view.words.asleep.Store(wantsEvent)
	publish(t, w, 1)
	publish(t, w, 2)
	noError(t, r.Close())
}

// TestWordsCannotShrink: a writer that touches the words of a reader must not be killed by it.
func TestWordsCannotShrink(t *testing.T) {
	own, err := newWords(2)
	noError(t, err)
	defer own.unmap()
	if err := sys.Seal(own.fd.Int(), sys.SealFutureWrite); err == nil {
		t.Fatal("a reader can change the seals of its words")
	}
	p, err := NewWriter(small)
	noError(t, err)
	defer p.Close()
	if m, err := sys.MapMemory(p.pool.fd.Int(), true, 0, 0, maxPool); err == nil {
		m.Unmap()
		t.Fatal("somebody else can write pixels")
	}
	plain, err := sys.NewMemory("plain", 8192)
	noError(t, err)
	defer plain.Close()
	if _, err := sys.MapMemory(plain.Int(), false, sys.SealShrink, 0, maxPool); err == nil {
		t.Fatal("a pool that can shrink was mapped")
	}
}

// TestStrangers: what does not say HELLO as it must is thrown out, and the writer goes on.
func TestStrangers(t *testing.T) {
	w := newWriter(t, small)
	good := appendHeader(nil, helloKind, 16, 0)
	for name, sent := range map[string][]byte{
		"nothing": nil, "garbage": []byte("GET / HTTP/1.1\r\n\r\n"), "short": good[:10],
		"version": append(append(append([]byte(nil), good[:7]...), 9), make([]byte, 24)...),
		"mode":    append(append([]byte(nil), good...), make([]byte, 16)...),
		"long":    order.AppendUint32(nil, 1<<31),
	} {
		for _, kind := range []sys.SocketType{sys.Stream, sys.Seqpacket} {
			a, b := pair(t, kind)
			noError(t, w.Serve(a))
			if sent != nil {
				_, err := b.Write(sent)
				noError(t, err)
			}
			noError(t, b.CloseWrite())
			_ = b.SetReadDeadline(time.Now().Add(deadline))
			var got [256]byte
			for {
				n, err := b.Read(got[:])
				if n == 0 || err != nil {
					var ne net.Error
					if errors.As(err, &ne) && ne.Timeout() {
						t.Errorf("%s: it is not thrown out", name)
					}
					break
				}
			}
			b.Close()
		}
	}
	r := attach(t, w)
	publish(t, w, 1)
	next(t, r).Release()
}

// TestHeaderFromAnywhere: whatever a pool's header says, reading it neither fails badly nor believes too much.
func FuzzShape(f *testing.F) {
	for _, format := range []Format{small, {FourCC: I420, Width: 5, Height: 7}, {Type: Float32, Shape: []int{2, 3}}} {
		complete, err := format.complete()
		noError(f, err)
		s, err := newShape(complete, 4, 8)
		noError(f, err)
		s.epoch = 1
		b := make([]byte, headerSize)
		s.put(b)
		f.Add(b, s.size)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		s, err := parseShape(b, size)
		if err != nil {
			return
		}
		if s.slotsAt+s.slots*s.slotSize > size || s.logAt+8*s.entries > size || s.tableAt+entrySize*s.slots > size {
			t.Fatalf("%+v in %d bytes", s, size)
		}
		for _, p := range s.format.Planes {
			if p.Offset+p.Size > s.slotSize || p.Stride*p.Rows > p.Size {
				t.Fatalf("%+v in %d bytes", p, s.slotSize)
			}
		}
		again := make([]byte, headerSize)
		s.put(again)
		if got, err := parseShape(again, size); err != nil || !got.format.Equal(s.format) {
			t.Fatalf("%+v was read again as %+v, %v", s, got, err)
		}
	})
}

// TestTornFrames: readers that never stop to look, in two goroutines, while the writer uses two slots again and again.
func TestTornFrames(t *testing.T) {
	w := newWriter(t, small, Slots(2))
	var seen atomic.Int64
	done := make(chan struct{})
	for _, mode := range []Mode{Latest, Every} {
		r := attach(t, w, mode)
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				f, err := r.Next(testContext(t))
				if err != nil {
					return
				}
				if err := check(f); err != nil {
					t.Error(err)
				}
				f.Release()
				seen.Add(1)
			}
		}()
	}
	for i := 0; i < 2000 || seen.Load() < 200; i++ {
		publish(t, w, i)
	}
	noError(t, w.Close())
	<-done
	<-done
}
