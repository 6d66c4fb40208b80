// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/definition"
)

// commandFlags say how a command on the spot is run.
type commandFlags struct {
	accept, ready, dir string
	env, passEnv       []string
}

// commandFlagNames are the flags that make no sense without a command.
var commandFlagNames = []string{"accept", "ready", "env", "pass-env", "dir"}

func (f *commandFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.accept, "accept", string(definition.Listener), "how COMMAND takes its callers: listener, connection, path, native")
	cmd.Flags().StringVar(&f.ready, "ready", "", "notify: COMMAND tells by itself when it is ready (READY=1 to $NOTIFY_SOCKET)")
	cmd.Flags().StringArrayVar(&f.env, "env", nil, "a variable for COMMAND, NAME=VALUE; may be repeated")
	cmd.Flags().StringArrayVar(&f.passEnv, "pass-env", nil, "a variable that COMMAND gets with the value that it has here; may be repeated")
	cmd.Flags().StringVar(&f.dir, "dir", "", "the folder that COMMAND runs in (default /, or the scope's folder)")
}

// launch makes the option that has the name started with the command.
func (f *commandFlags) launch(command []string) (switchboard.DialOption, error) {
	accepts := []definition.Accept{definition.Listener, definition.Connection, definition.Path, definition.Native}
	if !slices.Contains(accepts, definition.Accept(f.accept)) {
		return nil, usagef("--accept is %q, and must be listener, connection, path or native", f.accept)
	}
	options := []switchboard.LaunchOption{switchboard.LaunchAccept(f.accept)}
	switch f.ready {
	case "":
	case "notify":
		options = append(options, switchboard.LaunchNotify())
	default:
		return nil, usagef("--ready is %q, and can only be notify", f.ready)
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path) // from here, not from the folder that it runs in
	}
	if err != nil {
		return nil, &codeError{exitUnavailable, fmt.Errorf("cannot find the command: %w", err)}
	}
	cmd := exec.Command(path, command[1:]...)
	if cmd.Env, err = f.environment(); err != nil {
		return nil, err
	}
	if f.dir != "" {
		if cmd.Dir, err = filepath.Abs(f.dir); err != nil {
			return nil, fmt.Errorf("cannot resolve %q: %w", f.dir, err)
		}
	}
	return switchboard.Launch(cmd, options...), nil
}

// environment is what is added to the clean one.
func (f *commandFlags) environment() ([]string, error) {
	var env []string
	for _, name := range f.passEnv {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, usagef("--pass-env names %q, which is not set here: set it, or leave it out", name)
		}
		env = append(env, name+"="+value)
	}
	for _, variable := range f.env {
		name, _, ok := strings.Cut(variable, "=")
		if !ok || name == "" {
			return nil, usagef("--env is %q, and must be NAME=VALUE", variable)
		}
		if slices.Contains(f.passEnv, name) {
			return nil, usagef("--pass-env names %q, to which --env gives a value: keep one of them", name)
		}
		env = append(env, variable)
	}
	return env, nil
}
