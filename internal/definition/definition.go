// SPDX-License-Identifier: Apache-2.0

// Package definition holds what the broker may launch: definition files, the
// rules for them, the folders they are in, and commands given on the spot,
// which obey the same rules.
//
// [Parse] and [Definition.Check] are pure. [Load], [List], [Project] and the
// [Catalogue] read files; nothing here writes any.
package definition

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/project"
)

// Accept is how a launched process gets its callers.
type Accept string

const (
	// Listener is the default: the process inherits a listening socket, as from systemd (LISTEN_FDS).
	Listener Accept = "listener"
	// Connection is one process per caller, with the connection as its standard input and output, as from inetd.
	Connection Accept = "connection"
	// Path: the process binds $SWITCHBOARD_SOCKET itself.
	Path Accept = "path"
	// Native: the process opens a session and calls Listen.
	Native Accept = "native"
	// Mach: the process checks its ports in, by the Mach bootstrap protocol. For definition files only.
	Mach Accept = "mach"
)

// hashDigits is the length of what [Definition.Hash] returns.
const hashDigits = 32

// Definition is what runs for a name, and how. Begin with [Default]: the zero value obeys none of the rules.
type Definition struct {
	File          string        // where it was read; "" for a command on the spot
	Name, Version string        // Version is MAJOR.MINOR.PATCH, or "" for none
	Exec          []string      // at least one word; the first is an absolute path
	Accept        Accept        // never ""
	Notify        bool          // ready = "notify": it says itself when it is ready (NOTIFY_SOCKET)
	Scoped        bool          // scope = "directory": one instance per project folder of the caller
	Markers       []string      // what a project folder has in it (see [Project]); at least one
	IdleStop      time.Duration // how long without a connection before it is stopped; 0: it never is
	StartTimeout  time.Duration // by when it must be ready; more than 0
	StopTimeout   time.Duration // between SIGTERM and SIGKILL
	Env           []string      // "K=V", sorted; no K twice
	PassEnv       []string      // names whose values come from the broker's environment
	Dir           string        // working folder, absolute; "": the scope's folder, or /
	RestartMin    time.Duration // the first wait after a start that failed; more than 0
	RestartMax    time.Duration // the longest wait; at least RestartMin
	User          string        // whom it runs as; "": the broker's own user
	Ports         []string      // with Mach: the names of its ports, at least one; else none
	OnMessage     bool          // with Mach: launch = "message", and not the first look-up
}

// Default returns a definition with every default set, and without a name or a command.
func Default() Definition {
	return Definition{
		Accept:       Listener,
		Markers:      project.Markers(),
		IdleStop:     10 * time.Minute,
		StartTimeout: 10 * time.Second,
		StopTimeout:  5 * time.Second,
		RestartMin:   100 * time.Millisecond,
		RestartMax:   30 * time.Second,
	}
}

// Hash returns 32 hexadecimal digits that two definitions share exactly if they
// run the same: the same command with the same declared environment, folder and
// user, which accepts, gets ready and is scoped in the same way. It is what tells
// one command on the spot from another under the same name. The order of Env and
// PassEnv, the timeouts, the name and the version have no part in it.
func (d Definition) Hash() string {
	h := sha256.New()
	list := func(words ...string) {
		b := binary.BigEndian.AppendUint64(nil, uint64(len(words)))
		for _, w := range words {
			b = binary.BigEndian.AppendUint64(b, uint64(len(w)))
			b = append(b, w...)
		}
		h.Write(b)
	}
	flag := func(set bool) string {
		if set {
			return "yes"
		}
		return "no"
	}
	list(d.Exec...)
	list(slices.Sorted(slices.Values(d.Env))...)
	list(slices.Sorted(slices.Values(d.PassEnv))...)
	list(string(d.Accept), d.Dir, d.User, flag(d.Notify), flag(d.Scoped))
	if d.Scoped {
		list(slices.Sorted(slices.Values(d.Markers))...)
	}
	if d.Accept == Mach {
		list(slices.Sorted(slices.Values(d.Ports))...)
		list(flag(d.OnMessage))
	}
	return hex.EncodeToString(h.Sum(nil))[:hashDigits]
}
