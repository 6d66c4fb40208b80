// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Role is what one of the processes of a benchmark does: args are what Run
// appended to Options.Self. It ends at the end of in, and returns the
// process's exit code.
func Role(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(errOut, "cannot play a role: none given")
		return 64
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &role{args: args[1:], in: bufio.NewScanner(in), out: out}
	known := map[string]func(context.Context, *role) error{
		"serve":      serveRole,     // PATH: a server at a path
		"own":        ownRole,       // FOLDER NAME [path]: the same as a service with a name
		"hold":       holdRole,      // FOLDER PREFIX SESSIONS NAMES: sessions with as many names each
		"look-up":    lookUpRole,    // FOLDER PREFIX SESSIONS NAMES: looks those up
		"call":       callRole,      // calls a service in several ways
		"backend":    backendRole,   // COUNT or connection: what the broker launches
		"first-call": firstCallRole, // has a backend launched in several ways
		"hostile":    hostileRole,   // FOLDER COUNT: connections that do no good

		"mach-hold":    machHoldRole,    // SOCKET PREFIX SESSIONS NAMES: control connections with as many ports each
		"mach-look-up": machLookUpRole,  // SOCKET PREFIX SESSIONS NAMES: looks those up
		"mach-echo":    machEchoRole,    // PATH PASS: a server of packets, which passes a descriptor if PASS is true
		"mach-subsets": machSubsetsRole, // SOCKET COUNT: makes subsets, and ends them
		"frames":       frameRole,       // echo, hold or drain, spinning or sleeping; channels COUNT
		"drive":        driveRole,       // WAY SIZE COMMAND…: times frames to an echo
		"feed":         feedRole,        // placed|copied READERS COMMAND…: sends frames to readers
		"copy":         copyRole,        // PATH SIZE: reads so many bytes again and again
	}
	f, ok := known[args[0]]
	if !ok {
		fmt.Fprintf(errOut, "cannot play role %q: unknown\n", args[0])
		return 64
	}
	if err := f(ctx, r); err != nil {
		fmt.Fprintf(errOut, "role %s: %v\n", strings.Join(args, " "), err)
		return 1
	}
	return 0
}

// role is a process in its role: its arguments, and the lines it is told.
type role struct {
	args []string
	in   *bufio.Scanner
	out  io.Writer
}

// need checks the number of arguments.
func (r *role) need(n int) error {
	if len(r.args) < n {
		return fmt.Errorf("%d arguments, not %d", n, len(r.args))
	}
	return nil
}

// ready says that the process can be used.
func (r *role) ready() { fmt.Fprintln(r.out, "ready") }

// wait waits for the end of the input.
func (r *role) wait() {
	for r.in.Scan() {
	}
}

// answer answers each line, which is a number of milliseconds and what f makes
// of the rest, with f's result.
func (r *role) answer(f func(d time.Duration, words []string) (any, error)) error {
	return r.answerWords(func(words []string) (any, error) {
		if len(words) == 0 {
			return nil, errors.New("an empty line")
		}
		d, err := time.ParseDuration(words[0])
		if err != nil {
			return nil, err
		}
		return f(d, words[1:])
	})
}

// answerWords answers each line with the result of f.
func (r *role) answerWords(f func(words []string) (any, error)) error {
	enc := json.NewEncoder(r.out)
	for r.in.Scan() {
		result, err := f(strings.Fields(r.in.Text()))
		if err != nil {
			return err
		}
		if err := enc.Encode(result); err != nil {
			return err
		}
	}
	return r.in.Err()
}
