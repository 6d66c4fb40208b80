// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
	"github.com/switchboard-ipc/switchboard/execshim"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestMain: the test binary is also what the broker launches: the shim, and through it the backend.
func TestMain(m *testing.M) {
	execshim.Run()
	if os.Getenv("RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE") != "" {
		main()
		os.Exit(0)
	}
	exampletest.Main(m, main)
}

// The broker launches the backend for the first client; the second one gets the same.
func TestPing(t *testing.T) {
	run := t.TempDir()
	services := filepath.Join(run, "services")
	t.Setenv("XDG_RUNTIME_DIR", run)
	t.Setenv("RUNNING_PROCESS_SERVICE_DEF_DIR", services)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	definition := envelope.ServiceDefinition{ServiceName: "pinger", BinaryPath: program, Isolation: envelope.SharedBroker}
	if err := os.Mkdir(services, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(services, "pinger.servicedef"), definition.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	serveBroker(t, filepath.Join(run, "broker"))
	var first string
	for range 2 {
		out, err := pingCommand(t).Output()
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`^pong of process (\d+), handed over: true\n$`).FindSubmatch(out)
		if found == nil {
			t.Fatalf("the answer is %q", out)
		}
		if first == "" {
			first = string(found[1])
		}
		if string(found[1]) != first {
			t.Errorf("process %s answered, and then %s", first, found[1])
		}
	}
}

func pingCommand(t *testing.T) *exec.Cmd {
	return exampletest.Command(t, "unused", "ping", "pinger", "1.0.0")
}

// serveBroker has a broker at the address that all clients know.
func serveBroker(t *testing.T, dir string) {
	t.Helper()
	brokertest.Start(t, broker.Config{RuntimeDir: dir, RunningProcess: []string{broker.Auto}})
}
