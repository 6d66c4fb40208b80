// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"fmt"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// dispatch passes one packet to whom it is for. It owns the buffer. An error means that the connection is over.
func (s *clientSession) dispatch(w *wire, b *sys.Buffer, n int) error {
	h, payload, err := session.ParseHeader(b.Data[:n])
	switch {
	case err != nil:
	case b.Truncated:
		err = fmt.Errorf("it is longer than %d bytes", session.MaxPacket)
	case len(b.FDs) != int(h.Descriptors) && !b.ControlTruncated:
		err = fmt.Errorf("%v announced %d descriptors and came with %d", h.Op, h.Descriptors, len(b.FDs))
	case h.Kind == session.KindReply:
		s.reply(h, payload, b)
		return nil
	case h.Kind != session.KindEvent:
		err = fmt.Errorf("%v is not for a client", h.Op)
	}
	if err != nil {
		putBuffer(b)
		return fmt.Errorf("the broker sent a faulty packet: %w", err)
	}
	defer putBuffer(b)
	if err := s.event(w, h, payload, b); err != nil {
		return err
	}
	return nil
}

// putBuffer puts a buffer back, and closes the descriptors that nobody took.
func putBuffer(b *sys.Buffer) {
	b.Message.Close()
	buffers.Put(b)
}

// reply completes the call that it answers. One that is not known was abandoned, or is answered a second time.
func (s *clientSession) reply(h session.Header, payload []byte, b *sys.Buffer) {
	cl := s.take(h.ID)
	if cl == nil {
		putBuffer(b)
		return
	}
	s.served = true
	if cl.apply == nil {
		cl.reply, cl.payload = b, payload
		s.finish(cl, nil)
		return
	}
	err := cl.apply(payload, b)
	putBuffer(b)
	s.finish(cl, err)
	s.orphansLater()
}

func (s *clientSession) event(w *wire, h session.Header, payload []byte, b *sys.Buffer) error {
	switch h.Op {
	case session.OpHandOver:
		m, err := session.ParseHandOver(payload)
		if err != nil {
			return err
		}
		s.handOver(w, m, takeFD(b))
	case session.OpChange:
		m, err := session.ParseChange(payload)
		if err != nil {
			return err
		}
		if watcher, ok := s.follower(h.ID).(*Watcher); ok {
			watcher.changes(m.Changed)
		}
	case session.OpSynced:
		if watcher, ok := s.follower(h.ID).(*Watcher); ok {
			watcher.listed()
		}
	case session.OpOverflow:
		if watcher, ok := s.follower(h.ID).(*Watcher); ok {
			s.followAnew(w, h.ID, watcher, false)
		}
	case session.OpTraced:
		m, err := session.ParseTraced(payload)
		if err != nil {
			return err
		}
		if tracer, ok := s.follower(h.ID).(*Tracer); ok {
			tracer.take(m)
		}
	case session.OpEnded:
		m, err := session.ParseEnded(payload)
		if err != nil {
			return err
		}
		s.ended(m)
	case session.OpStarted:
		m, err := session.ParseStarted(payload)
		if err != nil {
			return err
		}
		s.settled(m.Lease, nil)
	case session.OpBye:
		m, err := session.ParseBye(payload)
		if err != nil {
			return err
		}
		return &byeError{m.Code, m.Reason}
	}
	return nil
}

// ended loses a lease that the broker took away, or tells of a backend that ended as was asked for.
func (s *clientSession) ended(m session.Ended) {
	if s.settled(m.Lease, &m) {
		return
	}
	s.mu.Lock()
	h := s.byLease[m.Lease]
	delete(s.byLease, m.Lease)
	s.mu.Unlock()
	if h != nil {
		s.drop(h)
		h.lost(&Error{Code: CodeUnavailable, Text: "the lease ended: " + m.Reason})
	}
}
