// SPDX-License-Identifier: Apache-2.0

package envelope

import "encoding/binary"

// Kind of a frame. Other numbers may come, and match none of these.
type Kind uint32

// The kinds of section 3.
const (
	Request  Kind = 0
	Response Kind = 1
	Event    Kind = 2 // what is sent unasked
	Cancel   Kind = 3
)

// Encoding of a frame's payload. Only None is ever accepted.
type Encoding uint32

// The encodings of section 3.
const (
	None   Encoding = 0
	Zstd   Encoding = 1
	Snappy Encoding = 2
	LZ4    Encoding = 3
)

// Frame is one envelope (section 3).
type Frame struct {
	EnvelopeVersion uint32 // Version
	Kind            Kind
	PayloadProtocol uint32 // Control, Admin, Probe, …
	Payload         []byte // the encoded inner message; of a parsed frame a view into its input
	RequestID       uint64 // the reply has the same
	PayloadEncoding Encoding
	DeadlineUnixMS  uint64 // read by nobody
	TraceParent     string // the reply has the same
	TraceState      string // the reply has the same
}

func (m *Frame) write(c *codec) {
	c.uint32(1, &m.EnvelopeVersion)
	enum(c, 2, &m.Kind)
	c.uint32(3, &m.PayloadProtocol)
	c.view(4, &m.Payload)
	c.uint64(5, &m.RequestID)
	enum(c, 6, &m.PayloadEncoding)
	c.uint64(7, &m.DeadlineUnixMS)
	c.text(8, &m.TraceParent)
	c.text(9, &m.TraceState)
}

// read takes the field at hand. A switch is quicker than the calls of write, and
// this message is in every request.
func (m *Frame) read(c *codec) {
	switch c.num {
	case 1:
		c.uint32(1, &m.EnvelopeVersion)
	case 2:
		enum(c, 2, &m.Kind)
	case 3:
		c.uint32(3, &m.PayloadProtocol)
	case 4:
		c.view(4, &m.Payload)
	case 5:
		c.uint64(5, &m.RequestID)
	case 6:
		enum(c, 6, &m.PayloadEncoding)
	case 7:
		c.uint64(7, &m.DeadlineUnixMS)
	case 8:
		c.text(8, &m.TraceParent)
	case 9:
		c.text(9, &m.TraceState)
	}
}

// Append appends the message, without a header.
func (m Frame) Append(b []byte) []byte {
	c := writer(b)
	m.write(&c)
	return c.out
}

// AppendFramed appends the header and the message.
func (m Frame) AppendFramed(b []byte) []byte {
	start := len(b)
	b = m.Append(append(b, Version, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(b[start+1:], uint32(len(b)-start-HeaderSize))
	return b
}

// ParseFrame reads the body behind a header. The frame's Payload is a view
// into body.
func ParseFrame(body []byte) (Frame, error) {
	var m Frame
	c := reader(body)
	for c.next() {
		m.read(&c)
	}
	return m, c.result("Frame")
}

// Reply returns a frame that answers m: its id and trace context, and no deadline.
func (m Frame) Reply(protocol uint32, payload []byte) Frame {
	return Frame{
		EnvelopeVersion: Version, Kind: Response, PayloadProtocol: protocol, Payload: payload,
		RequestID: m.RequestID, TraceParent: m.TraceParent, TraceState: m.TraceState,
	}
}

// Answer returns the frame that answers the Hello in m.
func (m Frame) Answer(reply HelloReply) Frame {
	return m.Reply(Control, reply.Append(make([]byte, 0, 192))) // the usual reply fits
}

// Refuse returns the frame that answers m with a refusal; m is the zero Frame
// if none could be parsed.
func (m Frame) Refuse(r Refusal) Frame { return m.Answer(r.Reply()) }

// Administer returns the frame that answers the AdminRequest in m.
func (m Frame) Administer(reply AdminReply) Frame { return m.Reply(Admin, reply.Append(nil)) }
