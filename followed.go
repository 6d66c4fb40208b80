// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"maps"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// followed is what a Watcher and a Tracer have in common: the broker tells of something under the id of the request that began it.
type followed struct {
	pattern string
	session *clientSession
	ctx     context.Context // ends with it; the cause is why
	cancel  context.CancelCauseFunc
	ready   chan struct{} // holds a token if Next should look

	mu     sync.Mutex // guards what follows, and the rest of who embeds this
	id     uint32     // 0: the broker tells nothing
	asked  bool       // it is asked to
	closed bool       // by Close: nothing is told any more
}

// follower is a *Watcher or a *Tracer.
type follower interface {
	common() *followed
	// renewal makes the call that begins it anew; restarted: at another broker.
	renewal(restarted bool) *call
	// lost says that it is gone.
	lost(err error)
}

func (f *followed) common() *followed { return f }

func (f *followed) init(c *Client, pattern string) {
	f.pattern, f.session, f.ready = pattern, c.session, make(chan struct{}, 1)
	f.ctx, f.cancel = context.WithCancelCause(c.ctx)
}

func (f *followed) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// followCall makes the request that begins it, or begins it anew. Its id is the one that the broker tells under.
func (s *clientSession) followCall(of follower, op session.Op, build func([]byte) []byte) *call {
	cl := newCall(op, build)
	cl.apply = func(payload []byte, _ *sys.Buffer) error {
		m, err := session.ParseReply(payload)
		switch {
		case err != nil:
			return err
		case m.Code != session.OK:
			return refusal(m.Code, m.Text)
		}
		s.follow(cl.id, of)
		return nil
	}
	return cl
}

// follow enters what the broker tells under an id into the books.
func (s *clientSession) follow(id uint32, of follower) {
	f := of.common()
	s.mu.Lock()
	closed := s.closed || f.ctx.Err() != nil
	if !closed {
		s.following[id] = of
	}
	s.mu.Unlock()
	if closed {
		s.unfollowID(id)
		return
	}
	f.mu.Lock()
	f.id, f.asked = id, false
	f.mu.Unlock()
	if f.ctx.Err() != nil { // meanwhile, before there was an id to end it by
		s.unfollow(of)
	}
}

// unfollow ends it at the broker, without waiting for its word.
func (s *clientSession) unfollow(of follower) {
	f := of.common()
	f.mu.Lock()
	id := f.id
	f.id = 0
	f.mu.Unlock()
	s.mu.Lock()
	known := id != 0 && s.following[id] == of
	if known {
		delete(s.following, id)
	}
	s.mu.Unlock()
	if known {
		s.unfollowID(id)
	}
}

func (s *clientSession) unfollowID(id uint32) {
	cl := newCall(session.OpUnwatch, session.Unwatch{Watch: id}.Append)
	cl.bound, cl.apply = true, ignoreReply
	s.post(cl)
}

// post sends a request and leaves its reply to whoever reads it.
func (s *clientSession) post(cl *call) {
	if s.begin(cl) == nil {
		s.transmit(cl)
	}
}

// follower returns who is told under an id, or nil.
func (s *clientSession) follower(id uint32) follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.following[id]
}

// followAgain begins everything anew on a new connection. The reader calls it.
func (s *clientSession) followAgain(wire *wire, restarted bool) {
	s.mu.Lock()
	following := maps.Clone(s.following)
	s.mu.Unlock()
	for id, of := range following {
		s.followAnew(wire, id, of, restarted)
	}
}

// followAnew begins anew what the broker ended, on the same connection or another. The reader calls it.
func (s *clientSession) followAnew(wire *wire, id uint32, of follower, restarted bool) {
	s.mu.Lock()
	delete(s.following, id)
	s.mu.Unlock()
	if cl := of.renewal(restarted); s.begin(cl) == nil {
		s.putFirst(wire, cl)
	}
}
