// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Kind is what a name stands for.
type Kind uint32

// The kinds of name.
const (
	Any     Kind = Kind(session.EntryAny) // in questions: of any kind
	Service Kind = Kind(session.EntryService)
	Port    Kind = Kind(session.EntryPort)
	Network Kind = Kind(session.EntryNetwork)
	Channel Kind = Kind(session.EntryChannel)
)

// String returns "service", "port", "network", "channel", "any" or "kind N".
func (k Kind) String() string { return session.EntryKind(k).String() }

// State is what a name is doing.
type State uint32

// The states of a name.
const (
	Active   State = State(session.StateActive)   // it has an owner
	Starting State = State(session.StateStarting) // its backend was launched, and is not ready yet
	Retiring State = State(session.StateRetiring) // its backend ends when its last caller has gone; newcomers get another
	// Its backend is being ended, and newcomers wait for the next. Of a port: its owner has ended, but not yet all of the owner's
	// processes.
	Stopping   State = State(session.StateStopping)
	Inactive   State = State(session.StateInactive)   // a port that nobody has checked in; what is sent to it waits
	Registered State = State(session.StateRegistered) // a port whose owner keeps the receive right to itself
)

// String returns "active", "starting", "retiring", "stopping", "inactive", "registered", "unknown" or "state N".
func (s State) String() string { return session.State(s).String() }

// Entry is a name as the broker knows it.
type Entry struct {
	Lease       uint64 // identifies the entry; another broker gives another number
	Name        string
	Namespace   string // where the name is, as a path: "/", "/ci/job"
	Kind        Kind
	State       State
	PID         int // the owner's
	UID         int
	Executable  string    // the owner's, as a path
	Version     string    // as claimed; "": none
	Scope       string    // as claimed, an absolute path; "": none
	Path        string    // the socket that the service accepts on; "": the broker hands callers over
	Since       time.Time // when it was claimed, to the millisecond
	Connections int       // open ones, as far as the broker knows
	Callers     []Caller  // of some of them; may be shared: read only
	Instance    string    // of a backend that the broker launched, 32 hex digits, else ""
	Command     string    // what was run for it, for people, else ""
}

// Caller is who is connected to a service.
type Caller struct{ PID, UID int }

func newEntry(e *session.Entry) Entry {
	entry := Entry{
		Lease: e.Lease, Name: e.Name, Namespace: e.Namespace, Kind: Kind(e.Kind), State: State(e.State),
		PID: int(e.PID), UID: int(e.UID), Executable: e.Exe, Version: e.Version, Scope: e.Scope, Path: e.Path,
		Connections: int(e.Connections), Instance: e.Instance, Command: e.Command,
	}
	if e.Since != 0 {
		entry.Since = time.UnixMilli(int64(e.Since))
	}
	for _, c := range e.Callers {
		entry.Callers = append(entry.Callers, Caller{PID: int(c.PID), UID: int(c.UID)})
	}
	return entry
}
