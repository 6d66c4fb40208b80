// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"encoding/binary"
	"errors"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Kind is what a message is: its msgh_id, without a routine's number (section 4).
type Kind uint32

// The kinds.
const (
	KindMessage   Kind = 0x10000000 // with a token it wants a reply; also requests on older pipes
	KindReply     Kind = 0x20000000
	KindRoutine   Kind = 0x40000000 // request on newer pipes
	KindHandshake Kind = 0x77303074 // "w00t": a new connection, never answered
)

// MaxRoutine is the largest number that fits in a message's id.
const MaxRoutine Routine = 0x0fffffff

// Message is one packet.
type Message struct {
	Kind    Kind
	Routine Routine // KindRoutine: the number in the id, or 0
	// Token is what a reply repeats: the local port of the request, 0: no reply is
	// wanted. Handshakes have none, and replies always.
	Token uint32
	Magic Magic // 0 is MagicCurrent; a reply has that of its request
	Root  Dict  // of all but handshakes

	// Rights are those of the descriptors, in their order, when it is read. The
	// values in Root have them as well, each exactly one. When a handshake is written:
	// the server's receive end, and where the server sends. Else Root says it all.
	Rights []mach.Right
}

// IsMessage reports whether packets with that msgh_id are read here. Smaller ones
// are those of package mach; 71 in place of a reply is its SendOnceDied.
func IsMessage(id int32) bool { return id >= int32(KindMessage) }

// WantsReply reports whether somebody waits for a reply.
func (m Message) WantsReply() bool { return m.Kind != KindReply && m.Token != 0 }

// Reply returns the reply to the message.
func (m Message) Reply(root Dict) Message {
	return Message{Kind: KindReply, Token: m.Token, Magic: m.Magic, Root: root}
}

// ParseClientMessage is ParseMessage for what comes from clients to the control
// socket, who send no replies.
func ParseClientMessage(packet []byte, fds int, o *Options) (Message, error) {
	m, err := ParseMessage(packet, fds, o)
	if m.Kind == KindReply {
		return Message{}, &mach.FramingError{Why: "a client sends a reply"}
	}
	return m, err
}

// ParseMessage reads a packet with which fds file descriptors came (sections 4, 5
// and 8). The error is a [*mach.FramingError] or a [*Fault], whose offset is in the
// packet; only with a Fault the kind, routine and token of the message are valid.
func ParseMessage(packet []byte, fds int, o *Options) (Message, error) {
	raw, err := mach.ParseMessage(packet, fds, mach.OnControl)
	var descriptors *mach.Fault
	switch {
	case errors.As(err, &descriptors):
		raw.Header = descriptors.Header
	case err != nil:
		return Message{}, err
	}
	m, err := head(raw.Header)
	switch {
	case err != nil:
		return Message{}, err
	case m.Kind == KindHandshake:
		return handshake(m, raw)
	case descriptors != nil:
		return m, m.fault(fail(mach.HeaderSize, ReasonRight, descriptors.Why))
	}
	if len(raw.Body) >= 4 {
		if magic := Magic(binary.LittleEndian.Uint32(raw.Body)); magic.ofMessages() {
			m.Magic = magic
		}
	}
	rights, f := ports(raw.Descriptors, o.complete().Rights)
	if f != nil {
		return m, m.fault(f)
	}
	_, root, err := ParsePayload(raw.Body, rights, o)
	var fault *Fault
	if errors.As(err, &fault) {
		fault.Offset += len(packet) - len(raw.Body)
		return m, m.fault(fault)
	}
	m.Root, m.Rights = root, rights
	return m, nil
}

// head reads what a header says.
func head(h mach.Header) (Message, error) {
	m := Message{Kind: Kind(h.ID), Token: h.Local, Magic: MagicCurrent}
	switch {
	case m.Kind == KindReply:
		if m.Token = h.Remote; h.Local != 0 || h.Remote == 0 {
			return Message{}, &mach.FramingError{Why: "a reply has no token, or wants a reply"}
		}
	case m.Kind == KindHandshake:
		if h.Local != 0 {
			return Message{}, &mach.FramingError{Why: "a handshake wants a reply"}
		}
	case h.ID>>28 == int32(KindRoutine>>28):
		m.Kind, m.Routine = KindRoutine, Routine(h.ID)&MaxRoutine
	case m.Kind != KindMessage:
		return Message{}, &mach.FramingError{Why: "the id is not one of XPC"}
	}
	return m, nil
}

// handshake reads the two rights of one. It is never answered, so whatever is
// wrong with it is its framing.
func handshake(m Message, raw mach.Message) (Message, error) {
	rights, f := ports(raw.Descriptors, 2)
	if f != nil || len(rights) != 2 || len(raw.Body) != 0 || !fits(TypeMachRecv, rights[0]) || !fits(TypeMachSend, rights[1]) {
		return Message{}, &mach.FramingError{Why: "a handshake is not a receive right and a send right alone"}
	}
	m.Magic, m.Rights = 0, rights
	return m, nil
}

// ports returns the rights of descriptors, of which each must bring one.
func ports(descriptors []mach.Descriptor, limit int) ([]mach.Right, *Fault) {
	if len(descriptors) > limit {
		return nil, fail(mach.HeaderSize, ReasonLimit, "there are more rights than allowed")
	}
	rights := make([]mach.Right, 0, len(descriptors))
	for i, d := range descriptors {
		if d.Kind != mach.PortKind || !d.Fd.Carried() {
			return nil, fail(mach.HeaderSize+4+12*i, ReasonRight, "a descriptor is not that of one port")
		}
		rights = append(rights, mach.Right{Fd: d.Fd, Disposition: d.Disposition})
	}
	return rights, nil
}

// fault completes a fault with whom to answer.
func (m Message) fault(f *Fault) *Fault {
	f.Magic = m.Magic
	if m.WantsReply() {
		f.Token = m.Token
	}
	return f
}

// Append appends the packet to b. The rights are those that are to be sent with
// it, in that order: the packet calls them 1, 2, 3…, and their Fd is the caller's.
// The error is a [*Fault], upon which b is returned as it was.
func (m Message) Append(b []byte, o *Options) ([]byte, []mach.Right, error) {
	raw := mach.Message{Header: mach.Header{
		Bits: mach.NewBits(false, mach.CopySend, 0), Remote: mach.BrokerPort, Local: m.Token, ID: int32(m.Kind),
	}}
	if m.Token != 0 {
		raw.Header.Bits = mach.NewBits(false, mach.CopySend, mach.MakeSendOnce)
	}
	why := ""
	switch m.Kind {
	case KindMessage:
	case KindReply:
		raw.Header.Bits, raw.Header.Remote, raw.Header.Local = mach.NewBits(false, mach.MoveSendOnce, 0), m.Token, 0
		if m.Token == 0 {
			why = "a reply has no token"
		}
	case KindRoutine:
		raw.Header.ID |= int32(m.Routine)
		if m.Routine > MaxRoutine {
			why = "the number of the routine does not fit"
		}
	case KindHandshake:
		return m.appendHandshake(b, raw)
	default:
		why = "there is no such kind of message"
	}
	if why != "" {
		return b, nil, fail(0, ReasonTag, why)
	}
	magic := m.Magic
	if magic == 0 {
		magic = MagicCurrent
	}
	body, rights, err := AppendPayload(nil, magic, m.Root, o)
	if err != nil {
		return b, nil, err
	}
	raw.Body = body
	return appendRights(b, raw, rights), rights, nil
}

func (m Message) appendHandshake(b []byte, raw mach.Message) ([]byte, []mach.Right, error) {
	if m.Token != 0 || len(m.Root) != 0 {
		return b, nil, fail(0, ReasonTag, "a handshake has neither token nor payload")
	}
	if len(m.Rights) != 2 {
		return b, nil, fail(0, ReasonRight, "a handshake has two rights")
	}
	rights := []mach.Right{m.Rights[0], m.Rights[1]}
	for i, usual := range []mach.Disposition{mach.MoveReceive, mach.MakeSend} {
		if rights[i].Disposition == 0 {
			rights[i].Disposition = usual
		}
	}
	if !fits(TypeMachRecv, rights[0]) || !fits(TypeMachSend, rights[1]) || rights[0].Fd == rights[1].Fd {
		return b, nil, fail(0, ReasonRight, "a handshake is a receive right and a send right")
	}
	return appendRights(b, raw, rights), rights, nil
}

// appendRights appends a message with its descriptors.
func appendRights(b []byte, raw mach.Message, rights []mach.Right) []byte {
	for i, r := range rights {
		raw.Descriptors = append(raw.Descriptors, mach.Descriptor{Kind: mach.PortKind, Disposition: r.Disposition, Fd: mach.Fd(i + 1)})
	}
	return raw.Append(b)
}
