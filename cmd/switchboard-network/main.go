// SPDX-License-Identifier: Apache-2.0

// Command switchboard-network gives virtual machines interfaces on networks that they ask for by name. It is a client of the broker like
// any other; "switchboard acquire" starts it.
package main

import (
	"context"
	"io"
	"os"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run carries out one command line and returns the exit code of the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = &codeError{exitUsage, err}
	}
	return a.report(err)
}
