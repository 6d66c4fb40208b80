// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary the switchboard command, too: real processes are started by that name.
func TestMain(m *testing.M) {
	// A program built with the race detector sleeps a second before it exits, unless told otherwise.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10")
	}
	for _, name := range []string{envRuntimeDir, "SWITCHBOARD_SESSION_FD", "SWITCHBOARD_AUTOSTART", "SWITCHBOARD"} {
		os.Unsetenv(name)
	}
	testscript.Main(m, map[string]func(){"switchboard": main})
}
