// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// Message is any message between programs: what stubs put in Body is theirs
// (sections 1.3 and 12).
type Message struct {
	Header      Header // Size, and Complex of Bits, follow from the rest when it is written
	Descriptors []Descriptor
	Complex     bool // there is a table of descriptors, be it empty
	Body        []byte
}

// ParseMessage reads a packet with which fds file descriptors came. Body aliases
// it. On a port, a local port other than 0 means that the first of them is the
// reply right, and positions in Descriptors begin at 2.
//
// The error is a [*FramingError], or a [*Fault] with TypeError if a descriptor is
// of a kind or disposition that does not exist.
func ParseMessage(packet []byte, fds int, place Place) (Message, error) {
	h, count, end, err := frame(packet, fds, place)
	if err != nil {
		return Message{}, err
	}
	m := Message{Header: h, Complex: h.Bits.Complex(), Body: packet[end:]}
	if count > 0 {
		m.Descriptors = make([]Descriptor, 0, count)
	}
	at := HeaderSize + 4
	for range count {
		d, n, _ := readDescriptor(packet[at:])
		at += n
		switch {
		case d.Kind > GuardedKind:
			return Message{}, &Fault{h, TypeError, "a descriptor is of an unknown kind"}
		case (d.Kind == PortKind || d.Kind == PortsKind) && (d.Disposition < MoveReceive || d.Disposition > MakeSendOnce):
			return Message{}, &Fault{h, TypeError, "a port has an unknown disposition"}
		case d.Kind == GuardedKind && !d.Disposition.Receive():
			return Message{}, &Fault{h, TypeError, "a guarded port is not a receive right"}
		}
		m.Descriptors = append(m.Descriptors, d)
	}
	return m, nil
}

// Append appends the packet to b, with its size and the bit for descriptors set
// as they are. It checks nothing.
func (m Message) Append(b []byte) []byte {
	start := len(b)
	h := m.Header
	h.Bits &^= Complex
	if m.Complex || len(m.Descriptors) > 0 {
		h.Bits |= Complex
	}
	b = h.Append(b)
	if h.Bits.Complex() {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Descriptors)))
	}
	for _, d := range m.Descriptors {
		b = d.Append(b)
	}
	b = append(b, m.Body...)
	binary.LittleEndian.PutUint32(b[start+4:], uint32(len(b)-start))
	return b
}
