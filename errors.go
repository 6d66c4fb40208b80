// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Code is the kind of an [Error]: a number of sysexits.h, which is also the exit code of the command line
// and the code of a verdict (docs/session.md, section 7).
type Code int

// The codes.
const (
	CodeUsage       Code = Code(session.Usage)       // 64: what was asked for is malformed
	CodeUnavailable Code = Code(session.Unavailable) // 69: the name is unknown, of another kind, or its service cannot be had
	CodeTryAgain    Code = Code(session.TryAgain)    // 75: taken, too late, or a limit is reached
	CodeNotAllowed  Code = Code(session.NotAllowed)  // 77: who asks may not
)

// String returns "usage", "unavailable", "try again", "not allowed" or "code N".
func (c Code) String() string { return session.Code(c).String() }

// One error value for each code, for errors.Is.
var (
	ErrUsage       = errors.New("usage")
	ErrUnavailable = errors.New("unavailable")
	ErrTryAgain    = errors.New("try again")
	ErrNotAllowed  = errors.New("not allowed")
)

// Error is what went wrong with a call, in words for people and with a code for programs. errors.Is with the value of
// its code ([ErrUsage] and so on) is true.
type Error struct {
	Code Code
	Op   string // what was being done: "dial", "listen on", "look up" …
	Name string // to what: a name, a pattern, a folder; or ""
	Text string // why not, and what to do about it
	Err  error  // what caused it, or nil
}

// Error returns for example
//
//	cannot dial "com.example.up": name "com.example.up" is unknown: …
func (e *Error) Error() string {
	text := e.Text
	switch {
	case text == "" && e.Err != nil:
		text = e.Err.Error()
	case text == "":
		text = e.Code.String()
	}
	switch {
	case e.Op == "":
		return text
	case e.Name == "":
		return fmt.Sprintf("cannot %s: %s", e.Op, text)
	}
	return fmt.Sprintf("cannot %s %q: %s", e.Op, e.Name, text)
}

// Unwrap returns the value of the code and the cause.
func (e *Error) Unwrap() []error {
	errs := make([]error, 0, 2)
	if s := e.Code.sentinel(); s != nil {
		errs = append(errs, s)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// Timeout reports whether the context's deadline was the cause, as net.Error wants it.
func (e *Error) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

func (c Code) sentinel() error {
	switch c {
	case CodeUsage:
		return ErrUsage
	case CodeUnavailable:
		return ErrUnavailable
	case CodeTryAgain:
		return ErrTryAgain
	case CodeNotAllowed:
		return ErrNotAllowed
	}
	return nil
}

// ExitCode returns the exit code that tells a caller of the program what err is: 0 for nil, the code of an [Error], 75 for
// a context that ended, else 1.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && e.Code != 0:
		return int(e.Code)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return int(CodeTryAgain)
	}
	return 1
}

// refusal makes the error for a code and a text that the broker sent.
func refusal(code session.Code, text string) *Error { return &Error{Code: Code(code), Text: text} }

// lastOutput is what the lines that a failed program wrote last follow, in a verdict behind lineBreak each.
const lastOutput, lineBreak = "; its last output:", " | "

// breakLines gives the output quoted in a verdict, which is one line, its line breaks back.
func breakLines(text string) string {
	why, output, found := strings.Cut(text, lastOutput+lineBreak)
	if !found {
		return text
	}
	return why + lastOutput + "\n" + strings.ReplaceAll(output, lineBreak, "\n")
}

// during says what was being done when err happened. Errors that say so already stay as they are.
func during(op, name string, err error) error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		if e.Op != "" {
			return err
		}
		filled := *e
		filled.Op, filled.Name = op, name
		return &filled
	}
	filled := &Error{Code: CodeUnavailable, Op: op, Name: name, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		filled.Code = CodeTryAgain
	case errors.Is(err, os.ErrPermission):
		filled.Code = CodeNotAllowed
	}
	return filled
}

// errClosed is the error of calls on a closed Client, Listener or Watcher.
var errClosed = net.ErrClosed
