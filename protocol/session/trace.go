// SPDX-License-Identifier: Apache-2.0

package session

// Trace is the payload of TRACE: a TRACED for each message of the bootstrap
// fronts that is about a name of the pattern.
type Trace struct {
	Pattern string // as WATCH's; empty: also messages that name nothing
}

func (m *Trace) fields(c *codec) {
	c.text(1, &m.Pattern)
}

// Append appends the encoded message to b.
func (m Trace) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseTrace decodes a payload.
func ParseTrace(b []byte) (m Trace, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Trace")
}

// Traced is the payload of TRACED: one message and how it went.
type Traced struct {
	Time      uint64 // microseconds since 1970
	PID       uint32 // who sent it; of a notification: whom it was sent to
	UID       uint32
	Program   string // its executable's name; empty: it is not known
	Namespace string // as a path
	Protocol  string // "mach" or "xpc"
	ID        uint32 // of the message, in two's complement
	Routine   string // with its dialect, such as "look_up (canonical)"
	Name      string // what it is about; of several, with spaces between; empty: none
	Code      uint32 // of the reply, in two's complement
	Outcome   string // what the code means
	Lost      uint64 // messages before this one that found no room
}

func (m *Traced) fields(c *codec) {
	c.uint64(1, &m.Time)
	c.uint32(2, &m.PID)
	c.uint32(3, &m.UID)
	c.text(4, &m.Program)
	c.text(5, &m.Namespace)
	c.text(6, &m.Protocol)
	c.uint32(7, &m.ID)
	c.text(8, &m.Routine)
	c.text(9, &m.Name)
	c.uint32(10, &m.Code)
	c.text(11, &m.Outcome)
	c.uint64(12, &m.Lost)
}

// Append appends the encoded message to b.
func (m Traced) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseTraced decodes a payload.
func ParseTraced(b []byte) (m Traced, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Traced")
}
