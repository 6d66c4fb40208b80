// SPDX-License-Identifier: Apache-2.0

package envelope

// HandoffOffer offers a client's connection to a backend (section 10).
type HandoffOffer struct {
	HandleValue   uint64 // Windows: the handle in the backend; else 0
	Token         []byte // 16 bytes
	ServiceName   string
	CorrelationID uint64 // Negotiated.ConnectionID; also the frame's request id
}

func (m *HandoffOffer) fields(c *codec) {
	if c.writing {
		c.explicit(1, m.HandleValue) // 0 too, as the original does
	} else {
		c.uint64(1, &m.HandleValue)
	}
	c.bytes(2, &m.Token)
	c.text(3, &m.ServiceName)
	c.uint64(4, &m.CorrelationID)
}

// Append appends the message.
func (m HandoffOffer) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseHandoffOffer reads a HandoffOffer.
func ParseHandoffOffer(b []byte) (HandoffOffer, error) {
	var m HandoffOffer
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("HandoffOffer")
}

// Frame returns the frame that carries the offer.
func (m HandoffOffer) Frame() Frame {
	return Frame{EnvelopeVersion: Version, PayloadProtocol: Handoff, Payload: m.Append(nil), RequestID: m.CorrelationID}
}

// HandoffAck answers a HandoffOffer; as an event it tells the client.
type HandoffAck struct {
	Token         []byte // that of the offer
	Accepted      bool
	ErrorDetail   string
	CorrelationID uint64 // that of the offer
}

func (m *HandoffAck) fields(c *codec) {
	c.bytes(1, &m.Token)
	c.bool(2, &m.Accepted)
	c.text(3, &m.ErrorDetail)
	c.uint64(4, &m.CorrelationID)
}

// Append appends the message.
func (m HandoffAck) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseHandoffAck reads a HandoffAck.
func ParseHandoffAck(b []byte) (HandoffAck, error) {
	var m HandoffAck
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("HandoffAck")
}

// Frame returns the frame that carries the ack: a Response of the backend's to
// the broker, or an Event of the broker's to the client.
func (m HandoffAck) Frame(kind Kind) Frame {
	return Frame{EnvelopeVersion: Version, Kind: kind, PayloadProtocol: Handoff, Payload: m.Append(nil), RequestID: m.CorrelationID}
}
