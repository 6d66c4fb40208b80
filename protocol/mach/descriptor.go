// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// Disposition says what a right is and what becomes of the sender's (section 1.2).
type Disposition uint8

// The dispositions.
const (
	MoveReceive  Disposition = 16
	MoveSend     Disposition = 17
	MoveSendOnce Disposition = 18
	CopySend     Disposition = 19
	MakeSend     Disposition = 20
	MakeSendOnce Disposition = 21
)

// Receive reports whether the right is the receive end.
func (d Disposition) Receive() bool { return d == MoveReceive }

// Send reports whether the right arrives as a send right.
func (d Disposition) Send() bool { return d == MoveSend || d == CopySend || d == MakeSend }

// Once reports whether the right arrives as a send-once right.
func (d Disposition) Once() bool { return d == MoveSendOnce || d == MakeSendOnce }

// Fd says which of a packet's file descriptors holds something (section 12): 0
// none, Dead a right that died, else the position, counted from 1.
type Fd uint32

// Null and Dead are the names of rights that bring no file descriptor.
const (
	Null Fd = 0
	Dead Fd = 0xffffffff
)

// Carried reports whether there is a file descriptor.
func (f Fd) Carried() bool { return f != Null && f != Dead }

// Kind is the type of a descriptor (section 1.3).
type Kind uint8

// The kinds of descriptors.
const (
	PortKind     Kind = 0
	MemoryKind   Kind = 1 // out-of-line memory: a sealed memfd
	PortsKind    Kind = 2 // out-of-line ports
	VolatileKind Kind = 3 // as MemoryKind
	GuardedKind  Kind = 4
)

// Sizes of descriptors, in bytes: of a port, and of everything else in the form
// for 64 bits.
const (
	portSize   = 12
	memorySize = 16
)

// Descriptor is one entry of a message's table (section 1.3).
type Descriptor struct {
	Kind        Kind
	Disposition Disposition // of a port, or of each of several
	Fd          Fd          // the right, or the memory
	Length      uint32      // memory: bytes; ports: how many; else 0
	Deallocate  bool        // memory: the sender gives it away
	Copy        uint8       // memory: how the original would have copied it
}

// size returns the length of the descriptor on the wire. A kind that is not
// known is taken for a port's, so that its name can be counted before it is refused.
func (k Kind) size() int {
	switch k {
	case MemoryKind, PortsKind, VolatileKind, GuardedKind:
		return memorySize
	}
	return portSize
}

// memory reports whether the descriptor is about memory rather than one right.
func (k Kind) memory() bool { return k == MemoryKind || k == PortsKind || k == VolatileKind }

// readDescriptor reads the descriptor with which b begins. The count is 0 if b is
// too short; bad says that its address is no position.
func readDescriptor(b []byte) (d Descriptor, n int, bad bool) {
	le := binary.LittleEndian
	if len(b) < portSize {
		return d, 0, false
	}
	d.Kind, d.Disposition = Kind(b[11]), Disposition(b[10])
	n = d.Kind.size()
	if len(b) < n {
		return d, 0, false
	}
	switch {
	case d.Kind.memory():
		address := le.Uint64(b)
		d.Fd, bad = Fd(address), address >= uint64(Dead)
		d.Deallocate, d.Copy, d.Length = b[8] != 0, b[9], le.Uint32(b[12:])
	case d.Kind == GuardedKind:
		d.Fd = Fd(le.Uint32(b[12:]))
	default:
		d.Fd = Fd(le.Uint32(b))
	}
	return d, n, bad
}

// Append appends the descriptor to b: 12 bytes for a port, 16 for memory.
func (d Descriptor) Append(b []byte) []byte {
	le := binary.LittleEndian
	switch {
	case d.Kind.memory():
		gone := byte(0)
		if d.Deallocate {
			gone = 1
		}
		b = le.AppendUint64(b, uint64(d.Fd))
		b = append(b, gone, d.Copy, byte(d.Disposition), byte(d.Kind))
		return le.AppendUint32(b, d.Length)
	case d.Kind == GuardedKind:
		b = le.AppendUint64(b, 0)
		b = append(b, 0, 0, byte(d.Disposition), byte(d.Kind))
		return le.AppendUint32(b, uint32(d.Fd))
	}
	b = le.AppendUint32(b, uint32(d.Fd))
	return append(b, 0, 0, 0, 0, 0, 0, byte(d.Disposition), byte(d.Kind))
}
