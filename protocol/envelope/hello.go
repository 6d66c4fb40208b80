// SPDX-License-Identifier: Apache-2.0

package envelope

// HandlePassing is the capability of both sides to have the client's
// connection handed to the backend (section 10).
const HandlePassing uint64 = 1

// DefaultKeepalive is what a client is told that names no keepalive, in seconds.
const DefaultKeepalive = 1800

// Hello is what a client asks for (section 4.1).
type Hello struct {
	ClientMinProtocol    uint32
	ClientMaxProtocol    uint32
	ServiceName          string // see ValidName
	WantedVersion        string // see ValidVersion
	ClientVersion        string
	ClientCapabilities   uint64 // HandlePassing
	AuthToken            []byte
	RequestID            string
	ConnectionID         uint64 // means nothing
	PeerPID              uint32 // 0: the client does not say
	ClientLibName        string
	ClientLibVersion     string
	PeerAttestationNonce []byte
	CapabilityToken      []byte
	ClientKeepaliveSecs  uint64 // 0: the broker chooses
}

func (m *Hello) write(c *codec) {
	c.uint32(1, &m.ClientMinProtocol)
	c.uint32(2, &m.ClientMaxProtocol)
	c.text(3, &m.ServiceName)
	c.text(4, &m.WantedVersion)
	c.text(5, &m.ClientVersion)
	c.uint64(6, &m.ClientCapabilities)
	c.bytes(7, &m.AuthToken)
	c.text(8, &m.RequestID)
	c.uint64(9, &m.ConnectionID)
	c.uint32(10, &m.PeerPID)
	c.text(11, &m.ClientLibName)
	c.text(12, &m.ClientLibVersion)
	c.bytes(13, &m.PeerAttestationNonce)
	c.bytes(14, &m.CapabilityToken)
	c.uint64(15, &m.ClientKeepaliveSecs)
}

// read takes the field at hand. A switch is quicker than the calls of write, and
// this message is in every request.
func (m *Hello) read(c *codec) {
	switch c.num {
	case 1:
		c.uint32(1, &m.ClientMinProtocol)
	case 2:
		c.uint32(2, &m.ClientMaxProtocol)
	case 3:
		c.text(3, &m.ServiceName)
	case 4:
		c.text(4, &m.WantedVersion)
	case 5:
		c.text(5, &m.ClientVersion)
	case 6:
		c.uint64(6, &m.ClientCapabilities)
	case 7:
		c.bytes(7, &m.AuthToken)
	case 8:
		c.text(8, &m.RequestID)
	case 9:
		c.uint64(9, &m.ConnectionID)
	case 10:
		c.uint32(10, &m.PeerPID)
	case 11:
		c.text(11, &m.ClientLibName)
	case 12:
		c.text(12, &m.ClientLibVersion)
	case 13:
		c.bytes(13, &m.PeerAttestationNonce)
	case 14:
		c.bytes(14, &m.CapabilityToken)
	case 15:
		c.uint64(15, &m.ClientKeepaliveSecs)
	}
}

// Append appends the message.
func (m Hello) Append(b []byte) []byte {
	c := writer(b)
	m.write(&c)
	return c.out
}

// ParseHello reads a Hello. Its strings are parts of one copy of b, so whoever
// keeps one of them for long should clone it.
func ParseHello(b []byte) (Hello, error) {
	var m Hello
	c := reader(b)
	c.shared = string(b)
	for c.next() {
		m.read(&c)
	}
	return m, c.result("Hello")
}

// Accept returns the reply to a Hello that is granted (section 5, success):
// the version is the one that was wanted. pipe is the address of the backend,
// connection the number of the connection, token that for handing it over (16
// bytes; nil: none), which only a client gets that can pass handles.
func (m Hello) Accept(pipe string, connection uint64, token []byte) HelloReply {
	n := &Negotiated{
		NegotiatedProtocol: Version, DaemonVersion: m.WantedVersion, BackendPipe: pipe,
		KeepaliveIntervalSecs: m.ClientKeepaliveSecs, ConnectionID: connection,
	}
	if n.KeepaliveIntervalSecs == 0 {
		n.KeepaliveIntervalSecs = DefaultKeepalive
	}
	if m.ClientCapabilities&HandlePassing != 0 && len(token) > 0 {
		n.HandlePassedToken = token
		n.ServerCapabilities = HandlePassing
	}
	return HelloReply{Negotiated: n}
}
