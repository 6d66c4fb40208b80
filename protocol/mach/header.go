// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// HeaderSize is the length of a header, in bytes (section 1.1).
const HeaderSize = 24

// Header is what every message begins with (section 1.1).
type Header struct {
	Bits     Bits
	Size     uint32 // of the whole message in bytes; equals the packet's length
	Remote   uint32 // destination; 1 is the broker, in replies the token of the request
	Local    uint32 // reply port: a token, 0: no reply is wanted
	Reserved uint32 // a sequence number or voucher; ignored, and sent as 0
	ID       int32  // routine
}

// Bits are the flags and dispositions of a header (section 1.2).
type Bits uint32

// Complex says that descriptors follow the header.
const Complex Bits = 1 << 31

// knownBits are those that may be set on the wire; the rest is internal to kernels.
const knownBits = Complex | 0x1f<<16 | 0x1f<<8 | 0x1f

// Remote returns the disposition of the destination.
func (b Bits) Remote() Disposition { return Disposition(b & 0x1f) }

// Local returns the disposition of the reply port.
func (b Bits) Local() Disposition { return Disposition(b >> 8 & 0x1f) }

// Complex reports whether descriptors follow the header.
func (b Bits) Complex() bool { return b&Complex != 0 }

// NewBits returns the bits with those dispositions.
func NewBits(complex bool, remote, local Disposition) Bits {
	b := Bits(local)<<8 | Bits(remote)
	if complex {
		b |= Complex
	}
	return b
}

// readHeader reads the first HeaderSize bytes of b, which are there.
func readHeader(b []byte) Header {
	le := binary.LittleEndian
	return Header{
		Bits:     Bits(le.Uint32(b)),
		Size:     le.Uint32(b[4:]),
		Remote:   le.Uint32(b[8:]),
		Local:    le.Uint32(b[12:]),
		Reserved: le.Uint32(b[16:]),
		ID:       int32(le.Uint32(b[20:])),
	}
}

// Append appends the header to b, HeaderSize bytes.
func (h Header) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(h.Bits))
	b = le.AppendUint32(b, h.Size)
	b = le.AppendUint32(b, h.Remote)
	b = le.AppendUint32(b, h.Local)
	b = le.AppendUint32(b, h.Reserved)
	return le.AppendUint32(b, uint32(h.ID))
}
