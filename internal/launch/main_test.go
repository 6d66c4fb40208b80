// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/execshim"
)

// roleVariable makes the test binary play a part in a process of its own.
const roleVariable = "LAUNCH_TEST_ROLE"

func TestMain(m *testing.M) {
	execshim.Run()
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "broker":
		os.Exit(playBroker(os.Args[1:]))
	case "subreaper":
		os.Exit(playSubreaper())
	}
	os.Exit(64)
}
