// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// bus is a dbus-broker that runs, with a service that has the name busName.
type bus struct {
	program string // the C client
	address string
	broker  int // its process id
}

// startBus starts dbus-broker for a group, or says why it cannot be had.
func (p *peers) startBus(ctx context.Context, e *rows.Env) (*bus, error) {
	for _, program := range []string{"dbus-broker", "dbus-broker-launch", "dbus-daemon", "systemd-socket-activate"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("no %s: install the Debian packages dbus-broker, dbus and systemd", program)
		}
	}
	program, err := p.compile(ctx, "lookup_dbus", "-lsystemd")
	if err != nil {
		return nil, fmt.Errorf("%w (Debian package libsystemd-dev)", err)
	}
	role, err := e.Start(ctx, []string{p.self, busArgument, e.Folder}, proc.Options{Setup: isolate})
	if err != nil {
		return nil, err
	}
	launcher, err := strconv.Atoi(role.First)
	if err != nil {
		return nil, fmt.Errorf("cannot find dbus-broker: %w", err)
	}
	b := &bus{program: program, address: "unix:path=" + busSocket(e.Folder)}
	_, err = e.Start(ctx, []string{program, b.address, "serve", busName}, proc.Options{EndsByTERM: true})
	b.broker = proc.ChildOf(launcher)
	return b, err
}

// busSocket is where dbus-broker listens.
func busSocket(folder string) string { return filepath.Join(folder, "bus") }
