// SPDX-License-Identifier: Apache-2.0

// Package vmnet reads and writes the dictionaries of vmnet-broker's protocol (the
// reference's section 2), and of what Switchboard adds to it: which keys they
// have, of which types. docs/networks.md is the page for users.
//
//	root := vmnet.Request{Command: vmnet.Acquire, Network: "shared"}.Dict()
//
// and of the reply
//
//	details, err := vmnet.ParseDetails(reply.Root)
//
// where the error is a [*Refusal] if the service says one. It knows no sockets; a
// descriptor is its position in the packet, as in package xpc.
package vmnet

import "github.com/switchboard-ipc/switchboard/protocol/xpc"

// Service is the name of the port at which networks are asked for.
const Service = "com.github.nirs.vmnet-broker"

// Version is that of what Switchboard adds.
const Version = 1

// Commands. All but Acquire are added, and need a Version in the request.
const (
	Acquire = "acquire"
	Release = "release"
	List    = "list"
	Status  = "status"
	Leases  = "leases"
	Forward = "forward"
	Dial    = "dial"
)

// Code is why a request was refused (section 2).
type Code int64

// The codes. Services send 3 to 7, and 22 for what is no dictionary at all; the others are a client's own.
const (
	Success        Code = 0
	XPCFailure     Code = 1 // the service is not there, or died
	InvalidReply   Code = 2
	NotAllowed     Code = 3
	InvalidRequest Code = 4
	NotFound       Code = 5
	CreateFailure  Code = 6
	InternalError  Code = 7 // also: a limit
)

var texts = map[Code]string{
	Success: "success", XPCFailure: "the service cannot be reached", InvalidReply: "the reply makes no sense", NotAllowed: "not allowed",
	InvalidRequest: "the request makes no sense", NotFound: "not found", CreateFailure: "cannot create the network",
	InternalError: "internal error, or a limit is reached", Code(xpc.InvalidArgument): "the message cannot be read",
}

// String returns what a code means.
func (c Code) String() string {
	if text, ok := texts[c]; ok {
		return text
	}
	return "unknown error"
}
