// SPDX-License-Identifier: Apache-2.0

package session

// Hello is the payload of HELLO: the first request of a session, and once.
type Hello struct {
	Session  [16]byte // random, chosen once per process; all zero is none
	Program  string   // name of the program, for people
	Instance string   // of a backend: its $SWITCHBOARD_INSTANCE; empty: none
}

func (m *Hello) fields(c *codec) {
	c.id(1, &m.Session)
	c.text(2, &m.Program)
	c.text(3, &m.Instance)
}

// Append appends the encoded message to b.
func (m Hello) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseHello decodes a payload.
func ParseHello(b []byte) (m Hello, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Hello")
}

// LookUp is the payload of LOOK_UP.
type LookUp struct {
	Name    string
	Kind    EntryKind // EntryAny: of any kind
	Version string    // a constraint such as ^1.2; empty: any
	Scope   string    // an absolute path; empty: none
}

func (m *LookUp) fields(c *codec) {
	c.text(1, &m.Name)
	c.enum(2, (*uint32)(&m.Kind))
	c.text(3, &m.Version)
	c.text(4, &m.Scope)
}

// Append appends the encoded message to b.
func (m LookUp) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseLookUp decodes a payload.
func ParseLookUp(b []byte) (m LookUp, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("LookUp")
}

// LookUpView is a LookUp whose texts alias the payload that it was read from.
type LookUpView struct {
	Name    []byte
	Kind    EntryKind
	Version []byte
	Scope   []byte
}

// ViewLookUp is ParseLookUp for the hot path: it allocates nothing unless there
// is an error.
func ViewLookUp(payload []byte) (v LookUpView, err error) {
	c := codec{in: payload}
	for c.next() {
		c.view(1, &v.Name)
		c.enum(2, (*uint32)(&v.Kind))
		c.view(3, &v.Version)
		c.view(4, &v.Scope)
	}
	return v, c.result("LookUp")
}

// Claim is the payload of CLAIM: a name for this session, as a lease.
type Claim struct {
	Name    string
	Kind    EntryKind
	Version string // such as 1.4.0; empty: none
	Scope   string // an absolute path; empty: none
	Accept  Accept
	Path    string // with AcceptPath: the owner's socket, absolute
}

func (m *Claim) fields(c *codec) {
	c.text(1, &m.Name)
	c.enum(2, (*uint32)(&m.Kind))
	c.text(3, &m.Version)
	c.text(4, &m.Scope)
	c.enum(5, (*uint32)(&m.Accept))
	c.text(6, &m.Path)
}

// Append appends the encoded message to b.
func (m Claim) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseClaim decodes a payload.
func ParseClaim(b []byte) (m Claim, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Claim")
}

// Release is the payload of RELEASE: a lease of this session ends.
type Release struct {
	Lease uint64
}

func (m *Release) fields(c *codec) {
	c.uint64(1, &m.Lease)
}

// Append appends the encoded message to b.
func (m Release) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseRelease decodes a payload.
func ParseRelease(b []byte) (m Release, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Release")
}

// Watch is the payload of WATCH.
type Watch struct {
	Pattern string
	Kind    EntryKind // EntryAny: of any kind
}

func (m *Watch) fields(c *codec) {
	c.text(1, &m.Pattern)
	c.enum(2, (*uint32)(&m.Kind))
}

// Append appends the encoded message to b.
func (m Watch) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseWatch decodes a payload.
func ParseWatch(b []byte) (m Watch, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Watch")
}

// Unwatch is the payload of UNWATCH.
type Unwatch struct {
	Watch uint32 // the id of the WATCH or TRACE request
}

func (m *Unwatch) fields(c *codec) {
	c.uint32(1, &m.Watch)
}

// Append appends the encoded message to b.
func (m Unwatch) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseUnwatch decodes a payload.
func ParseUnwatch(b []byte) (m Unwatch, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Unwatch")
}

// Namespace is the payload of NAMESPACE: it joins the namespace of that name
// below the session's own, or makes it.
type Namespace struct {
	Name   string   // by the rule for names
	Sealed bool     // of the namespaces around it, nothing is seen from inside but Only
	Only   []string // names; with Sealed
}

func (m *Namespace) fields(c *codec) {
	c.text(1, &m.Name)
	c.bool(2, &m.Sealed)
	c.texts(3, &m.Only)
}

// Append appends the encoded message to b.
func (m Namespace) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseNamespace decodes a payload.
func ParseNamespace(b []byte) (m Namespace, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Namespace")
}

// Door is the payload of DOOR: the descriptor that comes with it becomes a door.
type Door struct {
	Namespace uint64 // from a NamespaceReply; 0: the session's own
}

func (m *Door) fields(c *codec) {
	c.uint64(1, &m.Namespace)
}

// Append appends the encoded message to b.
func (m Door) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseDoor decodes a payload.
func ParseDoor(b []byte) (m Door, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Door")
}

// Taken is the payload of TAKEN, sent before the taker touches a connection.
type Taken struct {
	Connection uint64 // from the HandOver
}

func (m *Taken) fields(c *codec) {
	c.uint64(1, &m.Connection)
}

// Append appends the encoded message to b.
func (m Taken) Append(b []byte) []byte {
	c := codec{out: b, writing: true}
	m.fields(&c)
	return c.out
}

// ParseTaken decodes a payload.
func ParseTaken(b []byte) (m Taken, err error) {
	c := codec{in: b}
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Taken")
}
