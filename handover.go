// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// handOver takes a caller's connection over (docs/session.md, section 5): first the broker is told, then the
// connection is touched. What can't be taken is closed untouched; the broker answers the caller.
func (s *clientSession) handOver(w *wire, m session.HandOver, fd *sys.FD) {
	s.mu.Lock()
	l, _ := s.byLease[m.Lease].(*Listener)
	s.mu.Unlock()
	switch {
	case fd == nil:
		s.client.log.Warn("connection lost: no descriptors left", "folder", s.client.dir)
		return
	case l == nil || !l.reserve():
		fd.Close()
		return
	}
	var room [64]byte
	packet := session.Header{Kind: session.KindOneWay, Op: session.OpTaken}.Append(room[:0])
	packet = session.Taken{Connection: m.Connection}.Append(packet)
	var later atomic.Bool
	w.send(packet, nil, func(sent bool) {
		var conn *Conn
		if sent {
			conn = takenConn(fd, l.name, m.Preamble)
		} else {
			fd.Close()
		}
		l.deliver(conn)
		if later.Load() {
			s.wake() // the reader may be the one who accepts
		}
	})
	later.Store(true)
}

// takenConn writes the preamble and makes a connection, or returns nil if the caller is gone.
func takenConn(fd *sys.FD, name string, preamble []byte) *Conn {
	if n, err := sys.Send(fd.Int(), preamble); err != nil || n != len(preamble) {
		fd.Close()
		return nil
	}
	conn, err := newConn(fd, name, false)
	if err != nil {
		return nil
	}
	return conn
}
