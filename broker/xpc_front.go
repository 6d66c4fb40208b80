// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// messageID returns the id of a packet's header; 0: it has none.
func messageID(packet []byte) int32 {
	if len(packet) < mach.HeaderSize {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(packet[20:]))
}

// xpcMessage carries out what was read from a packet of XPC. The error is one of framing: nothing was answered.
func (c *machCall) xpcMessage(m xpc.Message, err error) error {
	c.pipe = &xpc.Request{Routine: m.Routine, Numbered: m.Routine != 0}
	var fault *xpc.Fault
	switch {
	case errors.As(err, &fault):
		c.pipe.Token = fault.Token
		c.req.Token = fault.Token
		c.refusedPipe(fault.Reply(), xpc.InvalidArgument, false, fault.Error())
		return nil
	case err != nil:
		return err
	case m.Kind == xpc.KindHandshake:
		// Its rights are closed with the packet, and that is what the client sees: a connection that is invalid.
		c.refusedPipe(xpc.Message{}, xpc.NotImplemented, false, "the broker itself takes no XPC connections: look a service up")
		return nil
	}
	req, err := xpc.ParseRequest(m)
	c.pipe, c.req.Token, c.req.Service = &req, req.Token, req.Name
	var refusal *xpc.Refusal
	if errors.As(err, &refusal) {
		c.refusedPipe(refusal.Reply(), refusal.Code, false, refusal.Why)
		return nil
	}
	c.dispatchPipe()
	return nil
}

// dispatchPipe carries out a pipe routine. Names are asked for as by Mach messages. What else the request carries, such as its domain-port,
// is closed with the packet: the namespace is that of the socket.
func (c *machCall) dispatchPipe() {
	req := c.pipe
	c.req.Flags = mach.Flags(req.Flags)
	switch req.Routine {
	case xpc.CheckIn, xpc.CheckIn2:
		c.req.Routine = mach.CheckIn2
		c.checkIn()
	case xpc.LookUp, xpc.LookUp2:
		c.req.Routine, c.req.UUID = mach.LookUp3, req.Instance
		if c.req.PID = int32(req.TargetPID); int64(c.req.PID) != req.TargetPID {
			c.req.PID = math.MaxInt32 // no process has that
		}
		c.lookUp()
	case xpc.GetJobs:
		c.getJobs()
	case xpc.List:
		c.listJobs()
	case xpc.Attributes:
		c.attributes()
	default:
		c.refusedPipe(req.Reply(xpc.Answer{Error: xpc.NotImplemented}), xpc.NotImplemented, false, "the routine is not served")
	}
}

// appendPipe appends the reply to a pipe routine that is granted.
func (c *machCall) appendPipe(b []byte, a xpc.Answer) ([]byte, error) {
	a.ReqPID = int64(c.s.peer.PID)
	b, _, err := c.pipe.Reply(a).Append(b, nil)
	return b, err
}

// refusePipe answers a pipe routine with the code that stands for one of bootstrap.
func (c *machCall) refusePipe(code mach.Code, why string) {
	answer := xpc.Answer{Error: c.pipe.Routine.Code(code), ReqPID: int64(c.s.peer.PID)}
	c.refusedPipe(c.pipe.Reply(answer), answer.Error, code == mach.UnknownService, why)
}

// refusedPipe sends a reply that refuses, if one is wanted.
func (c *machCall) refusedPipe(reply xpc.Message, code xpc.Code, quiet bool, why string) {
	c.donePipe(code)
	if c.req.Token != 0 {
		if packet, _, err := reply.Append(c.p.reply[:0], nil); err == nil {
			_ = c.send(packet)
		}
	}
	c.audited(quiet, c.pipeRoutine(), int64(code), why)
}

// pipeRoutine names the request for people.
func (c *machCall) pipeRoutine() string {
	if messageID(c.p.Data[:c.size]) == int32(xpc.KindHandshake) {
		return "handshake"
	}
	if c.pipe.Routine == 0 {
		return "unknown (pipe)"
	}
	return c.pipe.Routine.String() + " (pipe)"
}

// donePipe tells those who trace.
func (c *machCall) donePipe(code xpc.Code) {
	b := c.b()
	if !b.trace.on() {
		return
	}
	t := traced{
		peer: c.s.peer, program: c.s.program, namespace: c.s.path, protocol: "xpc", id: messageID(c.p.Data[:c.size]),
		routine: c.pipeRoutine(), code: int32(code), outcome: code.String(),
	}
	if c.req.Service != "" {
		t.names = []string{c.req.Service}
	}
	b.trace.emit(t)
}

// parseOnPort reads a packet of XPC that came to a bootstrap port: as on a connection, but that the reply right, if there is one, is
// its first descriptor, and positions begin behind it.
func parseOnPort(packet []byte, fds int) (m xpc.Message, replies bool, err error) {
	if fds > 0 && len(packet) >= mach.HeaderSize && binary.LittleEndian.Uint32(packet[12:]) != 0 {
		m, err := xpc.ParseClientMessage(withoutReplyRight(packet), fds-1, nil)
		if !isFraming(err) {
			return m, true, err
		}
	}
	m, err = xpc.ParseClientMessage(packet, fds, nil)
	return m, false, err
}

// withoutReplyRight returns a packet whose descriptors are one position lower. What is malformed stays so.
func withoutReplyRight(packet []byte) []byte {
	packet = slices.Clone(packet)
	if bits := mach.Bits(binary.LittleEndian.Uint32(packet)); !bits.Complex() || len(packet) < mach.HeaderSize+4 {
		return packet
	}
	n, rest := binary.LittleEndian.Uint32(packet[mach.HeaderSize:]), packet[mach.HeaderSize+4:]
	for ; n > 0 && len(rest) >= portDescriptor; n, rest = n-1, rest[portDescriptor:] {
		if at := mach.Fd(binary.LittleEndian.Uint32(rest)); at.Carried() {
			binary.LittleEndian.PutUint32(rest, uint32(at-1))
		}
	}
	return packet
}

// portDescriptor is the size of a descriptor in a message of XPC, where no others are accepted.
const portDescriptor = 12
