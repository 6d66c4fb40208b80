// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	s.mu.Unlock()
	w.close()
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
	held, watches := s.held, s.watches
	s.held = nil
	clear(s.byLease)
	s.watches = make(map[uint32]*Watcher)
	s.mu.Unlock()
	for _, h := range held {
		h.lost(err)
	}
	for _, w := range watches {
		w.lost(err)
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
	var r retry
	for {
		var w *wire
		if w, err = s.open(); err == nil {
			if final, err = s.greet(ctx, w); err == nil {
				return false, nil
			}
			s.mu.Lock()
			s.current = nil
			s.mu.Unlock()
			w.close()
		}
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case c.ctx.Err() != nil:
			return false, errClosed
		case final:
			return true, err
		case isAbsent(err) && c.door == nil:
			c.trusted.Store(false)
			if m == unstarted || m == waiting && s.bye {
				return false, c.absent("")
			}
			if err := c.startBroker(ctx); err != nil {
				return false, err
			}
		case !isPassing(err):
			return c.door != nil || errors.Is(err, ErrNotAllowed), err
		}
		if !r.wait(ctx) {
			return false, &Error{Code: CodeTryAgain, Err: err, Text: fmt.Sprintf("%v; attempts to reach the broker have ended", err)}
		}
	}
}

func (s *clientSession) open() (*wire, error) {
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
	return newWire(fd, s.putFirst, c.run)
}

// greet introduces the session on a new connection, obtains again what it held, and only then lets other
// calls use it.
func (s *clientSession) greet(ctx context.Context, w *wire) (final bool, err error) {
	s.mu.Lock()
	closed := s.closed
	s.current = w
	s.mu.Unlock()
	if closed {
		return false, errClosed
	}
	hello, err := s.hello(ctx, w)
	if err != nil {
		var refused *Error
		return errors.As(err, &refused), err
	}
	restarted := hello.Broker != s.broker && s.broker != [16]byte{}
	s.broker = hello.Broker
	s.resume(hello)
	if !hello.Resumed {
		if err := s.obtainAgain(ctx, w); err != nil {
			return false, err
		}
	}
	s.watchAgain(w, restarted)

	s.sending.Lock()
	s.wire = w
	for _, cl := range s.waitingCalls(false) {
		if cl.sent != w {
			s.put(w, cl)
		}
	}
	s.sending.Unlock()
	s.orphansLater()
	return false, nil
}

func (s *clientSession) hello(ctx context.Context, w *wire) (session.HelloReply, error) {
	var reply session.HelloReply
	cl := newCall(session.OpHello, s.helloPayload)
	cl.apply = func(payload []byte, _ *sys.Buffer) (err error) {
		if reply, err = session.ParseHelloReply(payload); err == nil && reply.Code != session.OK {
			err = refusal(reply.Code, reply.Text)
		}
		return err
	}
	err := s.exchange(ctx, w, cl)
	var bye *byeError
	if errors.As(err, &bye) {
		err = errHungUp
		if !bye.polite() {
			err = refusal(bye.code, bye.reason)
		}
	}
	return reply, err
}

// resume settles the sequence. A request that was under way is asked again, by its old number if this continues the
// session: if it was applied, the broker repeats the answer.
func (s *clientSession) resume(hello session.HelloReply) {
	s.sending.Lock()
	s.sequence = hello.Sequence
	var done []*call
	for _, cl := range s.waitingCalls(!hello.Resumed) {
		switch {
		case hello.Resumed:
			s.sequence = max(s.sequence, cl.sequence)
		case cl.void():
			done = append(done, cl)
		default:
			cl.sequence = 0
		}
	}
	s.sending.Unlock()
	for _, cl := range done {
		if s.take(cl.id) != nil {
			s.finish(cl, errNotConnected)
		}
	}
}

// waitingCalls returns the calls without a reply. With afresh, what is bound to the session so far means nothing from now on.
func (s *clientSession) waitingCalls(afresh bool) []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if afresh {
		s.epoch++
		s.orphans = nil
		clear(s.byLease)
	}
	all := make([]*call, 0, len(s.pending))
	for _, cl := range s.pending {
		all = append(all, cl)
	}
	return all
}

// exchange sends a call on a connection that is not yet everybody's, and reads until its reply.
func (s *clientSession) exchange(ctx context.Context, w *wire, cl *call) error {
	if err := s.begin(cl); err != nil {
		return err
	}
	until := time.Now().Add(patience)
	_ = w.file.SetReadDeadline(until)
	first := cl
	for !cl.finished() {
		b, n, err := w.receive(first)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err = ctx.Err(); err == nil && !time.Now().Before(until) {
				err = errHungUp
			}
			_ = w.file.SetReadDeadline(until)
		case errors.Is(err, io.EOF):
			err = errHungUp
		case err == nil:
			err = s.dispatch(w, b, n)
		}
		if err != nil {
			s.take(cl.id)
			return err
		}
		first = nil
	}
	w.rest()
	<-cl.done
	return cl.err
}

// obtainAgain asks a broker that does not know the session for what it held. What somebody else has meanwhile is lost.
func (s *clientSession) obtainAgain(ctx context.Context, w *wire) error {
	s.mu.Lock()
	held := append([]holding(nil), s.held...)
	s.mu.Unlock()
	for _, h := range held {
		cl := s.obtainCall(h, true)
		err := s.exchange(ctx, w, cl)
		var refused *Error
		switch {
		case err == nil, errors.Is(err, errUnwanted):
		case errors.As(err, &refused):
			s.client.log.Warn("not obtained again", "folder", s.client.dir, "err", err)
			s.drop(h) // it has no lease
			h.lost(err)
		default:
			return err
		}
	}
	return nil
}
