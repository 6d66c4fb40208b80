// SPDX-License-Identifier: Apache-2.0

// Package exampletest runs the examples as processes, against a broker in the test.
package exampletest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
)

// envMain makes the test binary the example.
const envMain = "EXAMPLE_MAIN"

// timeout bounds each wait.
const timeout = 30 * time.Second

// Main is the TestMain of an example: the test binary is the example itself where [Command] runs it.
func Main(m *testing.M, main func()) {
	if os.Getenv(envMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Broker starts a broker and returns its folder. It ends with the test.
func Broker(t *testing.T) string {
	t.Helper()
	dir, _ := brokertest.Start(t, broker.Config{RuntimeDir: filepath.Join(t.TempDir(), "run")})
	return dir
}

// Command makes a command that runs the example with the broker in dir.
func Command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), envMain+"=1", switchboard.EnvRuntimeDir+"="+dir, "SWITCHBOARD_AUTOSTART=0",
		"GORACE=atexit_sleep_ms=10")
	cmd.Stderr = os.Stderr
	return cmd
}

// Serve runs a command until the test ends, and returns when it has the name. The command must end well on SIGTERM.
func Serve(t *testing.T, dir, name string, cmd *exec.Cmd) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	defer client.Close()
	watcher, err := client.Watch(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	for {
		event, err := watcher.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v", name, err)
		}
		if event.Kind == switchboard.Appeared {
			return
		}
	}
}
