// SPDX-License-Identifier: Apache-2.0

package mach

import "strconv"

// Code is what a reply says: 0, or why not (sections 4.1 and 6).
type Code int32

// Codes of the stubs, those of bootstrap, and those of the kernel.
const (
	OK Code = 0

	TypeError     Code = -300 // a descriptor of the wrong type or disposition
	ReplyMismatch Code = -301 // the reply has another id than wanted
	RemoteError   Code = -302
	BadID         Code = -303
	BadArguments  Code = -304
	NoReply       Code = -305 // internal to servers, never sent
	ArrayTooLarge Code = -307
	ServerDied    Code = -308 // a send-once notification came instead of a reply
	TrailerError  Code = -309

	TryPerUser     Code = 1099
	NotPrivileged  Code = 1100
	NameInUse      Code = 1101
	UnknownService Code = 1102
	ServiceActive  Code = 1103
	BadCount       Code = 1104
	NoMemory       Code = 1105
	NoChildren     Code = 1106

	InvalidArgument Code = 4
	Failure         Code = 5
	InvalidRight    Code = 17
	NotSupported    Code = 46
)

var codeNames = map[Code]string{
	OK:        "ok",
	TypeError: "type check failed", ReplyMismatch: "reply id mismatch", RemoteError: "remote error",
	BadID: "bad request id", BadArguments: "bad arguments", NoReply: "no reply", ArrayTooLarge: "array too large",
	ServerDied: "server died", TrailerError: "trailer error",
	TryPerUser: "try per-user server", NotPrivileged: "not privileged", NameInUse: "name in use",
	UnknownService: "unknown service", ServiceActive: "service active", BadCount: "bad count", NoMemory: "no memory",
	NoChildren:      "no children",
	InvalidArgument: "invalid argument", Failure: "failure", InvalidRight: "invalid right", NotSupported: "not supported",
}

// String returns what the code means, and the number of one without a meaning here.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "code " + strconv.Itoa(int(c))
}
