// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
)

const now = 1_790_000_000_000 // when the snapshots below were taken, unix ms

// busy is a snapshot that has something of everything.
func busy() admin.Snapshot {
	return admin.Snapshot{
		GeneratedUnixMS: now, Instance: "shared", Pipe: "/run/user/1000/running-process/broker/shared.sock", PID: 41,
		Uptime: 90*time.Second + 250*time.Millisecond, Accepting: true, Ready: true, ConnectionsOpen: 3,
		FDs:    admin.FDUsage{Open: 256, Limit: 1024},
		Inodes: admin.Inodes{Supported: true, Total: 1000, Free: 250},
		Instances: []admin.Instance{
			{Name: "shared", Pipe: "/run/user/1000/running-process/broker/shared.sock", Accepting: true},
			{Name: "private:zccache", Pipe: "/run/private.sock"},
		},
		Backends: []admin.Backend{
			{Service: "zccache", Version: "1.11.20", PID: 100, Pipe: "/run/a.sock", State: admin.Running,
				LastActiveUnixMS: now - 10, LastHelloUnixMS: now - 10},
			{Service: "zccache", Version: "1.11.19", PID: 99, Pipe: "/run/b.sock", State: admin.Stale,
				LastActiveUnixMS: now - 5000, LastError: `ended: exit status 3 <"&">`},
			{Service: "clud", Version: "0.1.0", Pipe: "/run/c.sock", State: admin.Starting},
		},
		Budgets: []admin.Budget{
			{Instance: "shared", Service: "zccache", Version: "1.11.20", Used: 1, Remaining: 2, WindowEndUnixMS: now + 2000},
			{Instance: "shared", Service: "clud", Version: "0.1.0", Used: 3, InFlight: true, WindowEndUnixMS: now + 12345},
			{Instance: "explicit:ci", Service: "clud", Version: "0.1.0", Used: 1, Remaining: 2, WindowEndUnixMS: now + 20000},
			{Instance: "shared", Service: "fbuild", Version: "2.0.0", Used: 3, WindowEndUnixMS: now},
		},
		Events: []admin.Event{
			{UnixMS: now - 5000, PID: 99, Service: "zccache", Kind: "SPAWN", Reason: "first caller", Severity: 9,
				SeverityText: "INFO", RequestID: "req-1", ConnectionID: 7, Instance: "shared"},
			{UnixMS: now - 4000, PID: 99, Service: "zccache", Kind: "DIED_CRASH", Reason: "exit status 3",
				Extra: map[string]string{"status": "3"}, Severity: 17, SeverityText: "ERROR", Instance: "shared"},
		},
		Settings: []admin.Setting{
			{Group: "paths", Key: "service_definition_dir", Value: "/etc/services", Source: "env:RUNNING_PROCESS_SERVICE_DEF_DIR"},
			{Group: "limits", Key: "hellos_per_second", Value: 256, Source: "default"},
		},
		Counters: counted().Read(),
	}
}

// counted has counted Hellos and launches.
func counted() *admin.Store {
	s := admin.NewStore()
	for _, d := range durations {
		s.HelloDone("zccache", "1.11.20", admin.HelloAccepted, d)
	}
	s.HelloDone("clud", "0.1.0", admin.HelloRefused(4), 20*time.Microsecond)
	s.HelloDone("", "", admin.HelloRefused(6), 5*time.Microsecond)
	s.SpawnAttempt("zccache", "1.11.20", admin.SpawnReady)
	s.SpawnAttempt("clud", "0.1.0", admin.SpawnFailed)
	s.SpawnAttempt("clud", "0.1.0", admin.SpawnFailed)
	s.SpawnAttempt("clud", "0.1.0", admin.SpawnTimedOut)
	return s
}

// durations are the Hellos of zccache in counted: on bounds, between them, and beyond the last.
var durations = []time.Duration{0, 50 * time.Microsecond, 51 * time.Microsecond, 88 * time.Microsecond, time.Millisecond,
	3 * time.Second, 30 * time.Second, time.Minute}
