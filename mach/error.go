// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	names "github.com/switchboard-ipc/switchboard/internal/name"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Code is what went wrong: 0, or a number of the bootstrap protocol, of its stubs, or of the kernel that it comes from.
type Code = wire.Code

// The codes.
const (
	OK             = wire.OK
	TypeError      = wire.TypeError      // -300: a descriptor of the wrong type or disposition
	ReplyMismatch  = wire.ReplyMismatch  // -301: the reply is one to something else
	BadID          = wire.BadID          // -303: there is no such routine
	BadArguments   = wire.BadArguments   // -304: such as a name that can be none
	ServerDied     = wire.ServerDied     // -308: who should have answered, or received, is gone
	NotPrivileged  = wire.NotPrivileged  // 1100
	NameInUse      = wire.NameInUse      // 1101
	UnknownService = wire.UnknownService // 1102
	ServiceActive  = wire.ServiceActive  // 1103
	BadCount       = wire.BadCount       // 1104: more than 20 names at once
	NoMemory       = wire.NoMemory       // 1105: a limit is reached
	NoChildren     = wire.NoChildren     // 1106

	InvalidArgument = wire.InvalidArgument // 4
	Failure         = wire.Failure         // 5
	InvalidRight    = wire.InvalidRight    // 17: it is no AF_UNIX SEQPACKET socket
	NotSupported    = wire.NotSupported    // 46
)

var (
	// ErrClosed is the error of what is done with a right, memory or connection that was closed or given away.
	ErrClosed = errors.New("it is closed")
	// ErrNoSenders is the error of receiving where nobody can send any more.
	ErrNoSenders = errors.New("nobody holds a send right any more")
)

// Error is what went wrong with a call.
type Error struct {
	Code Code
	Op   string // what was being done: "look up", "check in", "send" …
	Name string // to what, or ""
	Text string // why not, and what to do about it
	Err  error  // what caused it, or nil
}

// Error returns for example
//
//	cannot look up "com.example.echo": unknown service (1102): nobody …
func (e *Error) Error() string {
	text := e.Text
	if text == "" && e.Err != nil {
		text = e.Err.Error()
	}
	what := "cannot " + e.Op
	if e.Name != "" {
		what = fmt.Sprintf("cannot %s %q", e.Op, e.Name)
	}
	return fmt.Sprintf("%s: %v (%d): %s", what, e.Code, int32(e.Code), text)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the context's deadline was the cause, as net.Error wants it.
func (e *Error) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// CodeOf returns the code of an [Error], OK for nil, and Failure for any other error.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Failure
}

// refused is a request that the broker answered with a code.
func refused(op, name string, code Code) error {
	return &Error{Code: code, Op: op, Name: name, Text: advice(op, code)}
}

// advice says what a code means for who asked.
func advice(op string, code Code) string {
	switch code {
	case UnknownService:
		return "nobody has checked in or registered that name, and no definition has it, or the name is no port's; what is there: switchboard ls"
	case ServiceActive:
		return "a program has it checked in, or it has not quite ended; who: switchboard ls"
	case NameInUse:
		return "the name is taken; by whom: switchboard ls"
	case NotPrivileged:
		switch op {
		case "spawn":
			return "this broker starts programs for nobody, or not for you: its configuration must allow the verb launch"
		case "make a subset":
			return "there is no requestor, or the namespace has ended"
		}
		return "it is another program's, or the namespace has ended"
	case BadCount:
		return fmt.Sprintf("at most %d names can be looked up at once", wire.MaxLookUps)
	case NoMemory:
		return "a limit of the broker's is reached: names of one program, or depth of namespaces"
	case BadArguments:
		return "the name is none, such as one that ends with ~ and digits; see docs/mach.md"
	case InvalidRight:
		return "the right is not the end of a SEQPACKET pair, or it is dead"
	case InvalidArgument:
		return "the path must be absolute, and the flags 0"
	case Failure:
		return "the program cannot be started; the broker's log says why"
	case BadID:
		return "this broker does not know the routine; is it older than this program?"
	}
	return "the broker refused it"
}

// misnamed says what is wrong with the name of a request that was refused as malformed.
func misnamed(op string, r wire.Request, err error) error {
	switch r.Routine {
	case wire.CheckIn2, wire.Register2, wire.LookUp3, wire.CreateService:
		if fault := badName(op, r.Service); fault != nil && CodeOf(err) == BadArguments {
			return fault
		}
	}
	return err
}

// badName returns nil of a name that is one.
func badName(op, name string) error {
	if err := names.Check(name); err != nil {
		return &Error{Code: BadArguments, Op: op, Name: name, Text: err.Error(), Err: err}
	}
	return nil
}

// during gives an error that is no [Error] an operation, a name and a code.
func during(op, name string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	filled := &Error{Code: Failure, Op: op, Name: name, Err: err}
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		filled.Code, filled.Text = ServerDied, "the port is dead: its receive right is gone"
	case errors.Is(err, syscall.EMSGSIZE):
		filled.Code = InvalidArgument
		filled.Text = "the message is longer than a packet can be (about 200 KiB); put the bulk of it into Memory"
	case errors.Is(err, syscall.ETOOMANYREFS):
		filled.Code, filled.Text = NoMemory, "too many descriptors of this user are in messages that nobody has received yet"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		filled.Code, filled.Text = NoMemory, "no descriptors are left: ulimit -n tells how many there may be"
	case errors.Is(err, ErrNoSenders):
		filled.Code = ServerDied
		filled.Text = "nobody holds a send right any more (of a name that was checked in the broker has one, as long as it runs)"
	case errors.Is(err, ErrClosed):
		filled.Code = InvalidRight
	}
	return filled
}
