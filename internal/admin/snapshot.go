// SPDX-License-Identifier: Apache-2.0

package admin

import "time"

// Snapshot is what the broker knows at one moment, as plain values: nothing in it changes while a reply is built.
// All *UnixMS are milliseconds since 1970, 0 if it has not happened.
type Snapshot struct {
	GeneratedUnixMS uint64
	Instance        string // "shared", "private:NAME" or "explicit:NAME": whose address the request came to
	Pipe            string // that address
	PID             uint32
	Uptime          time.Duration

	Accepting bool // Hellos are taken at all
	Ready     bool // …and would be answered now: false while demoted, too
	Demoted   bool // descriptors have run out

	ConnectionsOpen uint64 // to the sockets of this front
	FDs             FDUsage
	Inodes          Inodes

	Instances []Instance // all that this broker serves; empty: the one above
	Backends  []Backend
	Budgets   []Budget
	Events    []Event // oldest first
	Settings  []Setting
	Counters  Counters
}

// FDUsage says how many descriptors the process holds, and may hold. Limit 0: unknown.
type FDUsage struct{ Open, Limit uint64 }

// Inodes is the inode table of the file system with the broker's data.
type Inodes struct {
	Supported   bool
	Detail      string // why not Supported; empty: the file system has no such table
	Total, Free uint64
}

// Instance is one address that the broker serves.
type Instance struct {
	Name      string // as Snapshot.Instance
	Pipe      string
	Accepting bool
}

// State is what a backend does.
type State string

// The states. The original knows no backend before it runs.
const (
	Starting State = "starting"
	Running  State = "running"
	Stale    State = "stale" // its process has ended
)

// Backend is one process behind a service name.
type Backend struct {
	Service, Version string
	PID              uint32 // 0: not known yet
	Pipe             string // where it listens
	State            State
	LastActiveUnixMS uint64 // its start, or the last time a client was sent to it
	LastHelloUnixMS  uint64
	LastError        string // empty: none
}

// Budget is what is left of the launches that one service and version may use up in a window.
type Budget struct {
	Instance, Service, Version string
	Used, Remaining            uint32
	InFlight                   bool   // a launch is under way
	WindowEndUnixMS            uint64 // when Used is forgotten
}

// Event is one row of what happened, in the terms of the message LifecycleEvent (section 4.4).
type Event struct {
	UnixMS       uint64
	PID          uint32
	Service      string
	Kind         string // a name of EventKind: "SPAWN", "DIED_IDLE"
	Reason       string
	Extra        map[string]string
	Severity     uint32 // OpenTelemetry's number
	SeverityText string
	RequestID    string
	ConnectionID uint64
	Instance     string
}

// Setting is one leaf of the effective configuration. It replaces, or joins, what CONFIG says by itself.
type Setting struct {
	Group, Key string // "paths", "service_definition_dir"
	Value      any    // what encoding/json can encode
	Source     string // "default", "platform-default", "env:NAME", "flag:--NAME", "runtime"
}
