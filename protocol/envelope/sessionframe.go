// SPDX-License-Identifier: Apache-2.0

package envelope

import "google.golang.org/protobuf/encoding/protowire"

// SessionFrame is a message of the stdio lane (section 16, protocol Stdio).
type SessionFrame struct {
	Kind  SessionKind
	Data  []byte        // of SessionStdin, SessionStdout, SessionStderr
	EOF   bool          // of SessionStdinEOF
	Exit  *SessionExit  // of SessionExited
	Start *SessionStart // of SessionStarted
}

// SessionKind is which message a SessionFrame is: the number of its field.
type SessionKind int32

// The kinds of section 16.
const (
	SessionNothing  SessionKind = 0
	SessionStdin    SessionKind = 1
	SessionStdinEOF SessionKind = 2
	SessionStdout   SessionKind = 3
	SessionStderr   SessionKind = 4
	SessionExited   SessionKind = 5
	SessionStarted  SessionKind = 6
)

func (m *SessionFrame) write(c *codec) {
	num := protowire.Number(m.Kind)
	switch m.Kind {
	case SessionStdin, SessionStdout, SessionStderr:
		c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
		c.out = protowire.AppendBytes(c.out, m.Data)
	case SessionStdinEOF:
		c.explicit(num, protowire.EncodeBool(m.EOF))
	case SessionExited:
		for n := enter(c, num, &m.Exit); n.more(c); {
			m.Exit.fields(c)
		}
	case SessionStarted:
		for n := enter(c, num, &m.Start); n.more(c); {
			m.Start.fields(c)
		}
	}
}

// read takes the field at hand: the last wins, and is merged only with itself.
func (m *SessionFrame) read(c *codec) {
	kind := SessionKind(c.num)
	switch kind {
	case SessionStdin, SessionStdout, SessionStderr:
		if c.is(protowire.BytesType) {
			*m = SessionFrame{Kind: kind, Data: clone(c.data)}
		}
	case SessionStdinEOF:
		*m = SessionFrame{Kind: kind}
		c.bool(c.num, &m.EOF)
	case SessionExited:
		*m = SessionFrame{Kind: kind, Exit: m.Exit}
		for n := enter(c, c.num, &m.Exit); n.more(c); {
			m.Exit.fields(c)
		}
	case SessionStarted:
		*m = SessionFrame{Kind: kind, Start: m.Start}
		for n := enter(c, c.num, &m.Start); n.more(c); {
			m.Start.fields(c)
		}
	}
}

// Append appends the message.
func (m SessionFrame) Append(b []byte) []byte {
	c := writer(b)
	m.write(&c)
	return c.out
}

// ParseSessionFrame reads a SessionFrame.
func ParseSessionFrame(b []byte) (SessionFrame, error) {
	var m SessionFrame
	c := reader(b)
	for c.next() {
		m.read(&c)
	}
	return m, c.result("SessionFrame")
}

// SessionExit tells how the program ended.
type SessionExit struct {
	Code     int32
	Signal   int32
	Metadata map[string]string
}

func (m *SessionExit) fields(c *codec) {
	c.int32(1, &m.Code)
	c.int32(2, &m.Signal)
	c.pairs(3, &m.Metadata)
}

// SessionStart asks for a program to be started.
type SessionStart struct {
	Program           string
	Args              []string
	Cwd               string
	Env               []SessionVariable
	ClearInheritedEnv bool
	EnvironmentPolicy uint32 // 0 to 3
}

func (m *SessionStart) fields(c *codec) {
	c.text(1, &m.Program)
	c.texts(2, &m.Args)
	c.text(3, &m.Cwd)
	repeated(c, 4, &m.Env, (*SessionVariable).fields)
	c.bool(5, &m.ClearInheritedEnv)
	enum(c, 6, &m.EnvironmentPolicy)
}

// SessionVariable is a variable of a program's environment.
type SessionVariable struct{ Key, Value string }

func (m *SessionVariable) fields(c *codec) {
	c.text(1, &m.Key)
	c.text(2, &m.Value)
}
