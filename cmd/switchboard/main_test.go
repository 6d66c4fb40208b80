// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/execshim"
)

// TestMain makes the test binary the switchboard command, too: real processes are started by that name.
func TestMain(m *testing.M) {
	execshim.Run()
	// A program built with the race detector sleeps a second before it exits, unless told otherwise.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10")
	}
	if filepath.Base(os.Args[0]) != "switchboard" && filepath.Base(os.Args[0]) != demoDaemon { // the tests know no broker but their own
		for _, name := range []string{envRuntimeDir, switchboard.EnvSessionFD, switchboard.EnvAutostart, switchboard.EnvBinary} {
			os.Unsetenv(name)
		}
	}
	testscript.Main(cleaning{m}, map[string]func(){"switchboard": main, demoDaemon: main})
}
