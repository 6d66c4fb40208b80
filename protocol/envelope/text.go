// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

func (c *codec) text(num protowire.Number, p *string) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		c.readText(p)
	} else if *p != "" {
		c.writeText(num, *p)
	}
}

// texts are strings, each written as by text, also if it is empty.
func (c *codec) texts(num protowire.Number, p *[]string) {
	switch {
	case !c.at(num):
	case c.writing:
		for _, s := range *p {
			c.writeText(num, s)
		}
	default:
		var s string
		c.readText(&s)
		*p = append(*p, s)
	}
}

// writeText replaces bytes that are not UTF-8 by U+FFFD: no reader would take
// the message otherwise.
func (c *codec) writeText(num protowire.Number, s string) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
	c.out = protowire.AppendString(c.out, s)
}

func (c *codec) readText(p *string) {
	switch {
	case !c.is(protowire.BytesType):
	case !utf8.Valid(c.data):
		c.fail(errText)
	case c.shared != "":
		end := len(c.shared) - len(c.in)
		*p = c.shared[end-len(c.data) : end]
	default:
		*p = string(c.data)
	}
}

// bytes are copied when they are read.
func (c *codec) bytes(num protowire.Number, p *[]byte) {
	if c.at(num) {
		v := *p
		if c.view(num, &v); !c.writing {
			*p = clone(v)
		}
	}
}

// clone returns nil for nothing.
func clone(b []byte) []byte { return append([]byte(nil), b...) }

// view are bytes that alias the input when they are read.
func (c *codec) view(num protowire.Number, p *[]byte) {
	switch {
	case !c.at(num):
	case !c.writing:
		if c.is(protowire.BytesType) {
			if *p = nil; len(c.data) > 0 {
				*p = c.data[:len(c.data):len(c.data)]
			}
		}
	case len(*p) > 0:
		c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
		c.out = protowire.AppendBytes(c.out, *p)
	}
}
