// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// restore is the way from a new connection to one that everybody may use: introduce the session, obtain again what it
// held. A reader whose context ends on the way leaves the rest to the next one: a second connection of the same
// session, while the broker still knows the first, would be taken for its continuation.
type restore struct {
	wire    *wire
	call    *call // under way, or nil
	hello   session.HelloReply
	greeted bool
	held    []holding // still to be obtained
}

// restoreOn goes on with a restore until it is done.
func (s *clientSession) restoreOn(ctx context.Context, r *restore) (final bool, err error) {
	if !r.greeted {
		if err := s.greet(ctx, r); err != nil {
			var refused *Error
			return errors.As(err, &refused), err
		}
	}
	if err := s.obtainAgain(ctx, r); err != nil {
		return false, err
	}
	restarted := r.hello.Broker != s.broker && s.broker != [16]byte{}
	s.broker = r.hello.Broker
	s.followAgain(r.wire, restarted)

	s.sending.Lock()
	s.wire = r.wire
	for _, cl := range s.waitingCalls(false) {
		if cl.sent != r.wire {
			s.put(r.wire, cl)
		}
	}
	s.sending.Unlock()
	s.orphansLater()
	return false, nil
}

// holds reports whether the session holds something, and the epoch.
func (s *clientSession) holds() (epoch uint64, holds bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch, len(s.held) > 0
}

// settle makes sure, with a question that does not matter, that a lost session is restored. It returns the epoch after that.
func (s *clientSession) settle(ctx context.Context, name string) uint64 {
	cl := newCall(session.OpLookUp, session.LookUp{Name: name}.Append)
	cl.apply = ignoreReply
	_ = s.do(ctx, cl)
	epoch, _ := s.holds()
	return epoch
}

// greet introduces the session.
func (s *clientSession) greet(ctx context.Context, r *restore) error {
	if r.call == nil {
		r.call = newCall(session.OpHello, s.helloPayload)
		r.call.apply = func(payload []byte, _ *sys.Buffer) (err error) {
			if r.hello, err = session.ParseHelloReply(payload); err == nil && r.hello.Code != session.OK {
				err = refusal(r.hello.Code, r.hello.Text)
			}
			return err
		}
	}
	err := s.exchange(ctx, r)
	var bye *byeError
	switch {
	case err == nil:
	case errors.As(err, &bye) && bye.polite():
		return errHungUp
	case errors.As(err, &bye):
		return refusal(bye.code, bye.reason)
	default:
		return err
	}
	r.greeted = true
	s.resume(r.hello)
	if !r.hello.Resumed {
		s.mu.Lock()
		r.held = slices.Clone(s.held)
		s.mu.Unlock()
	}
	return nil
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

// exchange sends the call that is under way, on a connection that is not yet everybody's, and reads until its reply.
func (s *clientSession) exchange(ctx context.Context, r *restore) error {
	w, cl := r.wire, r.call
	first := cl
	if cl.sent == w {
		first = nil
	} else if err := s.begin(cl); err != nil {
		return err
	}
	until := time.Now().Add(s.client.patience)
	_ = w.file.SetReadDeadline(until)
	for !cl.finished() {
		b, n, err := w.receive(first)
		switch {
		case err == nil:
			err = s.dispatch(w, b, n)
		case errors.Is(err, io.EOF):
			err = errHungUp
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until):
			_ = w.file.SetReadDeadline(until) // and now look who woke us
			err = ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = errSilent
		}
		if err != nil {
			return err
		}
		if cl.sent == w {
			first = nil
		}
	}
	w.rest()
	<-cl.done
	r.call = nil
	return cl.err
}

// giveUp drops a restore that failed.
func (s *clientSession) giveUp(r *restore) {
	if r.call != nil {
		s.take(r.call.id)
		r.call.release()
		if !r.greeted {
			// The broker may read this HELLO yet, and must not take the next connection for its continuation.
			s.id = newID()
		}
	}
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	r.wire.close()
}

// obtainAgain asks a broker that does not know the session for what it held. What somebody else has meanwhile is lost.
func (s *clientSession) obtainAgain(ctx context.Context, r *restore) error {
	for len(r.held) > 0 {
		h := r.held[0]
		var err error
		if r.call == nil {
			r.call, err = s.callAgain(h)
		}
		if err == nil {
			err = s.exchange(ctx, r)
		}
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
		r.held = r.held[1:]
	}
	return nil
}

// callAgain makes the call that obtains h again. Whose holding it is may give it up at any moment: errUnwanted says that he has, and a
// descriptor is the call's own.
func (s *clientSession) callAgain(h holding) (*call, error) {
	s.mu.Lock()
	wanted := slices.Contains(s.held, h)
	s.mu.Unlock()
	if !wanted {
		return nil, errUnwanted
	}
	cl := s.obtainCall(h, true)
	if d, ok := h.(*heldDoor); ok {
		end, err := d.duplicate()
		if err != nil {
			return nil, err
		}
		cl.fd, cl.own = end, true
	}
	return cl, nil
}
