// SPDX-License-Identifier: Apache-2.0

package session

// Shutdown is the payload of SHUTDOWN. The empty one stops what the broker launched.
type Shutdown struct {
	KeepBackends bool // leave them for the next broker
}

func (m *Shutdown) fields(c *codec) {
	c.bool(1, &m.KeepBackends)
}

// Append appends the encoded message to b.
func (m Shutdown) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseShutdown decodes a payload.
func ParseShutdown(b []byte) (m Shutdown, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Shutdown")
}

// Declare is the payload of DECLARE: a command on the spot, which a call of the name
// (mach: a look-up of one of its ports) launches as long as the lease lasts.
type Declare struct {
	Name    string
	Version string   // a constraint such as ^1.2; empty: none
	Scope   string   // an absolute path; empty: none
	Accept  string   // "listener", "connection", "path", "native" or "mach"; empty: listener
	Exec    []string // the program, absolute, and its arguments
	Env     []string // "K=V", added to the clean environment
	Dir     string   // working folder, absolute; empty: the scope, or /
	Notify  bool     // ready when it says READY=1 to $NOTIFY_SOCKET
	Ports   []string // with mach: the names of its ports; empty: the name
}

func (m *Declare) fields(c *codec) {
	c.text(1, &m.Name)
	c.text(2, &m.Version)
	c.text(3, &m.Scope)
	c.text(4, &m.Accept)
	c.texts(5, &m.Exec)
	c.texts(6, &m.Env)
	c.text(7, &m.Dir)
	c.bool(8, &m.Notify)
	c.texts(9, &m.Ports)
}

// Append appends the encoded message to b.
func (m Declare) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseDeclare decodes a payload.
func ParseDeclare(b []byte) (m Declare, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Declare")
}

// DeclareReply answers DECLARE.
type DeclareReply struct {
	Code    Code
	Text    string
	Lease   uint64
	Version string // that an instance of it has; empty: none
}

func (m *DeclareReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint64(3, &m.Lease)
	c.text(4, &m.Version)
}

// Append appends the encoded message to b.
func (m DeclareReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseDeclareReply decodes a payload.
func ParseDeclareReply(b []byte) (m DeclareReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("DeclareReply")
}

// Select is the payload of STOP, RESTART and RETIRE: which backends of a name.
type Select struct {
	Name    string
	Version string // a constraint; empty: any
	Scope   string // an absolute path; empty: any
}

func (m *Select) fields(c *codec) {
	c.text(1, &m.Name)
	c.text(2, &m.Version)
	c.text(3, &m.Scope)
}

// Append appends the encoded message to b.
func (m Select) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseSelect decodes a payload.
func ParseSelect(b []byte) (m Select, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Select")
}

// BackendsReply answers STOP, RESTART and RETIRE.
type BackendsReply struct {
	Code     Code
	Text     string
	Backends []uint64 // STOP, RETIRE: those selected; RESTART: the new ones
}

func (m *BackendsReply) fields(c *codec) {
	c.uint32(1, (*uint32)(&m.Code))
	c.text(2, &m.Text)
	c.uint64s(3, &m.Backends)
}

// Append appends the encoded message to b.
func (m BackendsReply) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseBackendsReply decodes a payload.
func ParseBackendsReply(b []byte) (m BackendsReply, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("BackendsReply")
}

// Started is the payload of STARTED: a backend that RESTART launched is ready.
type Started struct {
	Lease uint64 // the backend's, from the BackendsReply
}

func (m *Started) fields(c *codec) {
	c.uint64(1, &m.Lease)
}

// Append appends the encoded message to b.
func (m Started) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseStarted decodes a payload.
func ParseStarted(b []byte) (m Started, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Started")
}
