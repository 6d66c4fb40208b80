// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// nest is a nested message whose fields are being read or written:
//
//	for n := enter(c, 1, &m.Inner); n.more(c); {
//		m.Inner.fields(c)
//	}
type nest struct {
	open  bool
	first bool             // writing: nothing has been written
	start int              // writing: of the fields in out
	rest  []byte           // reading: what follows the message
	num   protowire.Number // reading: of the message's field
}

// enter begins the message at p: if it is there, or is the one being read.
func enter[T any](c *codec, num protowire.Number, p **T) nest {
	if !c.at(num) || c.writing && *p == nil {
		return nest{}
	}
	if c.writing {
		return nest{open: true, first: true, start: c.open(num)}
	}
	n := c.descend()
	if n.open && *p == nil {
		*p = new(T)
	}
	return n
}

// descend begins the message that is being read.
func (c *codec) descend() nest {
	if !c.is(protowire.BytesType) {
		return nest{}
	}
	n := nest{open: true, rest: c.in, num: c.num}
	c.in, c.depth = c.data, c.depth-1
	return n
}

// more reads the next field, or begins the writing; at the end it goes back to
// the outer message and returns false.
func (n *nest) more(c *codec) bool {
	switch {
	case !n.open:
		return false
	case n.first:
		n.first = false
		return true
	case c.writing:
		c.close(n.start)
	case c.next():
		return true
	default:
		c.in, c.num = n.rest, n.num
		c.depth++
	}
	n.open = false
	return false
}

// repeated are messages of one field.
func repeated[T any](c *codec, num protowire.Number, p *[]T, fields func(*T, *codec)) {
	switch {
	case !c.at(num):
	case c.writing:
		for i := range *p {
			start := c.open(num)
			fields(&(*p)[i], c)
			c.close(start)
		}
	default:
		n := c.descend()
		if !n.open {
			return
		}
		var zero T
		*p = append(*p, zero)
		for n.more(c) {
			fields(&(*p)[len(*p)-1], c)
		}
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

// pairs are a map, written in the order of its keys.
func (c *codec) pairs(num protowire.Number, p *map[string]string) {
	switch {
	case !c.at(num):
	case c.writing:
		if len(*p) == 0 {
			return
		}
		for _, k := range slices.Sorted(maps.Keys(*p)) {
			v := (*p)[k]
			start := c.open(num)
			c.text(1, &k)
			c.text(2, &v)
			c.close(start)
		}
	default:
		var k, v string
		n := c.descend()
		for n.more(c) {
			c.text(1, &k)
			c.text(2, &v)
		}
		if c.err == nil {
			if *p == nil {
				*p = make(map[string]string)
			}
			(*p)[k] = v
		}
	}
}
