// SPDX-License-Identifier: Apache-2.0

package session

import "fmt"

// Kind says which way a packet goes and whether it is answered.
type Kind uint8

// The kinds of packet.
const (
	KindRequest Kind = 1 // from the client; answered by one reply with the same id
	KindReply   Kind = 2 // from the broker
	KindEvent   Kind = 3 // from the broker, unasked
	KindOneWay  Kind = 4 // from the client, not answered
)

// String returns "request", "reply", "event", "one-way" or "kind N".
func (k Kind) String() string {
	switch k {
	case KindRequest:
		return "request"
	case KindReply:
		return "reply"
	case KindEvent:
		return "event"
	case KindOneWay:
		return "one-way"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Op is an operation. The comments name the payloads.
type Op uint8

// The operations (docs/session.md, section 4). Requests are 1 to 31, one-way
// packets 32 to 63, events 64 to 95.
const (
	OpHello     Op = 1  // Hello, HelloReply
	OpLookUp    Op = 2  // LookUp, LookUpReply
	OpClaim     Op = 3  // Claim, ClaimReply with up to 1 descriptor; has a sequence
	OpRelease   Op = 4  // Release, Reply; has a sequence
	OpWatch     Op = 5  // Watch, Reply; its id is that of the watch's events
	OpUnwatch   Op = 6  // Unwatch, Reply; of a trace too
	OpNamespace Op = 7  // Namespace, NamespaceReply; has a sequence
	OpDoor      Op = 8  // Door with 1 descriptor, DoorReply; has a sequence
	OpStatus    Op = 9  // empty, StatusReply
	OpShutdown  Op = 10 // Shutdown, Reply
	OpDeclare   Op = 11 // Declare, DeclareReply; has a sequence
	OpStop      Op = 12 // Select, BackendsReply, then ENDED for each; has a sequence
	OpRestart   Op = 13 // Select, BackendsReply, then STARTED or ENDED for each; has a sequence
	OpRetire    Op = 14 // Select, BackendsReply; has a sequence
	OpTrace     Op = 15 // Trace, Reply; its id is that of the trace's events

	OpTaken   Op = 32 // Taken
	OpConnect Op = 33 // empty, with 1 descriptor; on a door only

	OpHandOver Op = 64 // HandOver with 1 descriptor
	OpChange   Op = 65 // Change, of a watch
	OpSynced   Op = 66 // empty, of a watch
	OpOverflow Op = 67 // empty, of a watch
	OpEnded    Op = 68 // Ended
	OpBye      Op = 69 // Bye
	OpStarted  Op = 70 // Started
	OpTraced   Op = 71 // Traced, of a trace
)

// String returns the name of the operation as in the specification, such as
// "LOOK_UP", or "operation N".
func (o Op) String() string {
	if r, ok := o.rules(); ok {
		return r.name
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// rules is a row of the table in section 4.
type rules struct {
	name             string
	kind             Kind  // KindRequest stands for its reply too
	hasID            bool  // its id is not 0
	changes          bool  // it has a sequence
	descriptors      uint8 // that come with it
	replyDescriptors uint8 // that may come with its reply
}

// rules returns the operation's row of the table; ok is false if there is none.
func (o Op) rules() (r rules, ok bool) {
	switch o {
	case OpHello:
		r = rules{name: "HELLO", kind: KindRequest, hasID: true}
	case OpLookUp:
		r = rules{name: "LOOK_UP", kind: KindRequest, hasID: true}
	case OpClaim:
		r = rules{name: "CLAIM", kind: KindRequest, hasID: true, changes: true, replyDescriptors: 1}
	case OpRelease:
		r = rules{name: "RELEASE", kind: KindRequest, hasID: true, changes: true}
	case OpWatch:
		r = rules{name: "WATCH", kind: KindRequest, hasID: true}
	case OpUnwatch:
		r = rules{name: "UNWATCH", kind: KindRequest, hasID: true}
	case OpNamespace:
		r = rules{name: "NAMESPACE", kind: KindRequest, hasID: true, changes: true}
	case OpDoor:
		r = rules{name: "DOOR", kind: KindRequest, hasID: true, changes: true, descriptors: 1}
	case OpStatus:
		r = rules{name: "STATUS", kind: KindRequest, hasID: true}
	case OpShutdown:
		r = rules{name: "SHUTDOWN", kind: KindRequest, hasID: true}
	case OpDeclare:
		r = rules{name: "DECLARE", kind: KindRequest, hasID: true, changes: true}
	case OpStop:
		r = rules{name: "STOP", kind: KindRequest, hasID: true, changes: true}
	case OpRestart:
		r = rules{name: "RESTART", kind: KindRequest, hasID: true, changes: true}
	case OpRetire:
		r = rules{name: "RETIRE", kind: KindRequest, hasID: true, changes: true}
	case OpTrace:
		r = rules{name: "TRACE", kind: KindRequest, hasID: true}
	case OpTaken:
		r = rules{name: "TAKEN", kind: KindOneWay}
	case OpConnect:
		r = rules{name: "CONNECT", kind: KindOneWay, descriptors: 1}
	case OpHandOver:
		r = rules{name: "HAND_OVER", kind: KindEvent, descriptors: 1}
	case OpChange:
		r = rules{name: "CHANGE", kind: KindEvent, hasID: true}
	case OpSynced:
		r = rules{name: "SYNCED", kind: KindEvent, hasID: true}
	case OpOverflow:
		r = rules{name: "OVERFLOW", kind: KindEvent, hasID: true}
	case OpEnded:
		r = rules{name: "ENDED", kind: KindEvent}
	case OpBye:
		r = rules{name: "BYE", kind: KindEvent}
	case OpStarted:
		r = rules{name: "STARTED", kind: KindEvent}
	case OpTraced:
		r = rules{name: "TRACED", kind: KindEvent, hasID: true}
	default:
		return rules{}, false
	}
	return r, true
}
