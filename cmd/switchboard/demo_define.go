// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"github.com/switchboard-ipc/switchboard"
)

// servicesDir is the folder with the tour's definitions.
func (t *tour) servicesDir() string { return filepath.Join(t.dir, "services") }

// program returns the words that run a role of the tour.
func (t *tour) program(words ...string) []string {
	return append([]string{t.self, "_demo"}, words...)
}

// define writes a definition file; more are its other keys.
func (t *tour) define(name, version string, exec []string, more map[string]any) error {
	file := name
	if version != "" {
		file += "@" + version
	}
	keys := map[string]any{"name": name, "exec": exec}
	for key, value := range more {
		keys[key] = value
	}
	text, err := toml.Marshal(keys)
	if err != nil {
		return err
	}
	// It must not be writable by others, whatever the umask.
	return os.WriteFile(filepath.Join(t.servicesDir(), file+".toml"), text, 0o600)
}

// nobodyHas fails if a name is not free.
func (t *tour) nobodyHas(ctx context.Context, name string) error {
	entry, err := t.client.LookUp(ctx, name)
	switch {
	case errors.Is(err, switchboard.ErrUnavailable):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s runs already, as pid %d", name, entry.PID)
}

// launched notes a process that the broker launched, and has to end.
func (t *tour) launched(pid int) {
	if !slices.Contains(t.backends, pid) {
		t.backends = append(t.backends, pid)
	}
}

// noBackends fails if a process is left that the broker launched.
func (t *tour) noBackends() error {
	for _, pid := range t.backends {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pid %d, which the broker launched, is left behind", pid)
		}
	}
	return nil
}

// endBackends ends what a broker launched that was killed, or crashed: the next one takes it over, and ends it.
func (t *tour) endBackends() error {
	if t.broker == nil || t.broker.err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), brokerGrace)
	defer cancel()
	err := t.startBroker(ctx)
	if t.broker != nil {
		t.broker.end(brokerGrace)
	}
	if err != nil {
		return fmt.Errorf("the broker of the tour ended too early, and what it had launched may be left: %w", err)
	}
	return nil
}
