// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

var portNames = []string{"a", "a.b", "a.c", "d"}

// TestRandomPorts applies random events of ports, with all others in between, to a directory, its copy and the model.
func TestRandomPorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t, directory.Limits{
			NamesPerSession: rapid.IntRange(1, 8).Draw(t, "names"), WatchesPerSession: 2, Waiting: 4, InFlight: 8, InFlightPerName: 2, TakeOver: 50,
			Slice: rapid.IntRange(1, 3).Draw(t, "slice"), PortsPerNamespace: rapid.IntRange(1, 5).Draw(t, "ports"),
		})
		for i := range uint8(4) {
			r.portStep(step{What: 0, A: i, C: i})
		}
		for _, s := range steps.Draw(t, "steps") {
			if s.What%4 == 0 {
				r.step(s)
			} else {
				r.portStep(s)
			}
		}
		r.empty()
	})
}

// port takes a port in one of some states, or now and then another lease, or none.
func (r *run) port(n uint8, states ...directory.State) directory.ID {
	return choose(live(r.m.leases, func(l *modelLease) bool {
		for _, state := range states {
			if l.port && l.State == state {
				return true
			}
		}
		return n >= 235
	}), n)
}

func (r *run) portStep(s step) {
	name, now := pick(s.C, portNames...), r.clock(s)
	switch k := s.What * 61; {
	case k < 20:
		r.apply(directory.OpenSession{
			Session: r.id(), Client: [16]byte{1, s.A % 16}, Process: directory.Process(s.A%16 + 1), Peer: directory.Peer{PID: 100 + int(s.B%4), UID: 1000},
			Namespace: pick(s.C, directory.Root, r.namespace(s.D), r.namespace(s.D)), Request: 1, Lingers: s.B%8 != 7, Now: now,
		})
	case k < 92:
		r.apply(directory.CheckIn{Session: r.session(s.A), Lease: r.id(), Name: name, Strict: s.B%8 == 0, Since: int64(s.B), Now: now})
	case k < 112:
		r.apply(directory.RegisterPort{Session: r.session(s.A), Lease: r.id(), Name: name, Since: int64(s.B), Now: now})
	case k < 136:
		r.apply(directory.CreatePort{Session: r.session(s.A), Lease: r.id(), Name: name, Since: int64(s.B), Now: now})
	case k < 148:
		r.apply(directory.UndeclarePort{Session: r.session(s.A), Name: name, Now: now})
	case k < 158:
		r.apply(directory.DeclarePort{Lease: r.id(), Name: name, Service: directory.Key{Namespace: directory.Root, Name: definitionOf}, OnMessage: s.B%2 == 0, Since: 7, Now: now})
	case k < 164:
		r.apply(directory.WithdrawPort{Lease: r.port(s.A, directory.Active, directory.Inactive, directory.Stopping), Now: now})
	case k < 188:
		r.apply(directory.PortReturned{Lease: r.port(s.A, directory.Stopping), Now: now})
	case k < 200:
		r.apply(directory.PortDied{Lease: r.port(s.A, directory.Active, directory.Registered), Reason: fmt.Sprint("death ", s.B), Now: now})
	case k < 212:
		r.apply(directory.MakeSubset{Session: r.session(s.A), New: r.id(), Now: now})
	case k < 220:
		subsets := live(r.m.namespaces, func(ns *modelNamespace) bool { return s.A > 200 || ns.subset && !ns.ended })
		r.apply(directory.EndNamespace{Namespace: choose(subsets, s.A), Reason: fmt.Sprint("death ", s.B), Now: now})
	case k < 236: // the owner of a port ends
		id := directory.ID(0)
		if l := r.m.leases[r.port(s.A, directory.Active, directory.Registered)]; l != nil {
			id = l.Session
		}
		r.apply(directory.EndSession{Session: id, Reason: fmt.Sprintf("process %d exited", s.B), Now: now})
	case k < 240:
		r.apply(r.change(s, directory.Release{Lease: r.port(s.C, directory.Active, directory.Registered)}))
	case k < 250:
		r.apply(directory.Continue{Now: now})
	default:
		if s.A%2 == 0 {
			r.reimport(s.B%2 == 0)
		}
	}
}

// emptyPorts ends the ports and namespaces that do not end with sessions.
func (r *run) emptyPorts() {
	for _, id := range live(r.m.namespaces, func(ns *modelNamespace) bool { return ns.subset && !ns.ended }) {
		r.apply(directory.EndNamespace{Namespace: id, Reason: "the test ends"})
	}
	for r.d.Unfinished() {
		r.apply(directory.Continue{})
	}
	s := directory.OpenSession{Session: r.id(), Client: [16]byte{2}, Process: 100, Namespace: directory.Root, Lingers: true}
	r.apply(s)
	for _, id := range live(r.m.leases, func(l *modelLease) bool { return l.port }) {
		name, service := r.m.leases[id].Name, r.m.leases[id].Service
		r.apply(directory.PortReturned{Lease: id})
		if service.Name == "" {
			r.apply(directory.UndeclarePort{Session: s.Session, Name: name})
		} else {
			r.apply(directory.WithdrawPort{Lease: id})
		}
	}
	r.apply(directory.EndSession{Session: s.Session, Reason: "the test ends"})
}
