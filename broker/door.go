// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// openDoor makes the descriptor of a DOOR request a way in for whoever holds its other end.
func (s *clientSession) openDoor(p *packet, h session.Header, m session.Door) {
	b := s.b
	fd := sys.NewFD(p.FDs[0])
	p.FDs = p.FDs[:0]
	refuse := func(r directory.Reason, text string) {
		fd.Close()
		s.change(h, directory.Fail{Refusal: directory.Refusal{Reason: r, Text: "cannot open a door: " + text}})
	}
	if _, err := sys.CheckSocket(fd.Int(), sys.Seqpacket); err != nil {
		refuse(directory.Malformed, err.Error())
		return
	}
	if err := sys.SetPassCred(fd.Int(), true); err != nil {
		refuse(directory.Malformed, err.Error())
		return
	}
	if r := b.scarce(fd); r.Reason != directory.OK {
		refuse(r.Reason, r.Text)
		return
	}
	op := directory.OpenDoor{Lease: b.table.id(), Namespace: directory.ID(m.Namespace)}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.changeLocked(h, op)
	if _, granted := b.directory.DoorNamespace(op.Lease); !granted {
		fd.Close()
		return
	}
	ns, _ := b.directory.DoorNamespace(op.Lease)
	boot := &bootstrapPort{way: b.wayInto(ns), ours: b.ownEnd(fd.Int())}
	if err := b.watch(&descriptor{id: op.Lease, kind: doorSocket, fd: fd, boot: boot}); err != nil {
		delete(b.ownEnds, boot.ours)
		b.log.Error("cannot watch a door", "err", err)
	}
}

// doorAtOnce bounds what one door takes of the loop before the others have their turn.
const doorAtOnce = 16

// readDoor takes the connections and the Mach messages that came through a door or a bootstrap port.
func (b *Broker) readDoor(d *descriptor, hungUp bool) {
	ns := d.boot.namespace
	for range doorAtOnce {
		p := b.packet()
		n, err := p.Recv(d.fd.Int())
		if isAgain(err) && !hungUp {
			b.putPacket(p)
			return
		}
		if err != nil || n == 0 && !p.HasControl {
			// All who could come through it are gone. A door's lease stays with its session.
			b.putPacket(p)
			b.mu.Lock()
			if d.kind == bootstrapPortKind {
				b.drop(d.id)
			} else {
				_ = b.poller.Remove(d.fd.Int())
				b.wayClosed(d.boot)
			}
			b.mu.Unlock()
			return
		}
		if n > 0 && p.Data[0] != session.Version {
			b.bootstrapMessage(d, p, n)
			p.Close()
			b.putPacket(p)
			continue
		}
		fd, typ, err := comer(p, n)
		p.Close()
		b.putPacket(p)
		switch {
		case err != nil:
			b.log.Debug("refused at a door", "err", err)
		case b.closing():
			fd.Close()
		case typ == sys.Seqpacket:
			b.newSession(fd, ns)
		default:
			b.newCaller(fd, ns)
		}
	}
}

func (b *Broker) closing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ending != ""
}

// comer checks one packet of a door and takes the connection out of it.
func comer(p *packet, n int) (*sys.FD, sys.SocketType, error) {
	h, payload, err := session.ParseHeader(p.Data[:n])
	switch {
	case err != nil:
		return nil, 0, err
	case h.Op != session.OpConnect || len(payload) > 0 || len(p.FDs) != 1:
		return nil, 0, errors.New("a door takes CONNECT with one descriptor")
	case p.PIDFD < 0:
		return nil, 0, errors.New("the kernel does not say who sent it")
	}
	typ, err := fresh(p.FDs[0], p.PIDFD, sys.Stream, sys.Seqpacket)
	if err != nil {
		return nil, 0, err
	}
	fd := sys.NewFD(p.FDs[0])
	p.FDs = p.FDs[:0]
	return fd, typ, nil
}

// fresh checks that a descriptor is one end of a pair that the process behind a pidfd made, who sent it, and makes it non-blocking. What
// others made carries the identity of others.
func fresh(fd, sender int, types ...sys.SocketType) (sys.SocketType, error) {
	typ, err := sys.CheckSocket(fd, types...)
	if err != nil {
		return 0, err
	}
	maker, err := sys.PeerPIDFD(fd)
	if err != nil {
		return 0, err
	}
	defer maker.Close()
	made, err := sys.ProcessIDOf(maker.Int())
	if err != nil {
		return 0, err
	}
	if sent, err := sys.ProcessIDOf(sender); err != nil || sent != made {
		return 0, errors.New("the pair was made by another process than the one that sent it")
	}
	return typ, sys.SetNonblock(fd, true)
}
