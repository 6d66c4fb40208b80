// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/mach"
)

// Exit codes, from sysexits.h, beside those that switchboard.ExitCode knows.
const (
	exitUsage       = 64
	exitUnavailable = 69
	exitTryAgain    = 75
	exitNotAllowed  = 77
	exitConfig      = 78
)

// app is one invocation of the command.
type app struct {
	stdout, stderr io.Writer

	started bool // flags and arguments were found good
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "switchboard-network",
		Short:             "give virtual machines interfaces on networks, by name",
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { a.started = true },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddCommand(a.serveCommand(), a.checkCommand())
	return root
}

// codeError is an error whose exit code is decided where it happens.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// report tells the user what went wrong, and returns the exit code for it.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	if !errors.Is(err, errFaulty) { // of which all is said
		fmt.Fprintf(a.stderr, "switchboard-network: %v\n", err)
	}
	var coded *codeError
	if errors.As(err, &coded) {
		return coded.code
	}
	switch mach.CodeOf(err) {
	case mach.ServiceActive:
		return exitTryAgain
	case mach.NotPrivileged:
		return exitNotAllowed
	case mach.UnknownService, mach.ServerDied:
		return exitUnavailable
	}
	return switchboard.ExitCode(err)
}
