// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// yieldAfter is after how many sleeps on the futex a goroutine goes through Go's scheduler. One that never does, since it only makes short system
// calls, is taken for one that does not let others run: every 10 ms the runtime's monitor takes its processor away while it sleeps, and then
// looks every 20 µs for a while, at the cost of whoever runs there.
const yieldAfter = 256

// wait waits until the bell has another value than the one that was loaded, or something else happened that Next should see
// (docs/frames.md, section 5).
//
// It waits by the eventfd also unasked when frames come seldom: a goroutine that is away in a system call for long has its processor taken from it by the
// runtime's monitor, which is woken for that by each frame. So it takes two thirds of the processor time less, and the microseconds that it takes
// longer are few beside those of a processor that wakes up.
func (r *Reader) wait(ctx context.Context, l *line, v *view, bell uint32) {
	r.stock() // now, when there is time
	if r.spin.try(v.bell, bell) {
		return
	}
	s := &r.sleep
	s.watch(ctx)
	e := l.event
	if !r.options.byEvent && (!r.seldom || e.useless) {
		e = nil
	}
	if !s.begin(v.bell, e) {
		return
	}
	defer s.end()
	if e != nil {
		v.words.asleep.Store(wantsEvent) // this store is the fence too
		r.at("wait.asleep")
		e.park(s, v.bell, bell)
	} else {
		sys.Release32(v.words.asleep, onFutex) // the call has a fence, before it compares
		r.at("wait.asleep")
		sys.FutexWait(v.bell, bell, 0)
		if r.sleeps++; r.sleeps%yieldAfter == 0 {
			runtime.Gosched()
		}
	}
	r.at("wait.woken")
	sys.Release32(v.words.asleep, 0)
}

// gate lets one goroutine in at a time. It takes one exchange, where a mutex takes two. Who finds it taken looks again and again:
// that is Close, which has told Next to come out.
type gate struct{ taken atomic.Uint32 }

func (g *gate) enter() {
	for pause := time.Microsecond; !g.taken.CompareAndSwap(0, 1); pause = min(2*pause, time.Millisecond) {
		time.Sleep(pause)
	}
}

func (g *gate) leave() { sys.Release32(&g.taken, 0) }

// spinner looks at the bell for a bounded time, and for less of it when that was in vain before.
type spinner struct {
	most, now time.Duration
	skipped   int
}

// spinAgain is after how many sleeps without spinning it is tried again.
const spinAgain = 16

func (s *spinner) try(bell *atomic.Uint32, value uint32) bool {
	if s.most <= 0 {
		return false
	}
	if s.now == 0 {
		if s.skipped++; s.skipped < spinAgain && s.skipped > 1 {
			return false
		}
		s.now, s.skipped = s.most, 1
	}
	for start := (time.Time{}); ; {
		for range 1024 {
			if bell.Load() != value {
				s.now = min(s.most, s.now*2)
				return true
			}
		}
		if start.IsZero() { // only now: a look at the clock takes as long as many at the bell
			start = time.Now()
		} else if time.Since(start) >= s.now {
			if s.now /= 2; s.now < s.most/8 {
				s.now = 0
			}
			return false
		}
	}
}

// sleeper lets others interrupt who sleeps on a futex that only the writer changes: they wake it again and again until it is awake.
type sleeper struct {
	kicked atomic.Bool   // something happened that Next has not looked at
	asleep atomic.Uint32 // 1 while in begin to end
	word   atomic.Pointer[atomic.Uint32]
	event  atomic.Pointer[event] // nil: it sleeps on word

	// Of Next: the context whose end is a kick.
	done <-chan struct{}
	stop func() bool
}

// begin is called before sleeping; false: do not, something has happened.
func (s *sleeper) begin(word *atomic.Uint32, e *event) bool {
	if s.word.Load() != word {
		s.word.Store(word)
	}
	if s.event.Load() != e {
		s.event.Store(e)
	}
	s.asleep.Store(1) // a fence, too: either this sees kicked, or kick sees this
	if !s.kicked.Load() {
		return true
	}
	s.kicked.Store(false)
	s.asleep.Store(0)
	return false
}

func (s *sleeper) end() { sys.Release32(&s.asleep, 0) }

// kick makes the sleeper look, whether it sleeps or is about to. The one who is about to finds kicked, or is found asleep; between
// that and its system call it cannot be woken, so this is done until it is awake. A futex that is mapped no more is no harm: the
// call fails.
func (s *sleeper) kick() {
	s.kicked.Store(true)
	for pause := 10 * time.Microsecond; s.asleep.Load() != 0 && s.kicked.Load(); pause = min(2*pause, time.Millisecond) {
		if e := s.event.Load(); e != nil {
			e.signal() // park looks at kicked before it waits, so this cannot be missed
			return
		}
		sys.FutexWake(s.word.Load())
		time.Sleep(pause)
	}
}

// watch makes the end of ctx a kick, until it is called with another one: most programs use one context again and again.
func (s *sleeper) watch(ctx context.Context) {
	done := ctx.Done()
	if done == s.done {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.done, s.stop = done, nil
	if done != nil {
		s.stop = context.AfterFunc(ctx, s.kick)
	}
}

// event is a reader's eventfd, in Go's poller. That hears of each write to it, whether what was written before has been read or not
// (EPOLLET), so nobody ever reads it: two system calls less for each frame.
type event struct {
	file *os.File
	raw  syscall.RawConn

	// Of park: that nobody can wait for what came as an eventfd; what it was told, and whether it has looked already.
	useless bool
	s       *sleeper
	bell    *atomic.Uint32
	value   uint32
	looked  bool
	done    func(fd uintptr) bool // changed, made once: a method value for each call would be garbage
}

func newEvent(fd int) (*event, error) {
	file := os.NewFile(uintptr(fd), "frames")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	e := &event{file: file, raw: raw}
	e.done = e.changed
	return e, nil
}

func (e *event) signal() { _ = e.raw.Control(func(fd uintptr) { sys.SignalEvent(int(fd)) }) }

// park waits until it is written, unless the bell has another value already or the sleeper was kicked.
func (e *event) park(s *sleeper, bell *atomic.Uint32, value uint32) {
	e.s, e.bell, e.value, e.looked = s, bell, value, false
	e.useless = e.raw.Read(e.done) != nil
}

// changed is called once the poller has forgotten the writes until now, and again after another. What it forgot was written behind what this
// looks at: so none is missed.
func (e *event) changed(uintptr) bool {
	if e.looked {
		return true
	}
	e.looked = true
	return e.bell.Load() != e.value || e.s.kicked.Load()
}

func (e *event) close() {
	if e != nil {
		e.file.Close()
	}
}
