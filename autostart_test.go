// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard"
)

// TestAutostart: many that miss a broker start one, in a folder that was not there, below a path too deep for a socket address.
func TestAutostart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40), "switchboard")
	var racers []*process
	for range 8 {
		racers = append(racers, start(t, "caller", dir))
	}
	pid := racers[0].expect("broker ")
	for _, r := range racers[1:] {
		if other := r.expect("broker "); other != pid {
			t.Errorf("there are brokers %s and %s", pid, other)
		}
	}
	c := client(t, dir)
	s := must[switchboard.Status](t)(c.Status(ctx))
	if strconv.Itoa(s.PID) != pid || s.Folder != dir {
		t.Errorf("the broker is %+v, not process %s", s, pid)
	}
	for path := dir; path != filepath.Dir(filepath.Dir(dir)); path = filepath.Dir(path) {
		if st := must[os.FileInfo](t)(os.Stat(path)); st.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
	}
	noError(t, c.Shutdown(ctx))

	// The next one is started while that one ends.
	again := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: os.Args[0]})
	defer again.Close()
	l := must[*switchboard.Listener](t)(again.Listen(ctx, "com.example.a"))
	noError(t, l.Close())
	if s := must[switchboard.Status](t)(again.Status(ctx)); strconv.Itoa(s.PID) == pid {
		t.Error("it is the same broker")
	}
	noError(t, again.Shutdown(ctx))
}

// TestAutostartFails: the error says which program failed, and how.
func TestAutostartFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for script, words := range map[string]string{
		"exit 1":                      "ended without a word",
		"echo 77 not for you >&3":     "not for you",
		"echo something is wrong >&3": "something is wrong",
		"exec 3>&-; exec sleep 1":     "ended without a word",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "program")
			noError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
			c := switchboard.New(switchboard.Config{RuntimeDir: filepath.Join(dir, strconv.Itoa(len(script))), Binary: program})
			defer c.Close()
			_, err := c.Dial(testContext(t), "com.example.a")
			want := switchboard.ErrUnavailable
			if strings.Contains(script, "77") {
				want = switchboard.ErrNotAllowed
			}
			wantError(t, err, want, words, program)
		})
	}
}
