// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// unsent is a reply that waits for room, with a duplicate of its descriptor if it has one.
type unsent struct {
	packet []byte
	fd     *sys.FD
}

func (u unsent) fds() []int {
	if u.fd == nil {
		return nil
	}
	return []int{u.fd.Int()}
}

// packet is what one goroutine needs to receive one and to answer it.
type packet struct {
	*sys.Buffer
	reply []byte
}

// longestPacket is how long a packet may be that any front takes: a message of XPC with its header and descriptors. Others are shorter.
const longestPacket = xpc.MaxPayload + 512

func newPacket() *packet {
	return &packet{Buffer: sys.NewBuffer(longestPacket), reply: make([]byte, 0, 1024)}
}

func (b *Broker) packet() *packet     { return b.packets.Get().(*packet) }
func (b *Broker) putPacket(p *packet) { b.packets.Put(p) }

// receive takes packets until there is none (false), or the session ends or cannot be answered (true).
func (s *clientSession) receive() bool {
	for {
		s.read.Lock()
		empty, done := s.receiveOne()
		unsent := len(s.unsent) > 0 // also what the loop left when it drained
		s.read.Unlock()
		if done || unsent {
			return true
		}
		if empty {
			return false
		}
	}
}

// receiveOne takes and handles one packet, if there is one. Done: the session is over.
func (s *clientSession) receiveOne() (empty, done bool) {
	p := s.b.packet()
	defer s.b.putPacket(p)
	n, err := p.Recv(s.fd)
	if isAgain(err) {
		return true, false
	}
	defer p.Message.Close() // what nobody took
	if err != nil || n == 0 && len(p.FDs) == 0 {
		return false, true // an empty packet looks like a hang-up here, and is treated like one
	}
	return false, s.packet(p, n)
}

// drainMost bounds a drain: more than a socket's queue holds, unless its owner made it larger.
const drainMost = 2048

// drain takes what is queued already, for who must know before it goes on. It does not wait.
func (b *Broker) drain(s *clientSession) {
	s.read.Lock()
	defer s.read.Unlock()
	for range drainMost {
		if s.closed {
			return
		}
		if empty, done := s.receiveOne(); empty || done {
			return
		}
	}
}

// flush sends what could not be sent; true when it is gone, or never will be.
func (s *clientSession) flush() bool {
	s.read.Lock()
	defer s.read.Unlock()
	for len(s.unsent) > 0 {
		u := s.unsent[0]
		if _, err := sys.Send(s.fd, u.packet, u.fds()...); isAgain(err) {
			return false
		}
		u.fd.Close()
		s.unsent = s.unsent[1:]
	}
	s.unsent = nil
	return true
}

// packet handles one packet and reports whether the session is over.
func (s *clientSession) packet(p *packet, n int) (done bool) {
	h, payload, err := session.ParseHeader(p.Data[:n])
	switch {
	case p.Truncated, n > session.MaxPacket:
		err = fmt.Errorf("a packet is longer than %d bytes", session.MaxPacket)
	case p.ControlTruncated:
		return s.fault(directory.Refusal{Reason: directory.LimitHit, Text: "descriptors were lost, because the broker has few left: try again"})
	case err != nil:
	case len(p.FDs) != int(h.Descriptors):
		err = fmt.Errorf("%v announced %d descriptors and came with %d", h.Op, h.Descriptors, len(p.FDs))
	case h.Kind != session.KindRequest && h.Kind != session.KindOneWay:
		err = fmt.Errorf("%v is for the broker to send", h.Op)
	case h.Op == session.OpConnect:
		err = errors.New("CONNECT is for doors")
	case s.greeted == (h.Op == session.OpHello):
		err = fmt.Errorf("%v where HELLO comes first and once", h.Op)
	}
	if err == nil {
		if h.Kind == session.KindRequest {
			s.request = h
		}
		err = s.dispatch(p, h, payload)
	}
	if err != nil {
		return s.fault(directory.Refusal{Reason: directory.Malformed, Text: err.Error()})
	}
	return false
}

// fault ends a session that broke the protocol.
func (s *clientSession) fault(r directory.Refusal) bool {
	s.b.log.Debug("session closed", "pid", s.peer.PID, "uid", s.peer.UID, "reason", r.Text)
	s.b.mu.Lock()
	s.b.bye(s, r)
	s.b.mu.Unlock()
	return true
}

// dispatch carries out one request or one-way packet. An error ends the session.
func (s *clientSession) dispatch(p *packet, h session.Header, payload []byte) error {
	switch h.Op {
	case session.OpLookUp:
		return s.lookUp(p, h, payload)
	case session.OpTaken:
		m, err := session.ParseTaken(payload)
		if err == nil {
			s.taken(directory.ID(m.Connection))
		}
		return err
	case session.OpHello:
		m, err := session.ParseHello(payload)
		if err == nil {
			s.hello(m)
		}
		return err
	case session.OpClaim:
		m, err := session.ParseClaim(payload)
		if err == nil {
			s.claim(h, m)
		}
		return err
	case session.OpRelease:
		m, err := session.ParseRelease(payload)
		if err == nil {
			s.change(h, directory.Release{Lease: directory.ID(m.Lease)})
		}
		return err
	case session.OpNamespace:
		m, err := session.ParseNamespace(payload)
		if err == nil {
			s.joinNamespace(h, m)
		}
		return err
	case session.OpDoor:
		m, err := session.ParseDoor(payload)
		if err == nil {
			s.openDoor(p, h, m)
		}
		return err
	case session.OpWatch:
		m, err := session.ParseWatch(payload)
		if err == nil {
			s.watch(h, m)
		}
		return err
	case session.OpUnwatch:
		m, err := session.ParseUnwatch(payload)
		if err == nil {
			s.unwatch(h, m)
		}
		return err
	case session.OpTrace:
		m, err := session.ParseTrace(payload)
		if err == nil {
			s.trace(h, m)
		}
		return err
	case session.OpStatus:
		s.reply(p.reply, h, s.b.status(s.namespace).Append)
		return nil
	case session.OpShutdown:
		m, err := session.ParseShutdown(payload)
		if err == nil {
			s.shutdown(p, h, m)
		}
		return err
	case session.OpDeclare:
		m, err := session.ParseDeclare(payload)
		if err == nil {
			s.declare(h, m)
		}
		return err
	case session.OpStop, session.OpRestart, session.OpRetire:
		m, err := session.ParseSelect(payload)
		if err == nil {
			s.supervise(h, m)
		}
		return err
	}
	return fmt.Errorf("%v is no request", h.Op)
}

// reply sends a reply, or keeps it until there is room.
func (s *clientSession) reply(room []byte, h session.Header, payload func([]byte) []byte, fds ...int) {
	r := session.Header{Kind: session.KindReply, Op: h.Op, ID: h.ID, Sequence: h.Sequence, Descriptors: uint8(len(fds))}
	s.send(payload(r.Append(room[:0])), fds...)
}

// maxUnsent bounds the replies that wait for room. A session gets there only while it is drained.
const maxUnsent = 1024

// send sends a finished reply, or keeps a copy until there is room.
func (s *clientSession) send(b []byte, fds ...int) {
	if len(s.unsent) == 0 {
		if _, err := sys.Send(s.fd, b, fds...); !isAgain(err) {
			return
		}
	}
	if len(s.unsent) >= maxUnsent {
		_ = sys.Shutdown(s.fd)
		return
	}
	u := unsent{packet: slices.Clone(b)}
	if len(fds) > 0 {
		var err error
		if u.fd, err = sys.Dup(fds[0]); err != nil {
			s.b.log.Error("cannot keep a descriptor for a reply", "err", err)
			_ = sys.Shutdown(s.fd) // the client reconnects and asks again
			return
		}
	}
	s.unsent = append(s.unsent, u)
}

// event sends an event; false if there is no room for it. One that can never be sent ends the session. The broker's lock is held,
// or the trace's.
func (s *clientSession) event(op session.Op, id uint32, payload []byte) bool {
	var room [256]byte
	b := append(session.Header{Kind: session.KindEvent, Op: op, ID: id}.Append(room[:0]), payload...)
	_, err := sys.Send(s.fd, b)
	if err != nil && !isAgain(err) && !sys.IsTemporary(err) {
		_ = sys.Shutdown(s.fd)
		return true
	}
	return err == nil
}

func byePacket(r directory.Refusal) []byte {
	h := session.Header{Kind: session.KindEvent, Op: session.OpBye}
	return session.Bye{Code: code(r.Reason), Reason: r.Text}.Append(h.Append(nil))
}

// bye ends a session from this side. Its goroutine sees the end of the connection and does the rest. The lock is held.
func (b *Broker) bye(s *clientSession, r directory.Refusal) {
	if s.dismissed {
		return
	}
	s.dismissed = true
	_, _ = sys.Send(s.fd, byePacket(r))
	_ = sys.Shutdown(s.fd)
}
