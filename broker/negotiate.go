// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/rand"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// negotiate answers a Hello whose backend is there, at path, and hands the connection over to it where both sides can do that. The
// lock is held; the caller's descriptor is closed after this.
func (b *Broker) negotiate(c *caller, path string) {
	h := c.call.hello
	if ms := b.rate.Take(uint32(c.peer.PID), uint64(b.now()/1e6)); ms > 0 {
		b.sendRefusal(c, c.call.frame, envelope.RefusedHelloRate(ms))
		return
	}
	b.connectionID++
	id := b.connectionID
	be := b.listeningAt(path)
	var token []byte
	if be != nil {
		be.helloAt = time.Now().UnixMilli()
		if be.takesHandoffs && b.now() >= be.handoffs.paused && h.ClientCapabilities&envelope.HandlePassing != 0 {
			token = make([]byte, 16)
			rand.Read(token)
		}
	}
	b.sendFrame(c, c.call.frame.Answer(h.Accept(b.absolute(path), id, token)))
	if token == nil {
		discard(c)
	} else {
		b.unpoll(c) // the registration is the open file's
		handoff := &handoff{connection: b.table.id(), fd: c.fd, id: id, service: h.ServiceName, peer: c.peer}
		copy(handoff.token[:], token)
		c.fd = nil // it is the handoff's
		b.handOff(be, handoff)
	}
	b.metrics.HelloDone(h.ServiceName, h.WantedVersion, admin.HelloAccepted, b.since(c))
	b.handedOver.Add(1)
}

// listeningAt returns the backend that accepts at a path, or nil. The lock is held.
func (b *Broker) listeningAt(path string) *backend {
	for _, be := range b.backends {
		if be.path == path {
			return be
		}
	}
	return nil
}
