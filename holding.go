// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// releaseTimeout bounds the wait for the broker's word that a lease is given back.
const releaseTimeout = 2 * time.Second

// errUnwanted: what was obtained was given up meanwhile.
var errUnwanted = errors.New("given up meanwhile")

// obtain asks the broker for something that the session holds from then on.
func (s *clientSession) obtain(ctx context.Context, h holding) error {
	if err := s.giveBack(ctx); err != nil { // it may be the same name
		h.lost(err)
		return err
	}
	cl := s.obtainCall(h, false)
	cl.locked = true
	cl.lost = h.lost // also when nobody waits any more: until then the call needs what h has
	return s.do(ctx, cl)
}

// obtainCall makes the call that obtains h, or obtains it again. The reader enters h into the books when it reads the
// reply: a hand-over may come right behind it.
func (s *clientSession) obtainCall(h holding, again bool) *call {
	cl := h.request()
	cl.changes = true
	cl.apply = func(payload []byte, b *sys.Buffer) error {
		lease, err := h.granted(payload, b)
		if err != nil {
			if lease != 0 {
				s.orphan(lease)
			}
			return err
		}
		if !s.enter(h, lease, cl, again) {
			h.lost(errUnwanted)
			return errUnwanted
		}
		return nil
	}
	return cl
}

// enter enters what was obtained into the books; false: nobody wants it any more.
func (s *clientSession) enter(h holding, lease uint64, cl *call, again bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := !cl.abandoned && !s.closed
	if again {
		wanted = slices.Contains(s.held, h)
	}
	switch {
	case !wanted && lease != 0:
		s.orphans = append(s.orphans, lease)
	case wanted && lease != 0:
		s.byLease[lease] = h
	}
	if wanted && !again {
		s.held = append(s.held, h)
	}
	return wanted
}

func (s *clientSession) orphan(lease uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = append(s.orphans, lease)
}

// release gives up something that is held, and waits until the broker has heard, or ctx ends. Without a connection there is
// nothing to tell.
func (s *clientSession) release(ctx context.Context, h holding) {
	if s.drop(h) {
		s.returnOrphansWithin(ctx)
	}
}

// drop takes a holding out of the books. Its lease, if it has one, becomes an orphan: then it returns true.
func (s *clientSession) drop(h holding) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.held, h); i >= 0 {
		s.held = slices.Delete(s.held, i, i+1)
	}
	for lease, other := range s.byLease {
		if other == h {
			delete(s.byLease, lease)
			s.orphans = append(s.orphans, lease)
			return true
		}
	}
	return false
}

// returnOrphans gives back what nobody wants, within releaseTimeout.
func (s *clientSession) returnOrphans() {
	ctx, cancel := context.WithTimeout(s.client.ctx, releaseTimeout)
	defer cancel()
	s.returnOrphansWithin(ctx)
}

func (s *clientSession) returnOrphansWithin(ctx context.Context) {
	if s.giveBack(ctx) == nil {
		s.change <- struct{}{}
	}
}

// orphansLater is returnOrphans for the reader, who can't wait.
func (s *clientSession) orphansLater() {
	s.mu.Lock()
	n := len(s.orphans)
	s.mu.Unlock()
	if n > 0 {
		s.client.run(s.returnOrphans)
	}
}

// giveBack releases what nobody wants. Without an error it returns with the token of s.change.
func (s *clientSession) giveBack(ctx context.Context) error {
	for {
		if err := s.lockChange(ctx); err != nil {
			return err
		}
		lease, epoch := s.nextOrphan()
		if lease == 0 {
			return nil
		}
		cl := newCall(session.OpRelease, session.Release{Lease: lease}.Append)
		cl.changes, cl.locked, cl.bound, cl.epoch = true, true, true, epoch
		cl.apply = ignoreReply // it is gone in any case
		err := s.do(ctx, cl)
		if err == nil || errors.Is(err, errNotConnected) {
			continue
		}
		s.sending.Lock()
		unheard := cl.sent == nil
		s.sending.Unlock()
		if unheard {
			s.orphan(lease)
		}
		return err
	}
}

func (s *clientSession) nextOrphan() (lease, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orphans) > 0 {
		lease = s.orphans[0]
		s.orphans = s.orphans[1:]
	}
	return lease, s.epoch
}

func ignoreReply([]byte, *sys.Buffer) error { return nil }

// takeFD takes the descriptor out of what was received, or returns nil.
func takeFD(b *sys.Buffer) *sys.FD {
	if len(b.FDs) == 0 {
		return nil
	}
	fd := sys.NewFD(b.FDs[0])
	b.FDs = b.FDs[1:]
	return fd
}
