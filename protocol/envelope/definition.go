// SPDX-License-Identifier: Apache-2.0

package envelope

// ServiceDefinition is what a file NAME.servicedef contains (sections 4.3 and
// 11), and NAME.servicedef.v2 with HTTPServer.
type ServiceDefinition struct {
	ServiceName         string
	BinaryPath          string // absolute
	Isolation           Isolation
	ExplicitInstance    string // of ExplicitInstance only
	PerVersionBinaryDir string // absolute, or empty
	MinVersion          string // or empty
	VersionAllowList    []string
	Labels              map[string]string
	HTTPServer          *HTTPServer // version 2 only
}

func (m *ServiceDefinition) fields(c *codec) {
	c.text(1, &m.ServiceName)
	c.text(2, &m.BinaryPath)
	enum(c, 3, &m.Isolation)
	c.text(4, &m.ExplicitInstance)
	c.text(5, &m.PerVersionBinaryDir)
	c.text(6, &m.MinVersion)
	c.texts(7, &m.VersionAllowList)
	c.pairs(8, &m.Labels)
	for n := enter(c, 10, &m.HTTPServer); n.more(c); {
		m.HTTPServer.fields(c)
	}
}

// Append appends the message.
func (m ServiceDefinition) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseServiceDefinition reads a ServiceDefinition of either version. See
// CheckDefinition for what it must fulfil.
func ParseServiceDefinition(b []byte) (ServiceDefinition, error) {
	var m ServiceDefinition
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("ServiceDefinition")
}

// HTTPServer is an interface of a service's, of version 2.
type HTTPServer struct {
	BindAddr    string
	HealthPath  string
	DisplayName string
}

func (m *HTTPServer) fields(c *codec) {
	c.text(1, &m.BindAddr)
	c.text(2, &m.HealthPath)
	c.text(3, &m.DisplayName)
}

// Isolation says which broker serves a service.
type Isolation uint32

// The isolations of section 4.3.
const (
	PrivateBroker    Isolation = 0 // one for the service alone
	SharedBroker     Isolation = 1 // the user's
	ExplicitInstance Isolation = 2 // the one that ServiceDefinition.ExplicitInstance names
)

// String returns "PRIVATE_BROKER" and so on, or "".
func (i Isolation) String() string {
	switch i {
	case PrivateBroker:
		return "PRIVATE_BROKER"
	case SharedBroker:
		return "SHARED_BROKER"
	case ExplicitInstance:
		return "EXPLICIT_INSTANCE"
	}
	return ""
}
