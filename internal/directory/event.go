// SPDX-License-Identifier: Apache-2.0

package directory

// Event is something that happened outside. Apply takes one at a time. Now is the time at which it did; one without Now, or with 0,
// counts as of the same time as the last.
type Event interface{ apply(d *Directory) }

// OpenSession is a HELLO: connection Session wants to be the session of Client. If Client has a session already and
// Process is the same process, that session goes on and Welcome says under which id.
type OpenSession struct {
	Session   ID
	Client    [16]byte
	Process   Process
	Peer      Peer
	Namespace ID
	Backend   ID // 0, or the backend that the process was launched as
	Request   uint32
	Now       int64

	Lingers bool // it is not closed when its namespace ends, but loses what it has there
}

// EndSession is the end of a session: its connection is gone or its process has exited.
type EndSession struct {
	Session ID
	Reason  string // for watchers and waiting callers: "its owner exited"
	Now     int64
}

// Continue goes on with what one event left undone; see Directory.Unfinished.
type Continue struct{ Now int64 }

// Change is a request that changes something, in its place in the session's order. The same sequence again gets
// the same answer again and changes nothing.
type Change struct {
	Session  ID
	Request  uint32
	Sequence uint64
	Op       Op
	Now      int64
}

// Op is what a Change asks for.
type Op interface {
	do(d *Directory, s *session) Reply
}

// Claim asks for a name in the session's namespace. Lease is the id that it will have.
type Claim struct {
	Lease   ID
	Name    string
	Kind    Kind
	Version string
	Scope   string
	Accept  Accept
	Path    string
	Since   int64 // Unix milliseconds
}

// Release gives a lease back.
type Release struct{ Lease ID }

// JoinNamespace asks for the namespace Name below the session's, made as New if there is none. From a new one that is Sealed,
// nothing can be seen in the namespaces around it but the names of Only. To join one again, the list must be the same, or Sealed false.
type JoinNamespace struct {
	New    ID
	Name   string
	Sealed bool
	Only   []string
}

// OpenDoor makes the descriptor behind Lease a door into Namespace (0: the session's own).
type OpenDoor struct {
	Lease     ID
	Namespace ID
}

// AddWatch begins a watch. Its id is the request's.
type AddWatch struct {
	Session ID
	Request uint32
	Pattern string
	Kind    Kind
}

// RemoveWatch ends a watch; Request is that of the question, Watch the id of the watch.
type RemoveWatch struct {
	Session ID
	Request uint32
	Watch   uint32
}

// DropWatch ends a watch whose events could not be sent.
type DropWatch struct {
	Session ID
	Watch   uint32
}

// Call is a caller that wants Name: its connection waits under Connection.
type Call struct {
	Connection ID
	Namespace  ID
	Name       string
	Version    string // a constraint, or ""
	Scope      string // a folder, or ""
	Caller     Peer
	Now        int64

	Definitions []Definition // those that files have of the name

	Exact  bool // Version is not a constraint, but the version itself
	ByPath bool // who calls can only be sent to a path
}

// HangUp is a waiting caller that went away.
type HangUp struct{ Connection ID }

// Taken is the owner's acknowledgement of a hand-over. Socket is what the connection can be found by later.
type Taken struct {
	Session    ID
	Connection ID
	Socket     Socket
	Now        int64
}

// NotDelivered says that a HandOver could not be sent: the owner's queue is full. Nothing more is handed to that
// session until Writable. Several of one event come back last first, so that they keep their order.
type NotDelivered struct{ Connection ID }

// Writable says that a session can be sent to again.
type Writable struct {
	Session ID
	Now     int64
}

// Tick is the passing of time.
type Tick struct{ Now int64 }

// Disconnected names handed-over connections that the kernel says are over.
type Disconnected struct{ Connections []ID }
