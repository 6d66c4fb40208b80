// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

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
// The calls let the codec and the message stay on the stack: neither reading nor
// writing allocates, except for the values that are kept.
type codec struct {
	out     []byte
	writing bool

	in    []byte           // what has not been read
	num   protowire.Number // of the field at hand; 0 while writing
	typ   protowire.Type
	value uint64 // of a varint
	data  []byte // of a length-delimited field, aliasing in
	err   error  // the first fault; ends the reading
}

// fault is what can be wrong with a field.
type fault string

const (
	errTruncated fault = "is truncated"
	errNumber    fault = "has an impossible field number"
	errMalformed fault = "is malformed"
	errWireType  fault = "has the wrong wire type"
	errText      fault = "is not UTF-8"
	errRange     fault = "is out of range"
	errID        fault = "is not 16 bytes long"
)

func (f fault) Error() string { return string(f) }

// fieldError is a fault in one field, or in a tag if num is 0. Those of nested
// messages nest.
type fieldError struct {
	num protowire.Number
	err error
}

func (e *fieldError) Error() string {
	if e.num == 0 {
		return fmt.Sprintf("a tag %v", e.err)
	}
	if inner, ok := e.err.(*fieldError); ok {
		return fmt.Sprintf("field %d, %v", e.num, inner)
	}
	return fmt.Sprintf("field %d %v", e.num, e.err)
}

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
	num, typ, n := protowire.ConsumeTag(c.in)
	if n < 0 || num > protowire.MaxValidNumber {
		c.num = 0
		c.fail(wireError(n, errNumber))
		return false
	}
	c.num, c.typ, c.in = num, typ, c.in[n:]
	switch typ {
	case protowire.VarintType:
		c.value, n = protowire.ConsumeVarint(c.in)
	case protowire.BytesType:
		c.data, n = protowire.ConsumeBytes(c.in)
	default:
		n = protowire.ConsumeFieldValue(num, typ, c.in)
	}
	if n < 0 {
		c.fail(wireError(n, errMalformed))
		return false
	}
	c.in = c.in[n:]
	return true
}

// wireError translates an error of protowire's: the input is too short, or else
// what is other.
func wireError(n int, other fault) error {
	if n < 0 && errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return errTruncated
	}
	return other
}

// fail notes the first fault of the field at hand.
func (c *codec) fail(err error) {
	if c.err == nil {
		c.err = &fieldError{c.num, err}
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
		c.varint(num, p, math.MaxUint64)
	}
}

func (c *codec) uint32(num protowire.Number, p *uint32) {
	if c.at(num) {
		c.varint32(num, p, math.MaxUint32)
	}
}

// enum is a field of an open enum type: numbers that mean nothing here pass,
// negative ones do not.
func (c *codec) enum(num protowire.Number, p *uint32) {
	if c.at(num) {
		c.varint32(num, p, math.MaxInt32)
	}
}

func (c *codec) bool(num protowire.Number, p *bool) {
	if c.at(num) {
		v := protowire.EncodeBool(*p)
		c.varint(num, &v, 1)
		*p = v != 0
	}
}

func (c *codec) varint32(num protowire.Number, p *uint32, most uint64) {
	v := uint64(*p)
	c.varint(num, &v, most)
	*p = uint32(v)
}

func (c *codec) varint(num protowire.Number, p *uint64, most uint64) {
	switch {
	case c.writing && *p != 0:
		c.out = protowire.AppendTag(c.out, num, protowire.VarintType)
		c.out = protowire.AppendVarint(c.out, *p)
	case c.writing || !c.is(protowire.VarintType):
	case c.value > most:
		c.fail(errRange)
	default:
		*p = c.value
	}
}

// text is a string. Writing replaces bytes that are not UTF-8 by U+FFFD: paths
// of the kernel may hold any, and must not end the session of who reads them.
func (c *codec) text(num protowire.Number, p *string) {
	if c.at(num) {
		c.textField(num, p)
	}
}

func (c *codec) textField(num protowire.Number, p *string) {
	if !c.writing {
		if v, ok := c.checked(); ok {
			*p = string(v)
		}
		return
	}
	s := *p
	if s == "" {
		return
	}
	if utf8.ValidString(s) {
		c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
		c.out = protowire.AppendString(c.out, s)
		return
	}
	start := c.open(num)
	for _, r := range s {
		c.out = utf8.AppendRune(c.out, r)
	}
	c.close(start)
}

// texts are strings, each written as by text, also if it is empty.
func (c *codec) texts(num protowire.Number, p *[]string) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		if v, ok := c.checked(); ok {
			*p = append(*p, string(v))
		}
		return
	}
	for i := range *p {
		if (*p)[i] == "" {
			c.close(c.open(num))
		}
		c.textField(num, &(*p)[i])
	}
}

// uint64s are numbers in one field: packed, which is the only form that is read.
func (c *codec) uint64s(num protowire.Number, p *[]uint64) {
	switch {
	case !c.at(num):
	case !c.writing:
		c.packed(p)
	case len(*p) > 0:
		start := c.open(num)
		for _, v := range *p {
			c.out = protowire.AppendVarint(c.out, v)
		}
		c.close(start)
	}
}

func (c *codec) packed(p *[]uint64) {
	if !c.is(protowire.BytesType) {
		return
	}
	for rest := c.data; len(rest) > 0; {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			c.fail(wireError(n, errMalformed))
			return
		}
		*p, rest = append(*p, v), rest[n:]
	}
}

// view is a string that is read only, and aliases the input.
func (c *codec) view(num protowire.Number, p *[]byte) {
	if c.at(num) {
		if v, ok := c.checked(); ok {
			*p = v
		}
	}
}

// checked returns the field being read as text.
func (c *codec) checked() ([]byte, bool) {
	if !c.is(protowire.BytesType) {
		return nil, false
	}
	if !utf8.Valid(c.data) {
		c.fail(errText)
		return nil, false
	}
	return c.data, true
}

func (c *codec) bytes(num protowire.Number, p *[]byte) {
	switch {
	case !c.at(num):
	case !c.writing:
		if c.is(protowire.BytesType) {
			*p = append([]byte(nil), c.data...)
		}
	case len(*p) > 0:
		c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
		c.out = protowire.AppendBytes(c.out, *p)
	}
}

// id is a 128-bit identity; all zero bits are none.
func (c *codec) id(num protowire.Number, p *[16]byte) {
	switch {
	case !c.at(num):
	case c.writing && *p != [16]byte{}:
		c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
		c.out = protowire.AppendBytes(c.out, p[:])
	case c.writing || !c.is(protowire.BytesType):
	case len(c.data) != len(p):
		c.fail(errID)
	default:
		copy(p[:], c.data)
	}
}

// open begins a nested message: the caller writes its fields, then closes it.
func (c *codec) open(num protowire.Number) (start int) {
	c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
	c.out = append(c.out, 0) // the length, if it is below 128
	return len(c.out)
}

// close ends the nested message that open began.
func (c *codec) close(start int) {
	size := len(c.out) - start
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 {
		c.out = append(c.out, "0123456789"[:more]...)
		copy(c.out[start+more:], c.out[start:start+size])
	}
	protowire.AppendVarint(c.out[:start-1], uint64(size))
}

// nested returns a codec for the fields of the nested message being read, which
// the caller reads before it hands the outcome up to leave.
func (c *codec) nested() codec {
	if !c.is(protowire.BytesType) {
		return codec{}
	}
	return codec{in: c.data}
}

func (c *codec) leave(inner *codec) {
	if inner.err != nil {
		c.fail(inner.err)
	}
}
