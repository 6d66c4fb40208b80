// SPDX-License-Identifier: Apache-2.0

package directory

// Ports are names of kind Port: who owns one has its receive right, and whoever looks it up gets a send right. A declared port outlives
// its owners: the broker keeps its receive right meanwhile, and with it what was sent.
//
// The events of a session below are answered by exactly one PortAnswer each. The Lease that they bring is the id that a port has if one
// is made. Only the session's own namespace counts, and nothing can be changed in one that has ended (Denied).

// CheckIn asks for the receive right of a port: an inactive one becomes the session's, and a name that nobody has becomes a port of
// the session, which ends with it. A name that is anything else is NameTaken, whoever asks. An inactive port of a definition is for
// the processes of its service only (Denied).
type CheckIn struct {
	Session ID
	Lease   ID
	Name    string
	Strict  bool  // a name that nobody has is Unknown
	Since   int64 // Unix milliseconds
	Now     int64
}

// RegisterPort gives a name to a send right. An inactive port has its receive right here already: Denied.
type RegisterPort struct {
	Session ID
	Lease   ID
	Name    string
	Since   int64 // Unix milliseconds
	Now     int64
}

// UndeclarePort ends an inactive port that a CreatePort made; that of a definition is Denied, one that anybody has NameTaken. A name
// that nobody has is none the less OK.
type UndeclarePort struct {
	Session ID
	Name    string
	Now     int64
}

// CreatePort declares a port, which belongs to the session's namespace and ends with that.
type CreatePort struct {
	Session ID
	Lease   ID
	Name    string
	Since   int64 // Unix milliseconds
	Now     int64
}

// MakeSubset makes the namespace New below the session's, named "PID.subset.N". It lasts until EndNamespace, whatever becomes of
// the session.
type MakeSubset struct {
	Session ID
	New     ID
	Now     int64
}

// DeclarePort declares a port of a definition, be it a file's or of a Declare, in the root namespace: processes of Service may check it in, and are launched for it. A
// port that is declared already becomes the definition's; a name that is anything else stays what it is. It has no answer: Entry
// says under Lease whether there is a new port.
type DeclarePort struct {
	Lease     ID
	Name      string
	Service   Key
	OnMessage bool  // it is launched by the first message, not by the first look-up
	Since     int64 // Unix milliseconds
	Now       int64
}

// WithdrawPort says that the definition of a port is gone, a file or the last declaration: an inactive one ends, another with its owner.
type WithdrawPort struct {
	Lease ID
	Now   int64
}

// PortReturned answers AwaitReturn: the receive right of a port is the broker's alone again. The port becomes inactive.
type PortReturned struct {
	Lease ID
	Now   int64
}

// PortDied says that nobody has the receive right of a port any more that is not declared: the port ends.
type PortDied struct {
	Lease  ID
	Reason string
	Now    int64
}

// EndNamespace ends one that MakeSubset made, with all below it, leaves first.
type EndNamespace struct {
	Namespace ID
	Reason    string
	Now       int64
}

// PortAnswer answers a CheckIn, a RegisterPort, an UndeclarePort, a CreatePort or a MakeSubset.
type PortAnswer struct {
	Session   ID
	Refusal   Refusal
	Lease     ID   // the port that it is about: the event's, or one that exists
	Namespace ID   // of MakeSubset
	Made      bool // the port is new, under the event's Lease
}

// AwaitReturn says that the owner of a declared port, Session, has ended. The answer, once its processes are gone, is PortReturned.
type AwaitReturn struct {
	Lease   ID
	Session ID
}

// EndSubset releases what is kept for a namespace that MakeSubset made: it has ended.
type EndSubset struct {
	Namespace ID
	Reason    string
}

func (PortAnswer) action()  {}
func (AwaitReturn) action() {}
func (EndSubset) action()   {}
