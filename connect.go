// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Pauses between attempts to find a broker that nobody waits for.
const (
	shortestWait = 10 * time.Millisecond
	longestWait  = time.Second
)

// errLater: no broker is to be had now, and nobody called for one. The next attempt is due at nextTry.
var errLater = errors.New("no broker is there yet")

// byeError is the broker's last word.
type byeError struct {
	code   session.Code
	reason string
}

func (e *byeError) Error() string { return "the broker said bye: " + e.reason }

// polite reports whether another broker may do what this one no longer does.
func (e *byeError) polite() bool { return e.code == session.OK || e.code == session.TryAgain }

// lose drops a connection that is over. Only the reader does.
func (s *clientSession) lose(w *wire, err error) {
	s.sending.Lock()
	s.wire = nil
	s.sending.Unlock()
	s.mu.Lock()
	s.current = nil
	s.failOutcomesLocked(&Error{Code: CodeTryAgain, Text: errBrokerGone.Error(), Err: errBrokerGone})
	s.mu.Unlock()
	w.close()
	close(w.lost)
	if s.client.ctx.Err() != nil {
		return
	}
	var bye *byeError
	if errors.As(err, &bye) {
		s.bye = true
		if !bye.polite() {
			s.failHeld(refusal(bye.code, bye.reason))
		}
	}
	if !errors.Is(err, io.EOF) {
		s.client.log.Info("session ended", "folder", s.client.dir, "err", err)
	}
}

// failHeld loses everything that is held, for a reason that another broker would not change.
func (s *clientSession) failHeld(err error) {
	s.mu.Lock()
	held, following := s.held, s.following
	s.held = nil
	clear(s.byLease)
	s.following = make(map[uint32]follower)
	s.mu.Unlock()
	for _, h := range held {
		h.lost(err)
	}
	for _, f := range following {
		f.lost(err)
	}
	s.failPending(err, true)
}

// connect makes the connection and restores on it what the session had. Only the reader does, while there is none.
func (s *clientSession) connect(ctx context.Context, m mode) error {
	if m == waiting && time.Now().Before(s.nextTry) {
		return errLater
	}
	final, err := s.reach(ctx, m)
	if err == nil {
		s.bye, s.pause, s.nextTry = false, 0, time.Time{}
		return nil
	}
	if ctx.Err() != nil || s.client.ctx.Err() != nil {
		return err
	}
	if m == unstarted {
		return err
	}
	if m == calling {
		if _, hasty := ctx.Deadline(); !hasty || !errors.Is(err, ErrTryAgain) {
			s.failPending(err, false) // others would not fare better
		}
		return err
	}
	if final {
		s.client.log.Warn("session lost", "folder", s.client.dir, "err", err)
		s.failHeld(during("go on with", s.client.dir, err))
		return err
	}
	if s.pause == 0 {
		s.client.log.Info("waiting for a broker", "folder", s.client.dir, "err", err)
	}
	s.pause = min(max(2*s.pause, shortestWait), longestWait)
	s.nextTry = time.Now().Add(s.pause)
	return errLater
}

// reach is connect without the consequences. final: another attempt would end the same way.
func (s *clientSession) reach(ctx context.Context, m mode) (final bool, err error) {
	c := s.client
	r := newRetry(ctx, c.patience)
	for started := false; ; {
		last := err
		if s.restoring == nil {
			s.restoring, err = s.open()
		}
		if s.restoring != nil {
			if final, err = s.restoreOn(ctx, s.restoring); err == nil {
				s.restoring = nil
				return false, nil
			}
			if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
				s.giveUp(s.restoring)
				s.restoring = nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return false, interrupted(ctx, last)
		case c.ctx.Err() != nil:
			return false, errClosed
		case final:
			return true, err
		case isAbsent(err) && c.door == nil:
			c.trusted.Store(false)
			if m == unstarted || m == waiting && s.bye {
				return false, c.absent(":")
			}
			if err := c.startBroker(ctx); err != nil {
				return false, err
			}
			if !started {
				started = true
				continue
			}
		case errors.Is(err, errSilent) && c.door != nil:
			return false, c.silent()
		case !isPassing(err):
			return c.door != nil || errors.Is(err, ErrNotAllowed), err
		}
		if !r.wait(ctx) {
			return false, gaveUp(ctx, err)
		}
	}
}

// open connects.
func (s *clientSession) open() (*restore, error) {
	c := s.client
	var fd *sys.FD
	err := c.trust()
	switch {
	case c.door != nil:
		fd, err = c.door.connect(sys.Seqpacket, false)
	case err == nil:
		fd, err = sys.Connect(c.sessionPath, sys.Seqpacket, false)
	}
	if err != nil {
		return nil, err
	}
	w, err := newWire(fd, s.putFirst, c.run)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.current = w
	closed := s.closed
	s.mu.Unlock()
	if closed { // its closer has not seen this one
		w.close()
		return nil, errClosed
	}
	return &restore{wire: w}, nil
}
