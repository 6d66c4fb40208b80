// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// callFlags are the flags of commands that call a name, or choose among those who have it.
type callFlags struct{ version, scope string }

func (f *callFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.version, "version", "", "the versions that will do, like ^1.2")
	cmd.Flags().StringVar(&f.scope, "scope", "", `the folder that the service must be for; "directory": the project folder around here`)
}

// options narrow a call, a question or a selection.
func (f *callFlags) options() ([]switchboard.NarrowOption, error) {
	var options []switchboard.NarrowOption
	if f.version != "" {
		options = append(options, switchboard.WithVersion(f.version))
	}
	scope, err := f.folder()
	if scope != "" {
		options = append(options, switchboard.WithScope(scope))
	}
	return options, err
}

// scopeOfProject stands for the project folder of the current one.
const scopeOfProject = "directory"

// folder is the scope as an absolute path, or "".
func (f *callFlags) folder() (string, error) {
	switch f.scope {
	case "":
		return "", nil
	case scopeOfProject:
		here, err := filepath.Abs(".")
		if err != nil {
			return "", fmt.Errorf("cannot tell the current folder: %w", err)
		}
		return switchboard.ScopeOf(here), nil
	}
	scope, err := filepath.Abs(f.scope)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %q: %w", f.scope, err)
	}
	return scope, nil
}

// dialOptions are options for a call.
func (f *callFlags) dialOptions() ([]switchboard.DialOption, error) {
	return optionsAs[switchboard.DialOption](f.options())
}

// selectOptions are options for a selection.
func (f *callFlags) selectOptions() ([]switchboard.SelectOption, error) {
	return optionsAs[switchboard.SelectOption](f.options())
}

func optionsAs[T any](options []switchboard.NarrowOption, err error) ([]T, error) {
	var all []T
	for _, o := range options {
		all = append(all, any(o).(T))
	}
	return all, err
}
