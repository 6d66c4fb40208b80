// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth is how deeply messages and groups may nest; only groups can, which are
// unknown fields: the messages known here are four deep at most.
const maxDepth = 100

// codec reads or writes the fields of one message. Each message lists its
// fields once, in a method `fields(c *codec)`, one call per field in the order
// of their numbers:
//
//   - writing: the method runs once, and every call appends its field to out
//     unless the field is zero;
//   - reading: the method runs once for each field on the wire, and the call
//     with that number takes it; if no call has it, the field is unknown and
//     so skipped.
//
// What is read is what the original's decoder reads: numbers are cut to the
// width of their field, the last of several wins, and a known field with
// another wire type is a fault.
type codec struct {
	out     []byte
	writing bool

	in     []byte           // what has not been read
	shared string           // a copy of all that was in at first, of which text is a part; empty: text is copied
	num    protowire.Number // of the field at hand; 0 while writing
	typ    protowire.Type
	value  uint64 // of a varint
	data   []byte // of a length-delimited field, aliasing in
	depth  int    // what may still be entered
	err    error  // the first fault; ends the reading
}

func reader(b []byte) codec { return codec{in: b, depth: maxDepth} }

func writer(b []byte) codec { return codec{out: b, writing: true} }

// fault is what can be wrong with a field.
type fault string

const (
	errTruncated fault = "is truncated"
	errNumber    fault = "has an impossible field number"
	errMalformed fault = "is malformed"
	errWireType  fault = "has the wrong wire type"
	errText      fault = "is not UTF-8"
	errNested    fault = "is nested too deeply"
)

func (f fault) Error() string { return string(f) }

// result returns the error of a Parse function for the message of that name.
func (c *codec) result(message string) error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("cannot decode %s: %w", message, c.err)
}

// next reads one field into num, typ, and value or data. It returns false at
// the end of the input and at a fault.
func (c *codec) next() bool {
	if c.err != nil || len(c.in) == 0 {
		return false
	}
	num, typ, n := protowire.Number(c.in[0]>>3), protowire.Type(c.in[0]&7), 1
	if c.in[0] >= 0x80 || num == 0 { // not the usual tag of one byte
		num, typ, n = protowire.ConsumeTag(c.in)
	}
	if n < 0 || num > protowire.MaxValidNumber {
		c.num = 0
		c.fail(wireFault(n, errNumber))
		return false
	}
	c.num, c.typ, c.in = num, typ, c.in[n:]
	switch typ {
	case protowire.VarintType:
		c.value, n = protowire.ConsumeVarint(c.in)
	case protowire.BytesType:
		c.data, n = protowire.ConsumeBytes(c.in)
	default:
		n = skip(num, typ, c.in, c.depth)
	}
	if n < 0 {
		c.fail(wireFault(n, errMalformed))
		return false
	}
	c.in = c.in[n:]
	return true
}

// tooDeep is an answer of skip's, beside those of protowire.
const tooDeep = -1000

// skip returns the length of a field's value, or a negative error.
func skip(num protowire.Number, typ protowire.Type, b []byte, depth int) int {
	if depth == 0 {
		return tooDeep
	}
	if typ != protowire.StartGroupType {
		return protowire.ConsumeFieldValue(num, typ, b)
	}
	size := len(b)
	for {
		inner, t, n := protowire.ConsumeTag(b)
		if n < 0 {
			return n
		}
		b = b[n:]
		if t == protowire.EndGroupType && inner == num {
			return size - len(b)
		}
		if n = skip(inner, t, b, depth-1); n < 0 {
			return n
		}
		b = b[n:]
	}
}

// wireFault translates an error of protowire's: the input is too short, nested
// too deeply, or else what is other.
func wireFault(n int, other fault) fault {
	switch {
	case n == tooDeep:
		return errNested
	case n < 0 && errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF):
		return errTruncated
	}
	return other
}

// fail notes the first fault of the field at hand.
func (c *codec) fail(f fault) {
	switch {
	case c.err != nil:
	case c.num == 0:
		c.err = fmt.Errorf("a tag %w", f)
	default:
		c.err = fmt.Errorf("field %d %w", c.num, f)
	}
}

// at reports whether field num is to be written, or is the one being read.
func (c *codec) at(num protowire.Number) bool { return c.writing || c.num == num }

// is reports whether the field being read has wire type t, and fails if not.
func (c *codec) is(t protowire.Type) bool {
	if c.typ != t {
		c.fail(errWireType)
		return false
	}
	return true
}

func (c *codec) uint64(num protowire.Number, p *uint64) {
	if c.at(num) {
		c.varint(num, p)
	}
}

func (c *codec) uint32(num protowire.Number, p *uint32) {
	if c.at(num) {
		v := uint64(*p)
		c.varint(num, &v)
		*p = uint32(v)
	}
}

// int32 is a signed number or an enum; those below zero take ten bytes.
func (c *codec) int32(num protowire.Number, p *int32) {
	if c.at(num) {
		v := uint64(int64(*p))
		c.varint(num, &v)
		*p = int32(v)
	}
}

// enum is a field of an open enum type: numbers that mean nothing here pass.
func enum[T ~uint32](c *codec, num protowire.Number, p *T) {
	if c.at(num) {
		v := int32(*p)
		c.int32(num, &v)
		*p = T(v)
	}
}

func (c *codec) bool(num protowire.Number, p *bool) {
	if c.at(num) {
		v := protowire.EncodeBool(*p)
		c.varint(num, &v)
		*p = v != 0
	}
}

// optional is a number whose presence counts.
func (c *codec) optional(num protowire.Number, p **uint32) {
	switch {
	case !c.at(num):
	case !c.writing:
		if c.is(protowire.VarintType) {
			v := uint32(c.value)
			*p = &v
		}
	case *p != nil:
		c.explicit(num, uint64(**p))
	}
}

func (c *codec) varint(num protowire.Number, p *uint64) {
	switch {
	case c.writing:
		if *p != 0 {
			c.explicit(num, *p)
		}
	case c.is(protowire.VarintType):
		*p = c.value
	}
}

// explicit writes a number even if it is 0.
func (c *codec) explicit(num protowire.Number, v uint64) {
	c.out = protowire.AppendTag(c.out, num, protowire.VarintType)
	c.out = protowire.AppendVarint(c.out, v)
}
