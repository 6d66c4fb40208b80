// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// pumpAfter is how long nobody must have been reading until the pump does.
const pumpAfter = 50 * time.Millisecond

// pump reads while nobody else does, so that hand-overs are acknowledged and the end of the broker is noticed. It is a goroutine that
// a timer starts, and that ends as soon as callers are active again: they read faster for themselves.
type pump struct {
	armed atomic.Bool // the timer runs

	timerMu sync.Mutex // guards what follows
	timer   *time.Timer
	stopped bool

	seen atomic.Uint64 // turns of callers, when the timer was armed or fired
}

// arm starts the timer unless it runs.
func (s *clientSession) arm(d time.Duration) {
	if s.armed.Load() || !s.armed.CompareAndSwap(false, true) {
		return
	}
	s.seen.Store(s.turns.Load())
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	switch {
	case s.stopped:
	case s.timer == nil:
		s.timer = time.AfterFunc(d, s.idle)
	default:
		s.timer.Reset(d)
	}
}

func (s *clientSession) stopPump() {
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// idle is called by the timer.
func (s *clientSession) idle() {
	if !s.client.enter() {
		return
	}
	defer s.client.work.Done()
	s.armed.Store(false) // from here on, whoever gives the role back arms it anew
	if !s.interested() {
		return
	}
	if s.turns.Load() != s.seen.Load() {
		s.arm(pumpAfter) // somebody was reading meanwhile
		return
	}
	select {
	case <-s.role:
	default:
		return
	}
	s.served = false
	err := s.hold(s.client.ctx, nil, func() bool { return s.served || !s.interested() }, waiting)
	pause := pumpAfter
	if errors.Is(err, errLater) {
		pause = max(pause, time.Until(s.nextTry))
	}
	if s.interested() {
		s.arm(pause)
	}
	s.leave()
}
