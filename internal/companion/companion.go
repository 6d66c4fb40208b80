// SPDX-License-Identifier: Apache-2.0

// Package companion finds a program that is installed with another one.
package companion

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

const modulePath = "github.com/switchboard-ipc/switchboard"

// Network is the network service's program.
const Network = "switchboard-network"

// Error says that a program is not installed, where it was looked for, and how to build it.
type Error struct {
	Name  string
	where string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the program %s is not installed: %s, nor on PATH; build it with: go install %s/cmd/%[1]s@latest, or in a copy of the repository with: "+
		"make build", e.Name, e.where, modulePath)
}

// Find returns the path of a program: in the folder of the program beside, symbolic links resolved, or on PATH. "": there is none to be beside of.
// The error is an [*Error].
func Find(name, beside string) (string, error) {
	e := &Error{name, "there is no program switchboard whose folder could have it"}
	if beside != "" {
		if abs, err := filepath.Abs(beside); err == nil {
			beside = abs
		}
		if resolved, err := filepath.EvalSymlinks(beside); err == nil {
			beside = resolved
		}
		if found, err := exec.LookPath(filepath.Join(filepath.Dir(beside), name)); err == nil {
			return found, nil
		}
		e.where = "it is not beside " + beside
	}
	found, err := exec.LookPath(name)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return "", e
	}
	return found, nil
}
