// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// Env is where a group measures: a folder of its own, and the processes in it.
// Its methods are for one goroutine.
type Env struct {
	Folder string   // temporary; removed after the group
	On     []string // begins the command of each process that is started from now on (Place)

	options Options
	started []*proc.Process
	folders []string // besides Folder; removed after the group
	brokers int
}

// Broker is a broker that runs as a process of its own.
type Broker struct {
	*proc.Process
	Folder string // its runtime folder
}

// Quick says that time matters more than exactness.
func (e *Env) Quick() bool { return e.options.Quick }

// Rounds are how often everything is measured.
func (e *Env) Rounds() int {
	if e.Quick() {
		return 3
	}
	return 11
}

// Slice is how long one measurement of one round lasts.
func (e *Env) Slice() time.Duration {
	if e.Quick() {
		return 150 * time.Millisecond
	}
	return 400 * time.Millisecond
}

// StartBroker starts a broker with a runtime folder of its own and waits until
// it is ready. It has a session of its own, as brokers have: schedulers share
// the processors among sessions (autogroups), or services, first. A peer's must
// have one too.
func (e *Env) StartBroker(ctx context.Context, args ...string) (*Broker, error) {
	return e.startBroker(ctx, nil, append(slices.Clip(args), "--running-process", "off")...)
}

// startBroker is StartBroker with a say in the command before it starts, and in
// where clients of running-process are served.
func (e *Env) startBroker(ctx context.Context, setup func(*exec.Cmd), args ...string) (*Broker, error) {
	e.brokers++
	folder := filepath.Join(e.Folder, "r"+strconv.Itoa(e.brokers))
	argv := append([]string{e.options.Binary, "serve", "--runtime-dir", folder}, args...)
	p, err := e.Start(ctx, argv, proc.Options{EndsByTERM: true, Session: true, Setup: setup})
	if err != nil {
		return nil, fmt.Errorf("cannot start a broker: %w", err)
	}
	return &Broker{Process: p, Folder: folder}, nil
}

// StartRole starts the running program again in a role of this package, and
// waits until it is ready.
func (e *Env) StartRole(ctx context.Context, args ...string) (*proc.Process, error) {
	return e.Start(ctx, slices.Concat(e.options.Self, args), proc.Options{})
}

// Start starts any program, which is ended after the group, and waits for its first line.
func (e *Env) Start(ctx context.Context, argv []string, o proc.Options) (*proc.Process, error) {
	p, err := proc.Start(ctx, slices.Concat(e.On, argv), o)
	if err != nil {
		return nil, err
	}
	e.started = append(e.started, p)
	return p, nil
}

// stop ends all that was started, the last first, and removes the folders.
func (e *Env) stop() error {
	for i := len(e.started) - 1; i >= 0; i-- {
		e.started[i].Stop()
	}
	e.started = nil
	var failed []error
	for _, folder := range append(e.folders, e.Folder) {
		if err := os.RemoveAll(folder); err != nil {
			failed = append(failed, fmt.Errorf("cannot remove %q: %w", folder, err))
		}
	}
	return errors.Join(failed...)
}

// pause waits, or returns the reason why there is no time left.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
