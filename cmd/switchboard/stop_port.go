// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/mach"
)

// stopPort is what stop does with a name that is a port and no service: one that was created, and that nobody has checked in, is
// taken back with what waits in it. why is the error of the attempt to stop a service.
func (a *app) stopPort(ctx context.Context, client *switchboard.Client, name string, why error) error {
	port, err := findPort(ctx, client, name)
	switch {
	case err != nil:
		return err
	case port == nil:
		return why
	case port.State != switchboard.Inactive:
		return &codeError{exitUnavailable, fmt.Errorf("cannot stop %q: it is a port, which goes with its owner (%s); "+
			"what the broker launched has the name of its service: switchboard service ls", name, owner(*port))}
	}
	boot, err := mach.Connect(ctx, mach.Options{RuntimeDir: a.runtimeDir, NoAutostart: true})
	if err != nil {
		return err
	}
	defer boot.Close()
	err = boot.Register(ctx, name, nil)
	switch mach.CodeOf(err) {
	case mach.OK:
	case mach.NotPrivileged:
		return &codeError{exitNotAllowed, fmt.Errorf("cannot stop %q: it is a port of a definition (switchboard service ls), and goes with that", name)}
	default:
		return &codeError{exitTryAgain, fmt.Errorf("cannot stop %q: %w", name, err)}
	}
	if still, err := findPort(ctx, client, name); err != nil || still != nil && still.Lease == port.Lease {
		return errors.Join(err, &codeError{exitUnavailable, fmt.Errorf("cannot stop %q: it is in namespace %s: say so inside of that", name, port.Namespace)})
	}
	_, err = fmt.Fprintf(a.stdout, "removed %s: a port that nobody had checked in\n", name)
	return err
}

// findPort returns the port of this name in the client's namespace, else in one below, or nil.
func findPort(ctx context.Context, client *switchboard.Client, name string) (*switchboard.Entry, error) {
	watcher, err := client.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	defer watcher.Close()
	entries, err := listNames(ctx, watcher)
	if err != nil {
		return nil, err
	}
	for i, e := range entries { // outer ones come first
		if e.Kind == switchboard.Port && e.Name == name {
			return &entries[i], nil
		}
	}
	return nil, nil
}
