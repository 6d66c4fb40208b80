// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"strconv"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Code is the error of an answer on the pipe (section 6.3): 0, an errno, one of
// bootstrap (1100 to 1106), or one of launchd's own.
type Code int64

// The codes.
const (
	OK Code = 0

	NotPermitted    Code = 1
	NotFound        Code = 2
	Failure         Code = 5 // of a right
	NoMemory        Code = 12
	Busy            Code = 16
	Exists          Code = 17
	InvalidArgument Code = 22

	NoSuchDomain    Code = 112
	NoSuchService   Code = 113
	NotImplemented  Code = 116
	BadResponse     Code = 118
	ServiceDisabled Code = 119
	BadSubsystem    Code = 120
	NotByDomain     Code = 125
	SeveralErrors   Code = 133
	NotManaged      Code = 135
	NotByService    Code = 137
	ReservedName    Code = 140
	NotEntitled     Code = 144
)

var codeNames = map[Code]string{
	OK: "ok", NotPermitted: "not permitted", NotFound: "not found", Failure: "failure", NoMemory: "no memory", Busy: "busy",
	Exists: "exists", InvalidArgument: "invalid argument",
	107: "malformed bundle", 108: "invalid path", 109: "invalid property list", 110: "bad service identifier", 111: "no program",
	NoSuchDomain: "no such domain", NoSuchService: "no such service", NotImplemented: "routine not implemented",
	BadResponse: "bad response", ServiceDisabled: "service disabled", BadSubsystem: "bad subsystem", 124: "domain tearing down",
	NotByDomain: "action unsupported by domain", 126: "type retired", SeveralErrors: "several errors",
	NotManaged: "process not managed", NotByService: "action unsupported by service", ReservedName: "reserved name",
	143: "cached", NotEntitled: "entitlement missing", 145: "endpoint hidden",
}

// String returns what the code means, and the number of one without a meaning here.
func (c Code) String() string {
	if c.bootstrap() {
		return mach.Code(c).String()
	}
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "code " + strconv.FormatInt(int64(c), 10)
}

// bootstrap reports whether the code is one of bootstrap's as it is.
func (c Code) bootstrap() bool { return c >= Code(mach.NotPrivileged) && c <= Code(mach.NoChildren) }

// pairs are the codes that mean the same in both dialects (section 8).
var pairs = []struct {
	bootstrap mach.Code
	errno     Code
}{
	{mach.OK, OK},
	{mach.NotPrivileged, NotPermitted},
	{mach.NameInUse, Exists},
	{mach.UnknownService, NotFound},
	{mach.ServiceActive, Busy},
	{mach.NoMemory, NoMemory},
}

// Errno returns what older routines say for a code of bootstrap. Codes of the
// stubs and of the kernel, which have no pair, become the nearest.
func Errno(c mach.Code) Code {
	for _, p := range pairs {
		if p.bootstrap == c {
			return p.errno
		}
	}
	switch c {
	case mach.BadID, mach.NotSupported:
		return NotImplemented
	case mach.TypeError, mach.BadArguments, mach.ArrayTooLarge, mach.BadCount, mach.InvalidArgument:
		return InvalidArgument
	case mach.NoChildren:
		return NotFound
	case mach.TryPerUser:
		return NotPermitted
	}
	return Failure
}

// Bootstrap returns the code of bootstrap for one of an answer. As for Apple's
// client, what has no pair is an unknown service.
func (c Code) Bootstrap() mach.Code {
	if c.bootstrap() {
		return mach.Code(c)
	}
	for _, p := range pairs {
		if p.errno == c {
			return p.bootstrap
		}
	}
	return mach.UnknownService
}

// Code returns what answers of the routine say for a code of bootstrap: 206 and
// 207 the code itself, if it is one of bootstrap's, and all others an errno.
func (r Routine) Code(c mach.Code) Code {
	if r.newer() && Code(c).bootstrap() {
		return Code(c)
	}
	return Errno(c)
}
