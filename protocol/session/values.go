// SPDX-License-Identifier: Apache-2.0

package session

import "fmt"

// Code says how a request ended: 0, or one of sysexits.h. The same numbers are
// the codes of a verdict and the exit codes of the command line
// (docs/session.md, section 7).
type Code uint32

// The codes.
const (
	OK          Code = 0
	Usage       Code = 64 // the request is malformed
	Unavailable Code = 69 // the name is unknown, of another kind, or its service cannot be had
	TryAgain    Code = 75 // taken, too late, or a limit is reached
	NotAllowed  Code = 77 // who asks may not
)

// String returns "ok", "usage", "unavailable", "try again", "not allowed" or
// "code N".
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case Usage:
		return "usage"
	case Unavailable:
		return "unavailable"
	case TryAgain:
		return "try again"
	case NotAllowed:
		return "not allowed"
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// EntryKind is what a name stands for. A decoder lets unknown values pass.
type EntryKind uint32

// The kinds of entry.
const (
	EntryAny     EntryKind = 0 // in questions: of any kind
	EntryService EntryKind = 1
	EntryPort    EntryKind = 2
	EntryNetwork EntryKind = 3
	EntryChannel EntryKind = 4
)

// String returns "any", "service", "port", "network", "channel" or "kind N".
func (k EntryKind) String() string {
	switch k {
	case EntryAny:
		return "any"
	case EntryService:
		return "service"
	case EntryPort:
		return "port"
	case EntryNetwork:
		return "network"
	case EntryChannel:
		return "channel"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// State is what an entry is doing. A decoder lets unknown values pass.
type State uint32

// The states of an entry.
const (
	StateUnknown  State = 0
	StateActive   State = 1 // it has an owner
	StateStarting State = 2 // its backend was launched, and is not ready yet
	StateRetiring State = 3 // its backend ends when its last caller has gone; newcomers get another
	// Its backend is being ended, and newcomers wait for the next. Of a port: its owner has ended, but not yet
	// all of the owner's processes.
	StateStopping   State = 4
	StateInactive   State = 5 // a port that nobody has checked in; what is sent to it waits
	StateRegistered State = 6 // a port whose owner keeps the receive right to itself
)

// String returns "unknown", "active", "starting", "retiring", "stopping", "inactive", "registered" or "state N".
func (s State) String() string {
	switch s {
	case StateUnknown:
		return "unknown"
	case StateActive:
		return "active"
	case StateStarting:
		return "starting"
	case StateRetiring:
		return "retiring"
	case StateStopping:
		return "stopping"
	case StateInactive:
		return "inactive"
	case StateRegistered:
		return "registered"
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Accept is how the owner of a name takes its callers. A decoder lets unknown
// values pass.
type Accept uint32

// The ways to take callers.
const (
	AcceptHandedOver Accept = 0 // each comes in a HAND_OVER
	AcceptListener   Accept = 1 // on a listening socket that the reply carries
	AcceptPath       Accept = 2 // on the owner's own socket, at Claim.Path
)

// String returns "handed over", "listener", "path" or "accept N".
func (a Accept) String() string {
	switch a {
	case AcceptHandedOver:
		return "handed over"
	case AcceptListener:
		return "listener"
	case AcceptPath:
		return "path"
	}
	return fmt.Sprintf("accept %d", uint32(a))
}

// ChangeKind is what happened to a name. A decoder lets unknown values pass.
type ChangeKind uint32

// The kinds of change; 0 is none of them.
const (
	ChangeAppeared ChangeKind = 1
	ChangeChanged  ChangeKind = 2
	ChangeGone     ChangeKind = 3
)

// String returns "appeared", "changed", "gone" or "change N".
func (k ChangeKind) String() string {
	switch k {
	case ChangeAppeared:
		return "appeared"
	case ChangeChanged:
		return "changed"
	case ChangeGone:
		return "gone"
	}
	return fmt.Sprintf("change %d", uint32(k))
}
