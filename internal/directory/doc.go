// SPDX-License-Identifier: Apache-2.0

// Package directory is the core of the broker: names, ports, namespaces, sessions, leases, callers and watches,
// as a pure state machine.
//
// It takes one [Event] at a time and answers with the [Action]s that are to be carried out; it carries
// out none itself. It knows no socket, no clock and no process: everything outside is an [ID], and
// time comes in with the events, in nanoseconds of a clock that only goes forward. It is not safe for concurrent
// use; the broker's lock guards it.
//
// Ids come from outside too, from one counter, and are never used twice, so that a directory that was
// exported and imported goes on as the original would have.
package directory

// ID names anything that lives longer than one event: a session, a namespace, a lease, a connection.
type ID uint64

// Root is the id of the namespace "/", which always exists.
const Root ID = 1

// FirstFree is the lowest id that a caller may give to something of its own.
const FirstFree ID = 2

// Limits bound what peers can make the broker hold. The zero value of a field means its default.
type Limits struct {
	NamesPerSession   int   // leases of one session; 1,024
	WatchesPerSession int   // 64
	Waiting           int   // callers waiting for one service; 1,024
	InFlight          int   // hand-overs sent and not acknowledged, in all; 256
	InFlightPerName   int   // of them with one service; 64
	TakeOver          int64 // nanoseconds a caller waits for its connection to be taken; 2 s
	Slice             int   // leases ended in one event; 256
	StartingPerName   int   // processes of one service with a process for each caller that start at a time; 8
	PortsPerNamespace int   // declared ports of one namespace, and namespaces in it when a subset is made; 16,384
}

// DefaultInFlight is the default of Limits.InFlight.
const DefaultInFlight = 256

func (l Limits) withDefaults() Limits {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.NamesPerSession, 1024)
	set(&l.WatchesPerSession, 64)
	set(&l.Waiting, 1024)
	set(&l.InFlight, DefaultInFlight)
	set(&l.InFlightPerName, 64)
	set(&l.Slice, 256)
	set(&l.StartingPerName, 8)
	set(&l.PortsPerNamespace, 16384)
	if l.TakeOver == 0 {
		l.TakeOver = 2e9
	}
	return l
}

// Reason says why something was refused, for fronts to translate into their protocol's codes.
type Reason uint8

// The reasons. What a caller can do about them differs, which is why they are told apart.
const (
	OK         Reason = iota
	Malformed         // the request breaks a rule: mend it
	Unknown           // no such name, namespace or lease
	WrongKind         // the name is of another kind than the one asked for
	Mismatch          // the name's version or scope is not the one asked for
	NameTaken         // somebody else has the name
	OwnerGone         // the owner ended before it took the connection
	NotTakenUp        // the owner did not take the connection in time
	LimitHit          // a limit of the broker is reached
	Denied            // who asks may not
	NotStarted        // its service cannot be had: it did not start, or its definition is faulty
	BackingOff        // its service did not start, and is not tried again yet
)

// Refusal is a negative answer: a reason for programs, a text for people. The zero value is no refusal.
type Refusal struct {
	Reason Reason
	Text   string
}

// Kind is what a name stands for.
type Kind uint8

// The kinds. AnyKind is for questions only.
const (
	AnyKind Kind = iota
	Service
	Port
	Network
	Channel
)

func (k Kind) String() string {
	switch k {
	case Service:
		return "service"
	case Port:
		return "port"
	case Network:
		return "network"
	case Channel:
		return "channel"
	}
	return "any"
}

// State is how far a name's owner is.
type State uint8

// The states.
const (
	Active     State = 1 // a process has the name
	Starting   State = 2 // it is being launched
	Retiring   State = 3 // it takes no new callers, and ends when its last one has gone
	Stopping   State = 4 // it was told to end; of a port: its owner has ended, and its processes are not gone yet
	Inactive   State = 5 // a declared port that nobody has checked in: its receive right is the broker's
	Registered State = 6 // a port of which the broker has a send right only
)

// Accept is how callers reach a service.
type Accept uint8

// The ways to accept.
const (
	HandedOver Accept = iota // the broker passes the caller's connection on
	Listener                 // the service accepts on a socket that the broker bound
	Path                     // the service accepts at a path of its own
	Connection               // a process is launched for each caller, and has its connection
	Ports                    // it has no callers: it checks in ports
)

// Peer is a process as the kernel vouched for it when it connected.
type Peer struct {
	PID, UID int
	Exe      string // "" if not known
}

// Process identifies a process for good (on Linux the inode of its pidfd); 0 is no identity and equals none.
type Process uint64

// Socket identifies an open socket in the kernel's list of sockets.
type Socket uint64

// Caller is somebody connected to a service by a hand-over.
type Caller struct {
	Connection ID
	PID, UID   int
	Socket     Socket
}

// Entry is a name as others see it.
type Entry struct {
	Lease     ID
	Session   ID
	Name      string
	Namespace ID
	Kind      Kind
	State     State
	Owner     Peer
	Version   string
	Scope     string
	Accept    Accept
	Path      string // where the service accepts for itself; "" for HandedOver
	Since     int64  // Unix milliseconds
	Backend   ID     // 0, or the process that was launched for it
	Callers   []Caller

	// Of ports.
	Declared  bool // it outlives its owner: the broker keeps its receive right
	OnMessage bool // it is launched by a message, not by a look-up
	Service   Key  // what is launched for it and may check it in; the zero Key: nothing is, and anybody may
}
