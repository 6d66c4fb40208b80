// SPDX-License-Identifier: Apache-2.0

//go:build linux

package execshim_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/execshim"
)

func TestMain(m *testing.M) {
	if execshim.Hooked() {
		os.Exit(1)
	}
	execshim.Run()
	os.Exit(m.Run())
}

func TestHooked(t *testing.T) {
	t.Parallel()
	if !execshim.Hooked() {
		t.Error("Run was called, and Hooked does not say so")
	}
}

// Who starts the shim by hand is told that this is not for people.
func TestByHand(t *testing.T) {
	t.Parallel()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"switchboard-exec"}, Env: []string{"SWITCHBOARD_EXEC=3"}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 64 || !strings.Contains(string(out), "only a broker starts this") {
		t.Errorf("%v: %s", err, out)
	}
}
