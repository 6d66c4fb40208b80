// SPDX-License-Identifier: Apache-2.0

// Command switchboard connects programs on one machine by name: it gives names, calls them, lists them, and is the
// broker that all of this goes through.
//
// Results go to stdout, talk to stderr. Exit codes are those of sysexits.h: 64 usage, 69 the name is unknown or its
// service cannot be had, 75 try again later, 77 not allowed, 78 a fault in the configuration file; 1 for the rest.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/switchboard-ipc/switchboard/execshim"
)

func main() {
	execshim.Run() // a backend that the broker launches begins as this program, and is here already
	if filepath.Base(os.Args[0]) == demoDaemon {
		os.Exit(demoDaemonMain())
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out one command line and returns the exit code of the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = &usageError{err}
	}
	return a.report(err)
}
