// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Version is the first byte of every packet.
	Version = 1
	// HeaderSize is the length of the fixed header, in bytes.
	HeaderSize = 16
	// MaxPacket is the length of the longest packet with its header, in bytes.
	MaxPacket = 32768
)

// Header is the fixed header of a packet (docs/session.md, section 3).
type Header struct {
	Kind Kind
	Op   Op
	// Descriptors is the number of descriptors that come with the packet.
	Descriptors uint8
	// ID ties replies to requests and events to watches. Requests and replies:
	// not 0. CHANGE, SYNCED and OVERFLOW: the id of the WATCH; TRACED: that of
	// the TRACE. All others: 0.
	ID uint32
	// Sequence counts the requests that change something, from 1, and is
	// repeated in their replies. All others: 0.
	Sequence uint64
}

// Append appends the header, HeaderSize bytes, to b. It checks nothing.
func (h Header) Append(b []byte) []byte {
	b = append(b, Version, byte(h.Kind), byte(h.Op), h.Descriptors)
	b = binary.LittleEndian.AppendUint32(b, h.ID)
	return binary.LittleEndian.AppendUint64(b, h.Sequence)
}

// ParseHeader splits a packet into its header and its payload, which aliases b.
// Any error is a fault in the sense of section 3, with a text for BYE: it
// checks all that can be known without the session's state. Left to the caller
// are the direction (a client sends requests and one-way packets, the broker
// replies and events), the order of sequences, and whether as many descriptors
// came as were announced.
func ParseHeader(b []byte) (Header, []byte, error) {
	switch {
	case len(b) == 0:
		return Header{}, nil, errors.New("empty packet")
	case len(b) < HeaderSize:
		return Header{}, nil, fmt.Errorf("packet has %d bytes, fewer than its header of %d", len(b), HeaderSize)
	case len(b) > MaxPacket:
		return Header{}, nil, fmt.Errorf("packet has %d bytes, more than %d", len(b), MaxPacket)
	case b[0] != Version:
		return Header{}, nil, fmt.Errorf("version %d is not supported: this is version %d", b[0], Version)
	}
	h := Header{
		Kind:        Kind(b[1]),
		Op:          Op(b[2]),
		Descriptors: b[3],
		ID:          binary.LittleEndian.Uint32(b[4:]),
		Sequence:    binary.LittleEndian.Uint64(b[8:]),
	}
	if err := h.check(); err != nil {
		return Header{}, nil, err
	}
	return h, b[HeaderSize:len(b):len(b)], nil
}

// check holds the header against the rules of its operation.
func (h Header) check() error {
	if h.Kind < KindRequest || h.Kind > KindOneWay {
		return fmt.Errorf("unknown kind of packet %d", uint8(h.Kind))
	}
	r, ok := h.Op.rules()
	if !ok {
		return fmt.Errorf("unknown operation %d", uint8(h.Op))
	}
	fits := h.Kind == r.kind || h.Kind == KindReply && r.kind == KindRequest
	if !fits {
		return fmt.Errorf("%v does not come as %v", h.Op, h.Kind)
	}

	least, most := r.descriptors, r.descriptors
	if h.Kind == KindReply {
		least, most = 0, r.replyDescriptors
	}
	switch {
	case h.Descriptors < least:
		return fmt.Errorf("%v %v with %d descriptors: it takes %d", h.Op, h.Kind, h.Descriptors, least)
	case h.Descriptors > most:
		return fmt.Errorf("%v %v with %d descriptors: it takes at most %d", h.Op, h.Kind, h.Descriptors, most)
	case r.hasID && h.ID == 0:
		return fmt.Errorf("%v %v with id 0", h.Op, h.Kind)
	case !r.hasID && h.ID != 0:
		return fmt.Errorf("%v %v with id %d: its id is 0", h.Op, h.Kind, h.ID)
	case r.changes && h.Sequence == 0:
		return fmt.Errorf("%v %v without a sequence", h.Op, h.Kind)
	case !r.changes && h.Sequence != 0:
		return fmt.Errorf("%v %v with sequence %d: its sequence is 0", h.Op, h.Kind, h.Sequence)
	}
	return nil
}
