// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/mach"
)

// printed runs a command and returns what it printed, and its exit code.
func printed(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, dir, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out), said.String(), code
}

// TestStopPort: a port that outlives its maker can be seen, from a sealed namespace too, and removed.
func TestStopPort(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	printed(t, dir, "ls") // starts the broker
	boot, err := mach.Connect(ctx, mach.Options{RuntimeDir: dir, NoAutostart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer boot.Close()
	kept, err := boot.CreateService(ctx, "com.example.kept")
	if err != nil {
		t.Fatal(err)
	}
	kept.Close()
	held, err := boot.CheckIn(ctx, "com.example.held")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()

	out, _, _ := printed(t, dir, "ls", "--json")
	var names []struct {
		Name  string
		Owner *struct{ PID int }
	}
	if err := json.Unmarshal([]byte(out), &names); err != nil || len(names) != 2 || names[0].Owner == nil || names[1].Owner != nil {
		t.Errorf("ls --json printed %s (%v)", out, err)
	}
	for _, c := range []struct {
		args string
		code int
		says string // on either stream
	}{
		{"listen com.example.kept -- cat", 75, "switchboard stop com.example.kept"},
		{"run --only com.example.kept -- switchboard ls", 0, "no names in this namespace"},
		{"run --only com.example.kept -- switchboard ls com.example.kept", 0, "com.example.kept "},
		{"run --only com.example.kept -- switchboard ls com.example.held", 0, "no names in this namespace"},
		{"run --subset -- switchboard stop com.example.kept", 69, "com.example.kept"},
		{"stop com.example.held", 69, "goes with its owner"},
		{"stop com.example.none", 69, "com.example.none"},
		{"stop com.example.kept", 0, "removed com.example.kept"},
		{"stop com.example.kept", 69, "com.example.kept"},
	} {
		out, said, code := printed(t, dir, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+said, c.says) {
			t.Errorf("switchboard %s printed %q and %q, and ended with %d", c.args, out, said, code)
		}
	}
	if out, _, _ := printed(t, dir, "ls"); strings.Contains(out, "kept") || !strings.Contains(out, "held") {
		t.Errorf("ls printed %s", out)
	}
}
