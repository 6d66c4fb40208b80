// SPDX-License-Identifier: Apache-2.0

package order

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// Kind is what a report says.
type Kind byte

// The reports. A hang-up of the control socket without Failed means that the program runs (or that the shim was killed: its
// pidfd tells).
const (
	Listening Kind = 'L' // the shim has called listen: from now on callers see the backend as their peer
	Taken     Kind = 'T' // the connection is the backend's; nothing was written to it yet
	Failed    Kind = 'F' // it could not be done; the shim exits
)

// Where a launch can fail, in this order.
const (
	StageOrder       = "order"       // the order itself made no sense
	StageCredentials = "credentials" // becoming the user
	StageFolder      = "folder"      // changing to the working folder
	StageProgram     = "program"     // the program cannot be executed: found out before anything was taken
	StageSocket      = "socket"      // listening, or preparing a descriptor
	StageExec        = "exec"        // execve itself
)

// Report is one packet from the shim.
type Report struct {
	Kind  Kind
	Stage string        // of Failed
	Errno syscall.Errno // of Failed; 0 if no system call was to blame
	What  string        // of Failed: the folder, the program …, or what was wrong
}

// Append encodes r after b.
func (r Report) Append(b []byte) []byte {
	b = append(b, formReport, byte(r.Kind))
	if r.Kind == Failed {
		b = putString(b, r.Stage)
		b = binary.AppendUvarint(b, uint64(r.Errno))
		b = putString(b, r.What)
	}
	return b
}

// ParseReport decodes one report, strictly.
func ParseReport(b []byte) (Report, error) {
	r := reader{b: b}
	if r.byte() != formReport {
		return Report{}, errForm
	}
	p := Report{Kind: Kind(r.byte())}
	switch p.Kind {
	case Listening, Taken:
	case Failed:
		p.Stage = r.string()
		n := r.uint()
		if n > 1<<16 {
			return Report{}, errForm
		}
		p.Errno = syscall.Errno(n)
		p.What = r.string()
	default:
		return Report{}, errForm
	}
	if err := r.end(); err != nil {
		return Report{}, err
	}
	return p, nil
}

// Error tells people what failed, for example "cannot run /usr/bin/greeterd: no such file or directory". It is "" for other reports.
func (r Report) Error() string {
	if r.Kind != Failed {
		return ""
	}
	cause := ""
	if r.Errno != 0 {
		cause = ": " + r.Errno.Error()
	}
	switch r.Stage {
	case StageCredentials:
		return "cannot become " + r.What + cause
	case StageFolder:
		return "cannot change to the folder " + r.What + cause
	case StageProgram, StageExec:
		return "cannot run " + r.What + cause
	case StageSocket:
		return "cannot prepare its socket (" + r.What + ")" + cause
	}
	return fmt.Sprintf("cannot be launched (%s): %s%s", r.Stage, r.What, cause)
}
