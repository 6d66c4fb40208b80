// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestRunningProcessTerminate: a broker that SIGTERM ends takes its socket and its backends with it, and the next one serves at once.
// The original leaves its socket, and the next one refuses to start.
func TestRunningProcessTerminate(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	for range 3 {
		o.serve(t)
		_, pid := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
		o.end(t, o.broker, syscall.SIGTERM)
		if _, err := os.Lstat(o.socket(t)); err == nil {
			t.Error("the shared socket is left")
		}
		if isRunning(pid) {
			t.Errorf("the backend %d goes on", pid)
		}
	}
	left, err := filepath.Glob(filepath.Join(o.xdg, "running-process", "broker", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestRunningProcessTerminateAndStart: the next broker may be started while the last one still ends: it is told to try again (75), or
// serves, and keeps what it serves.
func TestRunningProcessTerminateAndStart(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt-noterm") // which takes 5 s to end
	o.serve(t)
	o.hello(t, "tool", goodVersion)
	last, other := o.broker, o.second(t)
	if err := last.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o.until(t, "the last broker to leave its address", func() bool {
		_, err := os.Lstat(o.socket(t))
		return err != nil
	})
	if _, err := o.run(t, "serve"); exitStatus(errors.Unwrap(err)) != exitTryAgain {
		t.Errorf("the next broker in the same folder ends with %v", err)
	}
	other.serve(t) // in another folder
	o.end(t, last, syscall.SIGTERM)
	o.serve(t)
	if pid := o.status(t).BrokerPID; pid != other.broker.Process.Pid {
		t.Errorf("broker %d serves the shared address, want %d", pid, other.broker.Process.Pid)
	}
	other.hello(t, "tool", goodVersion)
}

// TestRunningProcessKill: after a crash the stale socket is replaced, and the backend that went on is probed and used. The original
// starts another one, if it starts.
func TestRunningProcessKill(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	for service, mode := range map[string]string{"adopts": "adopt", "binds": "strict"} {
		o.define(t, service, mode)
	}
	o.serve(t)
	before := make(map[string]int)
	for _, service := range []string{"adopts", "binds"} {
		_, before[service] = ping(t, o.hello(t, service, goodVersion).BackendPipe)
	}
	for i := range 20 { // so many that some are probed before the broker is ready
		o.hello(t, "adopts", fmt.Sprintf("3.0.%d", i))
	}
	for round := range 2 {
		o.end(t, o.broker, syscall.SIGKILL)
		if _, err := net.Dial("unix", o.socket(t)); err == nil {
			t.Fatal("somebody listens at the shared address")
		}
		o.serve(t)
		for service, pid := range before {
			identity, now := ping(t, o.hello(t, service, goodVersion).BackendPipe)
			if now != pid {
				t.Errorf("%s: process %d serves, and %d did before the crash", service, now, pid)
			}
			if probes := number(t, identity, "probes"); probes < 2+round {
				t.Errorf("%s was probed %d times, and not after the crash", service, probes)
			}
			c, _ := o.adopted(t, service) // the handoff as well
			if identity, err := askOn(c, "ping"); err != nil || number(t, identity, "pid") != pid {
				t.Errorf("%s: on a connection that was handed over answers %q, %v", service, identity, err)
			}
		}
	}
}

// endLeft ends backends that a broker left which was killed, and fails the test.
func (o *original) endLeft(t *testing.T) {
	t.Helper()
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range programs {
		exe, _ := os.Readlink(link)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err == nil && strings.HasPrefix(exe, o.programs()+"/") {
			t.Errorf("process %d is left: %s", pid, exe)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// TestRunningProcessKillLater: a backend that died with the broker is not found again, and another one is launched.
func TestRunningProcessKillLater(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	_, pid := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
	o.end(t, o.broker, syscall.SIGKILL)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o.serve(t)
	if identity, now := ping(t, o.hello(t, "tool", goodVersion).BackendPipe); now == pid {
		t.Errorf("the dead one answers: %s", identity)
	}
}

// second is another broker of the same user that has a runtime folder of its own.
func (o *original) second(t *testing.T, flags ...string) *original {
	t.Helper()
	other := *o
	other.runtime, other.log, other.flags, other.address, other.broker = o.runtime+"2", o.log+"2", flags, "", nil
	return &other
}

// TestRunningProcessLiveSocket: the address of a broker that runs is never taken from it.
func TestRunningProcessLiveSocket(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	other := o.second(t)
	other.serve(t)
	log, err := os.ReadFile(other.log)
	if err != nil || !bytes.Contains(log, []byte("somebody else serves the shared address")) {
		t.Errorf("the second broker says %s, %v", log, err)
	}
	if pid := o.status(t).BrokerPID; pid != o.broker.Process.Pid {
		t.Errorf("broker %d serves the shared address, want %d", pid, o.broker.Process.Pid)
	}
	other.end(t, other.broker, syscall.SIGTERM)
	if pid := o.status(t).BrokerPID; pid != o.broker.Process.Pid {
		t.Errorf("then broker %d serves the shared address, want %d", pid, o.broker.Process.Pid)
	}

	third := o.second(t, "--running-process", o.socket(t))
	if _, err := third.run(t, "serve", "--running-process", o.socket(t)); err == nil || !strings.Contains(err.Error(), "cannot serve clients of running-process at "+o.socket(t)) {
		t.Errorf("a broker that is told to serve the address of another one ends with %v", err)
	}
	o.hello(t, "tool", goodVersion)
}

// TestRunningProcessForeignFile: what is no socket of a broker is not removed.
func TestRunningProcessForeignFile(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.serve(t)
	path := o.socket(t)
	o.end(t, o.broker, syscall.SIGTERM)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.serve(t)
	if _, err := o.second(t).run(t, "serve", "--running-process", path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a broker that is told to serve there ends with %v", err)
	}
	o.end(t, o.broker, syscall.SIGTERM)
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q, %v", text, err)
	}
}
