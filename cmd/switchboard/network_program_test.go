// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/companion"
)

// networkFolder builds the network service's program, once, and returns the folder that it is in. It is no part of this test binary, as it is none of
// the command.
var networkFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "switchboard-network-")
	if err != nil {
		return "", err
	}
	builtFolder = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, companion.Network), "../switchboard-network").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", companion.Network, err, out)
	}
	return dir, nil
})

var builtFolder string // to be removed

// cleaning removes what tests share when all are done.
type cleaning struct{ *testing.M }

func (m cleaning) Run() int {
	defer func() {
		if builtFolder != "" {
			os.RemoveAll(builtFolder)
		}
	}()
	return m.M.Run()
}
