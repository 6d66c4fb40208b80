// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// declare makes a name one that a command of the client's is launched for.
func (s *clientSession) declare(h session.Header, m session.Declare) {
	op, refusal := s.declaration(m)
	if refusal.Reason != directory.OK {
		s.change(h, directory.Fail{Refusal: refusal})
		return
	}
	if op.Definition.Accept == directory.Ports {
		s.declarePorts(h, op)
		return
	}
	s.change(h, op)
}

func (s *clientSession) declaration(m session.Declare) (op directory.Declare, r directory.Refusal) {
	malformed := func(text string) directory.Refusal {
		return directory.Refusal{Reason: directory.Malformed, Text: text}
	}
	if why := s.foreign(); why != "" {
		return op, directory.Refusal{Reason: directory.Denied, Text: why}
	}
	if err := name.Check(m.Name); err != nil {
		return op, malformed(err.Error())
	}
	if m.Scope != "" && (!filepath.IsAbs(m.Scope) || len(m.Scope) > maxPath) {
		return op, malformed(fmt.Sprintf("scope %q must be the absolute path of a folder, of at most %d bytes", m.Scope, maxPath))
	}
	version, err := definition.LowestVersion(m.Version)
	if err != nil {
		return op, malformed(err.Error())
	}
	def := definition.Default()
	def.Name, def.Version, def.Exec, def.Env, def.Dir, def.Notify, def.Scoped = m.Name, version, m.Exec, m.Env, m.Dir, m.Notify, m.Scope != ""
	if m.Accept != "" {
		def.Accept = definition.Accept(m.Accept)
	}
	if def.Ports = m.Ports; def.Accept == definition.Mach {
		def.IdleStop = 0
		if len(def.Ports) == 0 {
			def.Ports = []string{m.Name}
		}
	}
	if err := def.Check(); err != nil {
		return op, malformed(err.Error())
	}
	d := plain(def)
	d.Hash, d.Scope = def.Hash(), m.Scope
	files, _ := s.b.definitions(m.Name, m.Version, m.Scope, s.peer.PID)
	return directory.Declare{Lease: s.b.table.id(), Name: m.Name, Constraint: m.Version, Definition: d, Definitions: files}, r
}

// foreign says why this client may have no command run, or "". What the broker starts is outside of any sandbox that its
// client is in, so it must be in none.
func (s *clientSession) foreign() string { return s.b.foreign(s.peer) }

func (b *Broker) foreign(peer sys.Cred) string {
	if peer.UID != b.uid {
		return fmt.Sprintf("a command is run only for user %d, whose the broker is", b.uid)
	}
	differs := func(link string) bool {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", peer.PID, link))
		ours, _ := os.Readlink("/proc/self/" + link)
		return err != nil || theirs != ours
	}
	for _, ns := range []string{"user", "pid", "mnt"} {
		if differs("ns/" + ns) {
			return fmt.Sprintf("a command is not run for process %d: its %s namespace is not the broker's (it is in a sandbox or container); use a definition file", peer.PID, ns)
		}
	}
	if differs("root") {
		return fmt.Sprintf("a command is not run for process %d: its root folder is not the broker's (chroot); use a definition file", peer.PID)
	}
	if confined(peer.PID) {
		return fmt.Sprintf("a command is not run for process %d: it is confined (no_new_privs or seccomp) and the broker is not; use a definition file", peer.PID)
	}
	return ""
}

// confined reports whether a process may do less than this one, or other things.
func confined(pid int) bool {
	theirs, err := sys.ProcStatus(strconv.Itoa(pid))
	if err != nil || theirs["NoNewPrivs"] == "" {
		return true
	}
	ours, err := sys.ProcStatus("self")
	return err != nil || slices.ContainsFunc([]string{"NoNewPrivs", "Seccomp", "Seccomp_filters"}, func(field string) bool {
		return theirs[field] != ours[field]
	})
}

// supervise stops, restarts or retires backends.
func (s *clientSession) supervise(h session.Header, m session.Select) {
	if err := name.Check(m.Name); err != nil {
		s.change(h, directory.Fail{Refusal: directory.Refusal{Reason: directory.Malformed, Text: err.Error()}})
		return
	}
	sel := directory.Select{Name: m.Name, Version: m.Version, Scope: m.Scope}
	switch h.Op {
	case session.OpStop:
		s.change(h, directory.StopBackends{Select: sel})
	case session.OpRetire:
		s.change(h, directory.RetireBackends{Select: sel})
	default:
		definitions, _ := s.b.definitions(m.Name, m.Version, m.Scope, s.peer.PID)
		s.change(h, directory.Restart{Select: sel, Definitions: definitions})
	}
}

// launchedAs returns the backend of an instance, or 0.
func (s *clientSession) launchedAs(instance string) directory.ID {
	if instance == "" {
		return 0
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.b.instances[instance]
}

// tell tells a session what became of a backend. The lock is held.
func (b *Broker) tell(a directory.Tell) {
	s := b.session(a.Session)
	switch {
	case s == nil:
	case a.Started:
		s.event(session.OpStarted, 0, session.Started{Lease: uint64(a.Backend)}.Append(nil))
	default:
		s.event(session.OpEnded, 0, session.Ended{Lease: uint64(a.Backend), Reason: a.Reason}.Append(nil))
	}
}
