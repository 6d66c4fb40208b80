// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// loop passes on what the poller tells, until the context ends.
func (s *Service) loop(ctx context.Context) {
	var room [64]sys.Ready
	for ctx.Err() == nil {
		ready, err := s.poller.Wait(time.Time{}, room[:0])
		if err != nil {
			s.log.Error("cannot wait for clients", "err", err)
			return
		}
		for _, r := range ready {
			c := s.connection(r.Token / tokens)
			if c == nil {
				continue
			}
			s.work.Go(func() {
				switch r.Token % tokens {
				case tokenIn:
					c.serve(ctx)
				case tokenOut:
					c.drain(r.Events)
				case tokenProcess:
					c.bereaved(ctx)
				}
			})
		}
	}
}

func (s *Service) connection(id uint64) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections[id]
}

// reap ends a connection if its client is gone, and reports whether it was.
func (s *Service) reap(id uint64) bool {
	c := s.connection(id)
	if c == nil {
		return true
	}
	if !c.enter() {
		return true
	}
	dead := sys.HungUp(c.in.Int()) || sys.HungUp(c.out.Int()) || !c.lasts() && sys.Exited(c.process.Int())
	c.leave()
	if dead {
		c.end("its other end is gone")
	}
	return dead
}
