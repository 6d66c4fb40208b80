// SPDX-License-Identifier: Apache-2.0

package envelope

import "fmt"

// AdminRequest asks the broker about itself (section 7).
type AdminRequest struct {
	Verb            AdminVerb
	JSON            bool   // VerbStatus only
	ServiceName     string // VerbBackendHealth only
	OutputPath      string // VerbDiagnose only
	DrainDeadlineMS uint64 // VerbShutdown only
}

func (m *AdminRequest) fields(c *codec) {
	enum(c, 1, &m.Verb)
	c.bool(2, &m.JSON)
	c.text(3, &m.ServiceName)
	c.text(4, &m.OutputPath)
	c.uint64(5, &m.DrainDeadlineMS)
}

// Append appends the message.
func (m AdminRequest) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseAdminRequest reads an AdminRequest.
func ParseAdminRequest(b []byte) (AdminRequest, error) {
	var m AdminRequest
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("AdminRequest")
}

// AdminReply answers an AdminRequest.
type AdminReply struct {
	Kind        AdminKind
	Body        string
	ExitCode    uint32 // of the command that asks
	ContentType string // see AdminKind.ContentType
}

func (m *AdminReply) fields(c *codec) {
	enum(c, 1, &m.Kind)
	c.text(2, &m.Body)
	c.uint32(3, &m.ExitCode)
	c.text(4, &m.ContentType)
}

// Append appends the message.
func (m AdminReply) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseAdminReply reads an AdminReply.
func ParseAdminReply(b []byte) (AdminReply, error) {
	var m AdminReply
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("AdminReply")
}

// AdminKind is what the body of an AdminReply is.
type AdminKind uint32

// The kinds of section 4.2.
const (
	AdminText        AdminKind = 0
	AdminJSON        AdminKind = 1
	AdminOpenMetrics AdminKind = 2
)

// ContentType returns the content type of replies of that kind, or "".
func (k AdminKind) ContentType() string {
	switch k {
	case AdminText:
		return "text/plain"
	case AdminJSON:
		return "application/json"
	case AdminOpenMetrics:
		return "application/openmetrics-text"
	}
	return ""
}

// Reply returns a reply of that kind.
func (k AdminKind) Reply(body string, exit uint32) AdminReply {
	return AdminReply{Kind: k, Body: body, ExitCode: exit, ContentType: k.ContentType()}
}

// The replies of section 7 that are always the same.
var (
	AdminHealthy      = AdminText.Reply("ok\n", 0)
	AdminReady        = AdminText.Reply("ready\n", 0)
	AdminNotReady     = AdminText.Reply("not ready\n", 1)
	AdminShuttingDown = AdminText.Reply("broker shutting down\n", 0)
	AdminUnsupported  = AdminText.Reply("unsupported admin verb\n", 2)
)

// AdminStatus returns the reply to VerbStatus without JSON.
func AdminStatus(instance string, accepting bool) AdminReply {
	return AdminText.Reply(fmt.Sprintf("broker_instance: %s\naccepting_hello: %t\n", instance, accepting), 0)
}

// AdminVerb is what is asked.
type AdminVerb uint32

// The verbs of section 7.
const (
	VerbUnspecified   AdminVerb = 0
	VerbStatus        AdminVerb = 1
	VerbDump          AdminVerb = 2
	VerbListInstances AdminVerb = 3
	VerbHealthz       AdminVerb = 4
	VerbReadyz        AdminVerb = 5
	VerbBackendHealth AdminVerb = 6
	VerbConfig        AdminVerb = 7
	VerbDiagnose      AdminVerb = 8
	VerbMetrics       AdminVerb = 9
	VerbShutdown      AdminVerb = 21
)

var verbNames = [...]string{
	VerbStatus: "status", VerbDump: "dump", VerbListInstances: "list-instances", VerbHealthz: "healthz",
	VerbReadyz: "readyz", VerbBackendHealth: "backend-health", VerbConfig: "config", VerbDiagnose: "diagnose",
	VerbMetrics: "metrics", VerbShutdown: "shutdown",
}

// ReplyKind returns what the reply to a verb is.
func (m AdminRequest) ReplyKind() AdminKind {
	switch m.Verb {
	case VerbStatus:
		if m.JSON {
			return AdminJSON
		}
	case VerbDump, VerbListInstances, VerbBackendHealth, VerbConfig, VerbDiagnose:
		return AdminJSON
	case VerbMetrics:
		return AdminOpenMetrics
	}
	return AdminText
}

// String returns "status", "list-instances" and so on; "verb-10" for a number
// without a name.
func (v AdminVerb) String() string {
	if int(v) < len(verbNames) && verbNames[v] != "" {
		return verbNames[v]
	}
	return fmt.Sprintf("verb-%d", uint32(v))
}

// ParseAdminVerb returns the verb that String writes so.
func ParseAdminVerb(s string) (AdminVerb, bool) {
	for v, name := range verbNames {
		if name == s && s != "" {
			return AdminVerb(v), true
		}
	}
	return 0, false
}

// CheckAdmin reads the request in a frame of protocol Admin. It returns false
// if the envelope or the request is faulty: the connection is to be closed
// without a reply.
func CheckAdmin(f Frame) (AdminRequest, bool) {
	if f.EnvelopeVersion != Version || f.Kind != Request || f.PayloadProtocol != Admin || f.PayloadEncoding != None {
		return AdminRequest{}, false
	}
	m, err := ParseAdminRequest(f.Payload)
	return m, err == nil
}
