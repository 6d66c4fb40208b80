// SPDX-License-Identifier: Apache-2.0

package session

import "google.golang.org/protobuf/encoding/protowire"

// Failure is a service whose last start failed.
type Failure struct {
	Name    string
	Version string
	Scope   string
	Reason  string
	Wait    uint64   // milliseconds for which it is not tried again
	Ports   []string // of one with accept "mach": those that nobody gets a reply from
}

func (m *Failure) fields(c *codec) {
	c.text(1, &m.Name)
	c.text(2, &m.Version)
	c.text(3, &m.Scope)
	c.text(4, &m.Reason)
	c.uint64(5, &m.Wait)
	c.texts(6, &m.Ports)
}

// Append appends the encoded message to b.
func (m Failure) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseFailure decodes a payload.
func ParseFailure(b []byte) (m Failure, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Failure")
}

func (c *codec) failures(num protowire.Number, p *[]Failure) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		var m Failure
		inner := c.nested()
		for inner.next() {
			m.fields(&inner)
		}
		c.leave(&inner)
		*p = append(*p, m)
		return
	}
	for i := range *p {
		start := c.open(num)
		(*p)[i].fields(c)
		c.close(start)
	}
}
