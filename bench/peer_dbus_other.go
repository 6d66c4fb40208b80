// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
)

// isolate does nothing: there is no dbus-broker to be isolated.
func isolate(*exec.Cmd) {}

// busRole says that there is no dbus-broker here.
func busRole(_ context.Context, _ []string, _ io.Reader, _, errOut io.Writer) int {
	fmt.Fprintln(errOut, "dbus-broker is there on Linux only")
	return 69
}
