// SPDX-License-Identifier: Apache-2.0

package session

// HandOver is the payload of HAND_OVER: a caller for a name of this session. It
// comes with the connection.
type HandOver struct {
	Connection uint64 // never used twice by one broker
	Lease      uint64
	Preamble   []byte // what the taker writes first, behind TAKEN
}

func (m *HandOver) fields(c *codec) {
	c.uint64(1, &m.Connection)
	c.uint64(2, &m.Lease)
	c.bytes(3, &m.Preamble)
}

// Append appends the encoded message to b.
func (m HandOver) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseHandOver decodes a payload.
func ParseHandOver(b []byte) (m HandOver, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("HandOver")
}

// Change is the payload of CHANGE: what happened, in order.
type Change struct {
	Changed []Changed
}

func (m *Change) fields(c *codec) {
	c.changes(1, &m.Changed)
}

// Append appends the encoded message to b.
func (m Change) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseChange decodes a payload.
func ParseChange(b []byte) (m Change, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Change")
}

// Changed is what happened to one name.
type Changed struct {
	Kind   ChangeKind
	Entry  Entry  // as it is now; with ChangeGone: as it was
	Reason string // with ChangeGone: why, for people
}

func (m *Changed) fields(c *codec) {
	c.enum(1, (*uint32)(&m.Kind))
	c.entry(2, &m.Entry)
	c.text(3, &m.Reason)
}

// Append appends the encoded message to b.
func (m Changed) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseChanged decodes a payload.
func ParseChanged(b []byte) (m Changed, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Changed")
}

// Ended is the payload of ENDED: a lease is gone without the client's doing.
type Ended struct {
	Lease  uint64
	Reason string // for people
}

func (m *Ended) fields(c *codec) {
	c.uint64(1, &m.Lease)
	c.text(2, &m.Reason)
}

// Append appends the encoded message to b.
func (m Ended) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseEnded decodes a payload.
func ParseEnded(b []byte) (m Ended, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Ended")
}

// Bye is the payload of BYE: the session ends now.
type Bye struct {
	Code   Code
	Reason string // for people
}

func (m *Bye) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Reason)
}

// Append appends the encoded message to b.
func (m Bye) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseBye decodes a payload.
func ParseBye(b []byte) (m Bye, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Bye")
}
