// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"os"
	"time"
)

// reader is what only who holds the role touches.
type reader struct {
	attended  <-chan struct{} // of the context whose end wakes the reader
	forget    func() bool     // ends that
	lastly    <-chan struct{} // of the context before
	restoring *restore        // a connection that is not yet everybody's, or nil
	bye       bool            // the broker ended politely: none is started in its place unless a call wants one
	broker    [16]byte        // the one we are, or were, connected to
	pause     time.Duration   // between attempts to connect that nobody waits for
	nextTry   time.Time
	served    bool // a reply for another goroutine was read
}

// How a broker that does not run is missed.
type mode int

const (
	waiting   mode = iota // nobody called: start one only if the last one crashed
	calling               // a call of the program's: start one
	unstarted             // a call that is not worth a broker
)

// hold reads as the holder of the role until done returns true; then the error is nil. first, if not nil, is sent on the way.
func (s *clientSession) hold(ctx context.Context, first *call, done func() bool, m mode) error {
	s.attend(ctx)
	_, bounded := ctx.Deadline()
	for !done() {
		w := s.wire
		var until time.Time
		if w != nil && first != nil && !bounded {
			until = s.due(first)
			_ = w.file.SetReadDeadline(until) // and now look who woke us
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.client.ctx.Err() != nil {
			return errClosed
		}
		if w == nil {
			if first != nil && first.void() {
				return errNotConnected
			}
			if err := s.connect(ctx, m); err != nil {
				return err
			}
			continue
		}
		if !until.IsZero() && !time.Now().Before(until) {
			return s.client.silent()
		}
		send := first
		if first != nil && first.sent == w {
			send = nil
		}
		if err := s.step(w, send); err != nil {
			s.lose(w, err)
		}
	}
	return nil
}

// step waits for one packet and dispatches it. An error means that the connection is over.
func (s *clientSession) step(w *wire, first *call) error {
	b, n, err := w.receive(first)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.rest() // who woke us had a reason, at which the caller looks
		return nil
	}
	if err != nil {
		return err
	}
	return s.dispatch(w, b, n)
}

// await waits until ready holds a token, or done is true for who reads meanwhile. Who calls it looks, and calls it again.
func (s *clientSession) await(ctx context.Context, ready <-chan struct{}, done func() bool) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.role:
	}
	s.turns.Add(1)
	err := s.hold(ctx, nil, done, waiting)
	next := s.nextTry
	s.leave()
	if !errors.Is(err, errLater) {
		return err
	}
	t := time.NewTimer(time.Until(next))
	defer t.Stop()
	select {
	case <-ready:
	case <-ctx.Done():
	case <-t.C:
	}
	return nil
}

// leave gives the role to the next.
func (s *clientSession) leave() {
	if s.forget != nil && s.attended != s.lastly {
		// Contexts mostly live as long as one call. One that came twice is kept.
		s.lastly = s.attended
		s.forget()
		s.forget, s.attended = nil, nil
	}
	s.role <- struct{}{}
	if s.interested() {
		s.arm(pumpAfter)
	}
}

// attend makes the end of ctx wake the reader.
func (s *clientSession) attend(ctx context.Context) {
	done := ctx.Done()
	if done == nil || done == s.attended {
		return
	}
	if s.forget != nil {
		s.forget()
	}
	s.attended, s.forget = done, context.AfterFunc(ctx, s.wake)
}

// wake makes the reader look again at what it waits for.
func (s *clientSession) wake() {
	s.mu.Lock()
	w := s.current
	s.mu.Unlock()
	if w != nil {
		w.wake()
	}
}
