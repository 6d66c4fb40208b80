// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// What a program that starts a broker tells it by environment, so that the process list shows plain `switchboard serve`.
const (
	envRuntimeDir = switchboard.EnvRuntimeDir
	envIdleExit   = "SWITCHBOARD_IDLE_EXIT" // a duration like 5m
	envReadyFD    = "SWITCHBOARD_READY_FD"  // number of a pipe for one line: "ready", or a code and what went wrong
)

// starter is the program that started this broker for itself, if one did.
type starter struct{ ready *os.File }

// takeStarter takes what the starter said out of the environment, so that nothing started by the broker inherits it.
func takeStarter() (starter, time.Duration, error) {
	var s starter
	if text, ok := os.LookupEnv(envReadyFD); ok {
		os.Unsetenv(envReadyFD)
		fd, err := strconv.Atoi(text)
		if err != nil || fd < 3 {
			return s, 0, usagef("%s is %q, and not the number of a descriptor", envReadyFD, text)
		}
		syscall.CloseOnExec(fd)
		s.ready = os.NewFile(uintptr(fd), "ready pipe")
	}
	text, ok := os.LookupEnv(envIdleExit)
	if !ok {
		return s, 0, nil
	}
	os.Unsetenv(envIdleExit)
	idle, err := time.ParseDuration(text)
	if err != nil || idle < 0 {
		return s, 0, usagef("%s is %q, and not a duration like 5m", envIdleExit, text)
	}
	return s, idle, nil
}

// tell says to the starter, once, that the broker is ready (nil), or why it is not: a code and a text in one line.
func (s *starter) tell(err error) {
	if s.ready == nil {
		return
	}
	if err == nil {
		fmt.Fprintln(s.ready, "ready")
	} else {
		fmt.Fprintf(s.ready, "%d %s\n", exitCode(err), strings.ReplaceAll(err.Error(), "\n", " | "))
	}
	s.ready.Close()
	s.ready = nil
}
