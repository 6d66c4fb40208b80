// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"encoding/binary"
	"strings"
)

// NameSize is the length of the field of a name or label: one byte more than the
// longest (section 2).
const NameSize = 128

// ndr is the one record that says how numbers are written which is accepted:
// little-endian (section 1.3).
var ndr = [8]byte{4: 1}

// codec reads or writes the fields after a header, in their order. Each layout is
// listed once, as calls on a codec. When reading, the packet has the exact size of
// its layout, which dispatch has made sure of, so no call runs out of bytes.
type codec struct {
	b       []byte // reading: what is left; writing: what there is
	writing bool
	code    Code // the first fault
	why     string
}

func (c *codec) fail(code Code, why string) {
	if c.code == OK {
		c.code, c.why = code, why
	}
}

// take returns the next n bytes of what is read.
func (c *codec) take(n int) []byte {
	if len(c.b) < n { // only if a layout and its size in the table differ
		c.fail(BadArguments, "the message is too short")
		return make([]byte, n)
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *codec) uint16(p *uint16) {
	if c.writing {
		c.b = binary.LittleEndian.AppendUint16(c.b, *p)
		return
	}
	*p = binary.LittleEndian.Uint16(c.take(2))
}

func (c *codec) uint32(p *uint32) {
	if c.writing {
		c.b = binary.LittleEndian.AppendUint32(c.b, *p)
		return
	}
	*p = binary.LittleEndian.Uint32(c.take(4))
}

func (c *codec) uint64(p *uint64) {
	if c.writing {
		c.b = binary.LittleEndian.AppendUint64(c.b, *p)
		return
	}
	*p = binary.LittleEndian.Uint64(c.take(8))
}

func (c *codec) int32(p *int32) {
	v := uint32(*p)
	c.uint32(&v)
	*p = int32(v)
}

func (c *codec) bytes16(p *[16]byte) {
	if c.writing {
		c.b = append(c.b, p[:]...)
		return
	}
	*p = [16]byte(c.take(16))
}

func (c *codec) ndr() {
	if c.writing {
		c.b = append(c.b, ndr[:]...)
		return
	}
	if [8]byte(c.take(8)) != ndr {
		c.fail(BadArguments, "the NDR record is not the canonical one")
	}
}

// name is a field of NameSize bytes that ends with a NUL; what follows that is not
// looked at.
func (c *codec) name(p *string) {
	c.text(p, NameSize)
	if fault := nameFault(*p); fault != "" {
		c.fail(BadArguments, fault)
	}
}

// counted is a name of the seed dialect: its length comes first.
func (c *codec) counted(p *string) {
	n := uint32(len(*p))
	c.uint32(&n)
	c.name(p)
	if c.code == OK && n != uint32(len(*p)) {
		c.fail(BadArguments, "name_len is not the length of the name")
	}
}

// text is a field of that many bytes, the last of which at the latest is a NUL.
func (c *codec) text(p *string, size int) {
	if c.writing {
		if len(*p) >= size || strings.IndexByte(*p, 0) >= 0 {
			c.fail(BadArguments, "the text does not fit in its field")
			return
		}
		c.b = append(c.b, *p...)
		c.b = append(c.b, make([]byte, size-len(*p))...)
		return
	}
	field := c.take(size)
	for i, x := range field {
		if x == 0 {
			*p = string(field[:i])
			return
		}
	}
	c.fail(BadArguments, "the text has no NUL")
}

// nameFault says what is wrong with a name in a field of its own (section 4.2);
// empty: nothing.
func nameFault(s string) string {
	switch {
	case s == "":
		return "the name is empty"
	case len(s) >= NameSize:
		return "the name is longer than 127 bytes"
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return "the name has a control byte"
		}
	}
	return ""
}

// count is how many descriptors follow.
func (c *codec) count(want uint32) {
	n := want
	c.uint32(&n)
	if n != want {
		c.fail(BadArguments, "there is another number of descriptors")
	}
}

// right is a port descriptor whose disposition allowed accepts.
func (c *codec) right(p *Right, allowed func(Disposition) bool) {
	d := Descriptor{Kind: PortKind, Disposition: p.Disposition, Fd: p.Fd}
	c.descriptor(&d, portSize, PortKind)
	if !allowed(d.Disposition) {
		c.fail(TypeError, "the right has a disposition that is not accepted")
	}
	*p = Right{d.Fd, d.Disposition}
}

// memory is the descriptor of out-of-line memory, or of ports.
func (c *codec) memory(p *Memory, kind Kind) {
	d := Descriptor{Kind: kind, Fd: p.Fd, Length: p.Length, Deallocate: p.Deallocate, Copy: p.Copy}
	if kind == PortsKind {
		d.Disposition = MoveSend
	}
	c.descriptor(&d, memorySize, kind)
	*p = Memory{d.Fd, d.Length, d.Deallocate, d.Copy}
}

func (c *codec) descriptor(d *Descriptor, size int, kind Kind) {
	if c.writing {
		c.b = d.Append(c.b)
		return
	}
	b := c.take(size)
	if Kind(b[11]) != kind {
		c.fail(TypeError, "a descriptor is of another kind")
		return
	}
	*d, _, _ = readDescriptor(b)
}

// Right is a port in a message: which file descriptor it is, and what kind.
type Right struct {
	Fd          Fd
	Disposition Disposition
}

// Memory is out-of-line memory in a message: a sealed memfd.
type Memory struct {
	Fd         Fd
	Length     uint32 // in bytes; of ports: how many
	Deallocate bool
	Copy       uint8
}
