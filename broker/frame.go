// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// envelopeCall is what a caller of the running-process front asks.
type envelopeCall struct {
	began   int64  // when it was accepted
	demoted bool   // descriptors are short: only administration is served
	data    []byte // header and body, as far as they came
	counted bool   // it counts as a connection that is open
	large   bool   // it counts against maxLarge
	frame   envelope.Frame
	hello   envelope.Hello
	key     directory.Key // what it calls
}

const (
	frameTurn = 256 << 10 // bytes that one caller is read in a row
	maxLarge  = 4         // frames beyond the size of a Hello that are read at a time
)

// acceptFrame takes one connection from an address of the original's; false if there is none. Other users are closed without a word, as
// the original does.
func (b *Broker) acceptFrame(listener int) bool {
	fd, ok := b.accept(listener)
	if !ok {
		return false
	}
	c := &caller{id: b.table.id(), fd: fd, namespace: directory.Root, call: &envelopeCall{began: b.now(), counted: true}}
	var err error
	if c.peer, err = sys.PeerCred(fd.Int()); err != nil || c.peer.UID != b.uid {
		fd.Close()
		return true
	}
	if b.scarce(fd).Reason != directory.OK {
		b.pressure.Exhausted()
		b.keepFew(c)
	} else {
		b.pressure.Accepted()
	}
	c.call.demoted = b.pressure.Demoted()
	b.demoted.Store(c.call.demoted)
	b.connections.Add(1)
	b.readFrame(c)
	return true
}

// maxScarce is how many connections that came while descriptors were short may still have said nothing.
const maxScarce = 8

// keepFew has a newcomer use one of the last descriptors. Of those that do and have not sent their request, the oldest goes when there are
// too many: else who says nothing would keep everybody from being answered.
func (b *Broker) keepFew(c *caller) {
	b.scarceFrames = slices.DeleteFunc(b.scarceFrames, func(old *caller) bool { return b.reading[old.id] != old })
	if len(b.scarceFrames) >= maxScarce {
		b.refuseFrame(b.scarceFrames[0], envelope.Frame{}, envelope.RefusedFDPressure)
		b.scarceFrames = b.scarceFrames[1:]
	}
	b.scarceFrames = append(b.scarceFrames, c)
}

// readFrame reads one frame and not a byte more: what is behind it may be for a backend that the connection is handed to.
func (b *Broker) readFrame(c *caller) {
	e := c.call
	p := b.packet()
	defer b.putPacket(p)
	for turn := 0; turn < frameTurn; {
		want := envelope.HeaderSize - len(e.data)
		if want <= 0 {
			length, err := envelope.Header(e.data)
			if err != nil || length > envelope.MaxHello && !b.large(c) {
				b.refuseFrame(c, envelope.Frame{}, envelope.RefusedTooLong)
				return
			}
			if want = envelope.HeaderSize + length - len(e.data); want == 0 {
				b.answerFrame(c)
				return
			}
		}
		n, err := p.RecvN(c.fd.Int(), min(want, len(p.Data)))
		if err != nil {
			if isAgain(err) {
				b.waitForLine(c)
				return
			}
			b.forgetCaller(c)
			return
		}
		p.Message.Close() // descriptors are meant for nobody
		if n == 0 {
			b.refuseFrame(c, envelope.Frame{}, envelope.RefusedIncomplete)
			return
		}
		e.data = append(e.data, p.Data[:n]...)
		if e.data[0] != envelope.Version {
			b.refuseFrame(c, envelope.Frame{}, envelope.RefusedFraming)
			return
		}
		turn += n
	}
	b.waitForLine(c)
}

// large has a caller count as one that sends much, and reports whether there is room for it.
func (b *Broker) large(c *caller) bool {
	if !c.call.large && b.largeFrames < maxLarge {
		c.call.large = true
		b.largeFrames++
	}
	return c.call.large
}

// answerFrame answers a complete frame, by the order of checks of section 5 of the protocol. The loop's.
func (b *Broker) answerFrame(c *caller) {
	delete(b.reading, c.id)
	e := c.call
	if e.large {
		b.largeFrames--
		e.large = false
	}
	body := e.data[envelope.HeaderSize:]
	var err error
	if e.frame, err = envelope.ParseFrame(body); err != nil {
		b.refuseFrame(c, envelope.Frame{}, envelope.RefusedMalformedFrame)
		return
	}
	switch {
	case e.frame.PayloadProtocol == envelope.Admin:
		b.answerAdmin(c)
		return
	case len(body) > envelope.MaxHello:
		b.refuseFrame(c, e.frame, envelope.RefusedTooLong)
		return
	case e.demoted:
		b.refuseFrame(c, e.frame, envelope.RefusedFDPressure)
		return
	}
	hello, refusal := envelope.ParseControl(e.frame)
	if refusal == nil {
		refusal = envelope.CheckHello(hello, uint32(c.peer.PID))
	}
	if e.hello = hello; refusal != nil {
		b.refuseFrame(c, e.frame, *refusal)
		return
	}
	b.findService(c)
}

// refuseFrame answers a caller that the directory never knew, and closes the connection. The loop's.
func (b *Broker) refuseFrame(c *caller, f envelope.Frame, r envelope.Refusal) {
	b.sendRefusal(c, f, r)
	b.forgetCaller(c)
}

// sendRefusal writes a refusal, the broker's last word on a connection.
func (b *Broker) sendRefusal(c *caller, f envelope.Frame, r envelope.Refusal) {
	b.refused.Add(1)
	b.metrics.HelloDone(c.call.key.Name, c.call.key.Version, admin.HelloRefused(r.Code), b.since(c)) // the key only once there is a definition
	b.log.Debug("hello refused", "pid", c.peer.PID, "code", r.Code.String(), "reason", r.Reason)
	b.sendFrame(c, f.Refuse(r))
	discard(c)
}

func (b *Broker) sendFrame(c *caller, f envelope.Frame) {
	var room [512]byte
	if _, err := sys.Send(c.fd.Int(), f.AppendFramed(room[:0])); err != nil && !isHangUp(err) {
		b.log.Debug("cannot answer a frame", "err", err)
	}
}
