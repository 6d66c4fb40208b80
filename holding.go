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
	if err := s.lockChange(ctx); err != nil {
		return err
	}
	cl := s.obtainCall(h, false)
	cl.locked = true
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
	wanted := !cl.unwanted && !s.closed
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

// drop takes a holding out of the books and returns its lease, 0 if it has none now, with the session that it is of.
func (s *clientSession) drop(h holding) (lease, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.held, h); i >= 0 {
		s.held = slices.Delete(s.held, i, i+1)
	}
	for id, other := range s.byLease {
		if other == h {
			delete(s.byLease, id)
			return id, s.epoch
		}
	}
	return 0, s.epoch
}

// giveBack releases a lease, and waits for that. Without a connection there is nothing to release.
func (s *clientSession) giveBack(lease, epoch uint64) {
	if lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.client.ctx, releaseTimeout)
	defer cancel()
	if s.lockChange(ctx) != nil {
		return
	}
	cl := newCall(session.OpRelease, session.Release{Lease: lease}.Append)
	cl.changes, cl.locked, cl.bound, cl.epoch = true, true, true, epoch
	cl.apply = ignoreReply
	_ = s.do(ctx, cl) // it is gone in any case
}

// returnOrphans gives back what was obtained for nobody.
func (s *clientSession) returnOrphans() {
	s.mu.Lock()
	orphans, epoch := s.orphans, s.epoch
	s.orphans = nil
	s.mu.Unlock()
	if len(orphans) > 0 {
		s.client.run(func() {
			for _, lease := range orphans {
				s.giveBack(lease, epoch)
			}
		})
	}
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
