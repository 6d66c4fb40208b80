// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
)

// Exit codes, from sysexits.h, beside those that switchboard.ExitCode knows.
const (
	exitUsage       = 64
	exitUnavailable = 69
	exitTryAgain    = 75
	exitNotAllowed  = 77
	exitConfig      = 78
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usage error.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// codeError is an error whose exit code is decided where it happens. Without err it says nothing: what there was to
// say has been said.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}
func (e *codeError) Unwrap() error { return e.err }

// report tells the user what went wrong, and returns the exit code for it.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	var coded *codeError
	if !errors.As(err, &coded) || coded.err != nil {
		a.say("%v", err)
	}
	return exitCode(err)
}

// exitCode finds the code of an error.
func exitCode(err error) int {
	var coded *codeError
	var usage *usageError
	var running *broker.RunningError
	var folder *broker.FolderError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &running):
		return exitTryAgain
	case errors.As(err, &folder):
		return exitNotAllowed
	}
	return switchboard.ExitCode(err)
}
