// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestRunningProcessColdLaunch: every first Hello launches a backend that answers, whether it adopts its listener or binds the path
// itself. The original's cold launches fail.
func TestRunningProcessColdLaunch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, mode, listener string }{
		{"adopted", "adopt", "adopted"}, {"bound", "strict", "bound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			count := 200
			if testing.Short() {
				count = 20
			}
			o := newOriginal(t)
			o.define(t, "cold", c.mode)
			o.serve(t)
			socket := o.socket(t)
			var mu sync.Mutex
			pids := make(map[string]bool)
			launch := func(version string) error {
				reply, err := tryHello(socket, greeting("cold", version))
				if err != nil || reply.Negotiated == nil {
					return fmt.Errorf("%s", outcome(reply, err))
				}
				if reply.Negotiated.DaemonVersion != version {
					return fmt.Errorf("daemon_version %q", reply.Negotiated.DaemonVersion)
				}
				identity, err := askAt(reply.Negotiated.BackendPipe, "ping")
				if err != nil {
					return err
				}
				if !strings.Contains(identity, "version="+version+" ") || !strings.Contains(identity, "listener="+c.listener) {
					return fmt.Errorf("the backend says %q", identity)
				}
				_, _ = askAt(reply.Negotiated.BackendPipe, "exit 0") // so that not all of them run at once
				pid, _, _ := strings.Cut(identity, " ")
				mu.Lock()
				defer mu.Unlock()
				if pids[pid] {
					return fmt.Errorf("the backend of another version answers: %s", identity)
				}
				pids[pid] = true
				return nil
			}
			versions := make(chan string)
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					for v := range versions {
						if err := launch(v); err != nil {
							t.Errorf("version %s: %v", v, err)
						}
					}
				})
			}
			for i := range count {
				versions <- fmt.Sprintf("1.0.%d", i)
			}
			close(versions)
			wait.Wait()
			o.noZombies(t)
		})
	}
}

// TestRunningProcessLate: a backend that listens late is waited for, whichever way it listens. The original kills it.
func TestRunningProcessLate(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	modes := map[string]string{"adopts": "adopt-late-300", "binds": "strict-late-300", "slow": "strict-late-1500"}
	for service, mode := range modes {
		o.define(t, service, mode)
	}
	o.serve(t)
	socket := o.socket(t)
	for service := range maps.Keys(modes) {
		t.Run(service, func(t *testing.T) {
			if got := o.client(t, "hello", socket, service, goodVersion); got.Outcome != "negotiated" || got.Backend.PID == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestRunningProcessFirstCallers: all who say the first Hellos at the same time get the same backend. The original refuses all but one.
func TestRunningProcessFirstCallers(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "first", "late-200")
	o.serve(t)
	const n = 64
	got := o.client(t, "many", o.socket(t), "first", "2.0.0", fmt.Sprint(n))
	if got.Outcomes["negotiated"] != n || got.Answered != n || len(got.Errors) > 0 {
		t.Errorf("of %d callers: %v, %d answered, errors %v", n, got.Outcomes, got.Answered, got.Errors)
	}
	if len(got.Pipes) != 1 || len(got.PIDs) != 1 || got.ConnectionIDs != n {
		t.Errorf("pipes %v, processes %v, %d connection ids: want one, one, %d", got.Pipes, got.PIDs, got.ConnectionIDs, n)
	}
	if backends := o.children(t); len(backends) != 1 {
		t.Errorf("processes below the broker: %v", backends)
	}
}

// TestRunningProcessVersions: each version that is asked for is a backend of its own, and is found again.
func TestRunningProcessVersions(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	one, two := o.hello(t, "tool", "1.0.0"), o.hello(t, "tool", "1.0.1")
	again := o.hello(t, "tool", "1.0.0")
	if one.BackendPipe == two.BackendPipe || one.BackendPipe != again.BackendPipe {
		t.Errorf("pipes: %s, %s, and again %s", one.BackendPipe, two.BackendPipe, again.BackendPipe)
	}
	if one.KeepaliveIntervalSecs != envelope.DefaultKeepalive || one.NegotiatedProtocol != 1 || one.HandlePassedToken != nil {
		t.Errorf("negotiated %+v", one)
	}
	if one.ConnectionID == two.ConnectionID || two.ConnectionID == again.ConnectionID || one.ConnectionID == again.ConnectionID {
		t.Errorf("connection ids %d, %d, %d", one.ConnectionID, two.ConnectionID, again.ConnectionID)
	}
}
