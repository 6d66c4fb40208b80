// SPDX-License-Identifier: Apache-2.0

package session

// Reply answers RELEASE, WATCH, UNWATCH, SHUTDOWN and TRACE. Every reply begins with
// its two fields, so that ParseReply reads how any request went.
type Reply struct {
	Code Code
	Text string // for people; empty when all is well
}

func (m *Reply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
}

// Append appends the encoded message to b.
func (m Reply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseReply decodes a payload.
func ParseReply(b []byte) (m Reply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Reply")
}

// HelloReply answers HELLO.
type HelloReply struct {
	Code      Code
	Text      string
	PID       uint32   // the broker's
	Version   string   // the broker's
	Broker    [16]byte // new with each broker
	Namespace string   // the session's, as a path: "/" or "/ci/job"
	Sequence  uint64   // the last one applied; 0 for a new session
	Resumed   bool     // this continues a session that the broker knows
}

func (m *HelloReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint32(3, &m.PID)
	c.text(4, &m.Version)
	c.id(5, &m.Broker)
	c.text(6, &m.Namespace)
	c.uint64(7, &m.Sequence)
	c.bool(8, &m.Resumed)
}

// Append appends the encoded message to b.
func (m HelloReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseHelloReply decodes a payload.
func ParseHelloReply(b []byte) (m HelloReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("HelloReply")
}

// LookUpReply answers LOOK_UP.
type LookUpReply struct {
	Code  Code
	Text  string
	Entry Entry // zero when Code is not OK
}

func (m *LookUpReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.entry(3, &m.Entry)
}

// Append appends the encoded message to b.
func (m LookUpReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseLookUpReply decodes a payload.
func ParseLookUpReply(b []byte) (m LookUpReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("LookUpReply")
}

// ClaimReply answers CLAIM.
type ClaimReply struct {
	Code  Code
	Text  string
	Lease uint64
	Path  string // with AcceptListener: where the socket is bound
}

func (m *ClaimReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint64(3, &m.Lease)
	c.text(4, &m.Path)
}

// Append appends the encoded message to b.
func (m ClaimReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseClaimReply decodes a payload.
func ParseClaimReply(b []byte) (m ClaimReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("ClaimReply")
}

// NamespaceReply answers NAMESPACE.
type NamespaceReply struct {
	Code      Code
	Text      string
	Namespace uint64
	Path      string // such as "/ci/job"
}

func (m *NamespaceReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint64(3, &m.Namespace)
	c.text(4, &m.Path)
}

// Append appends the encoded message to b.
func (m NamespaceReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseNamespaceReply decodes a payload.
func ParseNamespaceReply(b []byte) (m NamespaceReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("NamespaceReply")
}

// DoorReply answers DOOR.
type DoorReply struct {
	Code  Code
	Text  string
	Lease uint64 // the door's
}

func (m *DoorReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint64(3, &m.Lease)
}

// Append appends the encoded message to b.
func (m DoorReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseDoorReply decodes a payload.
func ParseDoorReply(b []byte) (m DoorReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("DoorReply")
}

// StatusReply answers STATUS.
type StatusReply struct {
	Code        Code
	Text        string
	PID         uint32
	Version     string
	Started     uint64 // milliseconds since 1970
	UID         uint32
	Folder      string // the runtime folder
	Sessions    uint64
	Names       uint64
	Namespaces  uint64
	Watches     uint64
	Waiting     uint64    // callers that wait now
	HandedOver  uint64    // connections, since the start
	Refused     uint64    // callers, since the start
	Descriptors uint64    // in the broker's table
	Services    []string  // folders with definitions, in the order in which they count
	Backends    uint64    // that run, or are being started or ended
	Launches    uint64    // of backends, since the start
	Ports       uint64    // of Names
	Failures    []Failure // services whose last start failed, of the root, the first few
}

func (m *StatusReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint32(3, &m.PID)
	c.text(4, &m.Version)
	c.uint64(5, &m.Started)
	c.uint32(6, &m.UID)
	c.text(7, &m.Folder)
	c.uint64(8, &m.Sessions)
	c.uint64(9, &m.Names)
	c.uint64(10, &m.Namespaces)
	c.uint64(11, &m.Watches)
	c.uint64(12, &m.Waiting)
	c.uint64(13, &m.HandedOver)
	c.uint64(14, &m.Refused)
	c.uint64(15, &m.Descriptors)
	c.texts(16, &m.Services)
	c.uint64(17, &m.Backends)
	c.uint64(18, &m.Launches)
	c.uint64(19, &m.Ports)
	c.failures(20, &m.Failures)
}

// Append appends the encoded message to b.
func (m StatusReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseStatusReply decodes a payload.
func ParseStatusReply(b []byte) (m StatusReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("StatusReply")
}
