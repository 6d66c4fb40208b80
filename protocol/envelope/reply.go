// SPDX-License-Identifier: Apache-2.0

package envelope

import "fmt"

// HelloReply answers a Hello; at most one of its fields is set (section 4.1).
type HelloReply struct {
	Negotiated *Negotiated
	Refused    *Refused
}

func (m *HelloReply) fields(c *codec) {
	if !c.writing { // of a oneof the last wins, and is merged only with itself
		switch c.num {
		case 1:
			m.Refused = nil
		case 2:
			m.Negotiated = nil
		}
	}
	for n := enter(c, 1, &m.Negotiated); n.more(c); {
		m.Negotiated.fields(c)
	}
	for n := enter(c, 2, &m.Refused); n.more(c); {
		m.Refused.fields(c)
	}
}

// Append appends the message.
func (m HelloReply) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseHelloReply reads a HelloReply.
func ParseHelloReply(b []byte) (HelloReply, error) {
	var m HelloReply
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("HelloReply")
}

// Negotiated is the reply to a Hello that is granted.
type Negotiated struct {
	NegotiatedProtocol    uint32 // Version
	DaemonVersion         string // the version that was wanted
	BackendPipe           string // the backend's address
	Warnings              []string
	ServerCapabilities    uint64 // HandlePassing
	KeepaliveIntervalSecs uint64
	HandlePassedToken     []byte // 16 bytes, or none
	ConnectionID          uint64 // from 1
}

func (m *Negotiated) fields(c *codec) {
	c.uint32(1, &m.NegotiatedProtocol)
	c.text(2, &m.DaemonVersion)
	c.text(3, &m.BackendPipe)
	c.texts(4, &m.Warnings)
	c.uint64(5, &m.ServerCapabilities)
	c.uint64(6, &m.KeepaliveIntervalSecs)
	c.bytes(7, &m.HandlePassedToken)
	c.uint64(8, &m.ConnectionID)
}

// Append appends the message.
func (m Negotiated) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseNegotiated reads a Negotiated.
func ParseNegotiated(b []byte) (Negotiated, error) {
	var m Negotiated
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Negotiated")
}

// Refused is the reply to anything else.
type Refused struct {
	Reason            string
	DaemonMinProtocol uint32
	DaemonMaxProtocol uint32
	Code              ErrorCode
	Details           map[string]string
	RetryAfterMS      uint64 // 0: trying again does not help
}

func (m *Refused) fields(c *codec) {
	c.text(1, &m.Reason)
	c.uint32(2, &m.DaemonMinProtocol)
	c.uint32(3, &m.DaemonMaxProtocol)
	enum(c, 4, &m.Code)
	c.pairs(5, &m.Details)
	c.uint64(6, &m.RetryAfterMS)
}

// Append appends the message.
func (m Refused) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseRefused reads a Refused.
func ParseRefused(b []byte) (Refused, error) {
	var m Refused
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("Refused")
}

// ErrorCode says why a Hello was refused.
type ErrorCode uint32

// The codes of section 4.1.
const (
	CodeUnspecified        ErrorCode = 0
	CodeVersionUnsupported ErrorCode = 1
	CodeServiceUnknown     ErrorCode = 2
	CodeBackendSpawnFailed ErrorCode = 3
	CodeRateLimited        ErrorCode = 4
	CodeShuttingDown       ErrorCode = 5
	CodePeerRejected       ErrorCode = 6
	CodeInternal           ErrorCode = 7
	CodeVersionBlocked     ErrorCode = 8
	CodeFDPressure         ErrorCode = 9
)

var codeNames = [...]string{
	"UNSPECIFIED", "VERSION_UNSUPPORTED", "SERVICE_UNKNOWN", "BACKEND_SPAWN_FAILED", "RATE_LIMITED",
	"SHUTTING_DOWN", "PEER_REJECTED", "INTERNAL", "VERSION_BLOCKED", "FD_PRESSURE",
}

// String returns "ERROR_VERSION_UNSUPPORTED" and so on; "ERROR_10" for a
// number without a name.
func (c ErrorCode) String() string {
	if int(c) < len(codeNames) {
		return "ERROR_" + codeNames[c]
	}
	return fmt.Sprintf("ERROR_%d", uint32(c))
}
