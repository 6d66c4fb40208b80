// SPDX-License-Identifier: Apache-2.0

package directory

// Action is something the broker must now do. The actions of one event are carried out in order,
// before the next event is applied.
type Action interface{ action() }

// Reply is the answer to a Change.
type Reply struct {
	Refusal
	ID       ID     // the lease or the namespace
	Path     string // of the namespace
	Version  string // that a declaration was given
	Backends []ID   // those that a Stop, a Restart or a Retire is about
}

// Answer answers a Change, or a HELLO, a WATCH or an UNWATCH (their Reply holds a refusal or nothing).
type Answer struct {
	Session  ID
	Request  uint32
	Sequence uint64
	Reply    Reply
}

// Welcome answers an OpenSession that was granted.
type Welcome struct {
	Session   ID // the connection to answer on
	Request   uint32
	Resumed   ID     // 0, or the session that goes on: Session's connection replaces its old one
	Sequence  uint64 // the last one applied
	Namespace string
}

// Publish makes a name findable; it comes before the Answer to its owner.
type Publish struct{ Entry Entry }

// Unpublish makes it unfindable.
type Unpublish struct {
	Namespace ID
	Name      string
}

// ChangeKind is what happened to a name.
type ChangeKind uint8

// What happens to names.
const (
	Appeared ChangeKind = iota + 1
	Changed
	Gone
)

// Notify tells a watch of a change.
type Notify struct {
	Session ID
	Watch   uint32
	Kind    ChangeKind
	Entry   Entry
	Reason  string
}

// HandOver passes a caller's connection to the owner of a name.
type HandOver struct {
	Connection ID
	Session    ID
	Lease      ID
}

// Redirect tells a caller to connect to Path, and ends its connection here.
type Redirect struct {
	Connection ID
	Path       string
}

// Refuse tells a caller why not, and ends its connection. Untaken: it had been handed over and was not acknowledged, so
// that it must be shut down for whoever still holds it.
type Refuse struct {
	Connection ID
	Refusal    Refusal
	Untaken    bool
}

// Forget closes our descriptor of a connection: it was taken, or hung up.
type Forget struct{ Connection ID }

// EndLease releases what is kept under a lease's id: a listening socket, a door. Tell: the session lives and did not
// ask for it.
type EndLease struct {
	Lease   ID
	Session ID
	Tell    bool
	Reason  string
}

// CloseSession says BYE and closes the session's connection.
type CloseSession struct {
	Session ID
	Refusal Refusal
}

// Launch starts a process for a service, for one caller alone if Connection is not 0. It is followed by Launched or Ended.
type Launch struct {
	Backend    ID
	Key        Key
	Definition Definition
	Connection ID
	Caller     Peer
}

// Proceed tells a process that was launched to run its program.
type Proceed struct{ Backend ID }

// Stop tells a backend to end, or kills it with all that it started.
type Stop struct {
	Backend ID
	Kill    bool
}

// Retire takes a backend's listening socket or path from newcomers.
type Retire struct {
	Backend ID
	Key     Key
}

// Count asks how many connections there are to a backend's socket: Counted is the answer.
type Count struct{ Backend ID }

// Flush closes what waits at the listening socket of a service that did not start: those who connected ask again and are told why. Of
// one with ports it says that nothing was launched; see Directory.Retry.
type Flush struct{ Key Key }

// Adopted answers Adopt.
type Adopted struct {
	Backend ID
	Key     Key
}

// Tell tells a session what became of a backend: that it started, or that it ended, and why.
type Tell struct {
	Session ID
	Backend ID
	Started bool
	Reason  string
}

func (Launch) action()       {}
func (Proceed) action()      {}
func (Stop) action()         {}
func (Retire) action()       {}
func (Count) action()        {}
func (Flush) action()        {}
func (Adopted) action()      {}
func (Tell) action()         {}
func (Answer) action()       {}
func (Welcome) action()      {}
func (Publish) action()      {}
func (Unpublish) action()    {}
func (Notify) action()       {}
func (HandOver) action()     {}
func (Redirect) action()     {}
func (Refuse) action()       {}
func (Forget) action()       {}
func (EndLease) action()     {}
func (CloseSession) action() {}
