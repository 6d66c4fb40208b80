// SPDX-License-Identifier: Apache-2.0

package session

import "google.golang.org/protobuf/encoding/protowire"

// Entry is one name and who has it.
type Entry struct {
	Lease       uint64 // identifies the entry; never used twice by one broker
	Name        string
	Namespace   string // where the name is, as a path
	Kind        EntryKind
	State       State
	PID         uint32 // the owner's
	UID         uint32
	Exe         string // the owner's executable, as a path
	Version     string // as claimed; empty: none
	Scope       string // as claimed, an absolute path; empty: none
	Path        string // the socket to connect to; empty: handed over by the broker
	Since       uint64 // when it was claimed, in milliseconds since 1970
	Connections uint32 // open ones, as far as the broker knows
	Callers     []Caller
	Instance    string // of a backend, 32 hex digits; empty: not launched by the broker
	Command     string // what was run, for people; empty: not launched by the broker
}

func (m *Entry) fields(c *codec) {
	c.uint64(1, &m.Lease)
	c.text(2, &m.Name)
	c.text(3, &m.Namespace)
	c.enum(4, (*uint32)(&m.Kind))
	c.enum(5, (*uint32)(&m.State))
	c.uint32(6, &m.PID)
	c.uint32(7, &m.UID)
	c.text(8, &m.Exe)
	c.text(9, &m.Version)
	c.text(10, &m.Scope)
	c.text(11, &m.Path)
	c.uint64(12, &m.Since)
	c.uint32(13, &m.Connections)
	c.callers(14, &m.Callers)
	c.text(15, &m.Instance)
	c.text(16, &m.Command)
}

// Append appends the encoded message to b.
func (m Entry) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseEntry decodes a payload.
func ParseEntry(b []byte) (m Entry, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Entry")
}

// Caller is one who is connected to a name.
type Caller struct {
	PID uint32
	UID uint32
}

func (m *Caller) fields(c *codec) {
	c.uint32(1, &m.PID)
	c.uint32(2, &m.UID)
}

// Append appends the encoded message to b.
func (m Caller) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseCaller decodes a payload.
func ParseCaller(b []byte) (m Caller, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Caller")
}

// The methods for fields that are messages are written out for each type: through
// an interface, or a type parameter, the codec would escape and be allocated.

// entry is left out if it is zero, like a scalar.
func (c *codec) entry(num protowire.Number, p *Entry) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		inner := c.nested()
		for inner.next() {
			p.fields(&inner)
		}
		c.leave(&inner)
		return
	}
	before := len(c.out)
	start := c.open(num)
	p.fields(c)
	if len(c.out) == start {
		c.out = c.out[:before]
		return
	}
	c.close(start)
}

func (c *codec) callers(num protowire.Number, p *[]Caller) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		var m Caller
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

func (c *codec) changes(num protowire.Number, p *[]Changed) {
	if !c.at(num) {
		return
	}
	if !c.writing {
		var m Changed
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
