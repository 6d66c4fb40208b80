// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// The example is a process here as for its users: it has its broker in a temporary folder, and leaves nothing.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	cmd := exampletest.Command(t, "unused")
	temporary := t.TempDir()
	cmd.Env = append(cmd.Env, "TMPDIR="+temporary)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^hello, process \d+\n$`).Match(out) {
		t.Errorf("the answer is %q", out)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
