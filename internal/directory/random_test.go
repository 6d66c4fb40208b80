// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

const badPattern = "a*b"

// versions says what comes of asking for a constraint where the name has a version.
var versions = map[[2]string]directory.Reason{
	{"^1.2", ""}: directory.Mismatch, {"^1.2", "2.0.0"}: directory.Mismatch, {"2.0.0", ""}: directory.Mismatch, {"2.0.0", "1.2.0"}: directory.Mismatch,
	{"one", ""}: directory.Malformed, {"one", "1.2.0"}: directory.Malformed, {"one", "2.0.0"}: directory.Malformed,
}

// step is one random event: what it is, and what it is done to. Its numbers are taken modulo what there is to choose from, so that
// a shorter sequence still means something.
type step struct{ What, A, B, C, D uint8 }

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		rapid.Uint8().Draw(t, "what"), rapid.Uint8().Draw(t, "a"), rapid.Uint8().Draw(t, "b"),
		rapid.Uint8().Draw(t, "c"), rapid.Uint8().Draw(t, "d"),
	}
}), 80, 400)

// TestRandom applies random events to a directory, its copy and the model.
func TestRandom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t, directory.Limits{
			NamesPerSession: rapid.IntRange(1, 8).Draw(t, "names"), WatchesPerSession: rapid.IntRange(1, 3).Draw(t, "watches"),
			Waiting: rapid.IntRange(1, 8).Draw(t, "waiting"), InFlight: rapid.IntRange(1, 24).Draw(t, "in flight"),
			InFlightPerName: rapid.IntRange(1, 4).Draw(t, "in flight per name"), TakeOver: 50, Slice: rapid.IntRange(1, 3).Draw(t, "slice"),
		})
		for i := range uint8(3) {
			r.step(step{What: 13, A: i, C: i})
		}
		for _, s := range steps.Draw(t, "steps") {
			r.step(s)
		}
		r.empty()
	})
}

// empty ends everything, and wants nothing to be left.
func (r *run) empty() {
	for _, id := range live(r.m.sessions, func(s *modelSession) bool { return !s.ended }) {
		r.apply(directory.EndSession{Session: id, Reason: "the test ends", Now: r.m.now})
	}
	for r.d.Unfinished() {
		r.apply(directory.Continue{Now: r.m.now})
	}
	r.emptyPorts()
	r.d.Deadline()
	got, want := r.d.Export(), directory.New(r.m.limits).Export()
	got.Now, got.Subsets = 0, 0
	if got, want := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); got != want {
		r.fail("left in the end:\n%s\nwant\n%s", got, want)
	}
}

// choose takes one of ids, or now and then one that is not there.
func choose(ids []directory.ID, n uint8) directory.ID {
	if n >= 250 || len(ids) == 0 {
		return 1_000_000 + directory.ID(n)
	}
	return ids[int(n)%len(ids)]
}

func (r *run) session(n uint8) directory.ID {
	return choose(live(r.m.sessions, func(s *modelSession) bool { return n >= 245 || !s.ended }), n)
}

func (r *run) namespace(n uint8) directory.ID {
	return choose(live(r.m.namespaces, func(ns *modelNamespace) bool { return n >= 240 || !ns.ended }), n)
}

func (r *run) caller(n uint8, state callerState) directory.ID {
	return choose(live(r.m.callers, func(c *modelCaller) bool { return n >= 240 || c.state == state }), n)
}

// change is a request in its order, or now and then out of it.
func (r *run) change(s step, op directory.Op) directory.Event {
	ev := directory.Change{Session: r.session(s.A), Request: uint32(s.B), Op: op, Now: r.clock(s)}
	if m := r.m.sessions[ev.Session]; m != nil {
		ev.Sequence = m.sequence + 1
		switch {
		case s.D > 251:
			ev.Sequence = uint64(s.C)
		case s.D > 235:
			ev.Sequence = m.sequence
		}
	}
	return ev
}

// clock is the time for events that need not have one.
func (r *run) clock(s step) int64 {
	if s.D%2 == 0 {
		return 0
	}
	return r.m.now + int64(s.D%8)
}

func pick[T any](n uint8, of ...T) T { return of[int(n)%len(of)] }

func (r *run) step(s step) {
	now := r.m.now + int64(s.D%8)
	names, folders := []string{"a", "a.b", "a.c", "d"}, []string{"", "", "/f", "/g"}
	peer := directory.Peer{PID: 100 + int(s.B%4), UID: 1000, Exe: pick(s.B, "", "/bin/a")}
	switch k := s.What * 61; { // rapid likes small numbers: these are spread over all
	case k < 8:
		if s.A%4 == 1 {
			r.reimport(s.B%2 == 1)
		}
	case k < 32:
		r.apply(directory.OpenSession{
			Session: r.id(), Client: [16]byte{s.A % 7}, Process: directory.Process(pick(s.C, s.A%7, s.A%7, s.A%7, 9)), Peer: peer,
			Namespace: pick(s.B, directory.Root, r.namespace(s.D), r.namespace(s.D)), Request: uint32(s.B), Now: r.clock(s),
		})
	case k < 37:
		r.apply(directory.EndSession{Session: r.session(s.A), Reason: fmt.Sprintf("process %d exited", s.B), Now: r.clock(s)})
	case k < 44:
		r.apply(directory.Continue{Now: r.clock(s)})
	case k < 84:
		r.apply(r.change(s, directory.Claim{
			Lease: r.id(), Name: pick(s.C, names...), Kind: pick(s.B, directory.Service, directory.Service, directory.Service, directory.Port),
			Version: pick(s.B/4, "", "1.2.0", "2.0.0"), Scope: pick(s.B/16, folders...),
			Accept: pick(s.C/4, directory.HandedOver, directory.HandedOver, directory.HandedOver, directory.Listener, directory.Path),
			Path:   pick(s.C/4, "", "", "", "s/a", "/run/a"), Since: int64(s.D),
		}))
	case k < 92:
		held := live(r.m.leases, func(l *modelLease) bool { return s.C > 200 || l.Session == r.session(s.A) })
		r.apply(r.change(s, directory.Release{Lease: choose(held, s.C)}))
	case k < 108:
		op := directory.JoinNamespace{New: r.id(), Name: pick(s.C, "x", "y", "z")}
		if ns := r.m.namespaces[r.namespace(s.C)]; s.B%8 == 7 && ns != nil && ns.subset {
			op.Name = ns.name
		}
		op.Sealed = s.B%4 == 1
		op.Only = pick(s.B/4, nil, nil, []string{"a"}, []string{"a", "d"})
		if s.B%4 != 1 && s.B < 240 {
			op.Only = nil
		}
		r.apply(r.change(s, op))
	case k < 116:
		r.apply(r.change(s, directory.OpenDoor{Lease: r.id(), Namespace: pick(s.C, 0, r.namespace(s.C), r.namespace(s.C))}))
	case k < 118:
		r.apply(r.change(s, directory.Fail{Refusal: directory.Refusal{Reason: directory.Malformed, Text: "the front found it wrong"}}))
	case k < 132:
		r.apply(directory.AddWatch{
			Session: r.session(s.A), Request: uint32(s.B % 8), Pattern: pick(s.C, "*", "a.*", "a", "d", badPattern),
			Kind: pick(s.D, directory.AnyKind, directory.AnyKind, directory.Service, directory.Port),
		})
	case k < 136:
		r.apply(directory.RemoveWatch{Session: r.session(s.A), Request: uint32(s.C), Watch: uint32(s.B % 8)})
	case k < 138:
		r.apply(directory.DropWatch{Session: r.session(s.A), Watch: uint32(s.B % 8)})
	case k < 188:
		ev := directory.Call{
			Namespace: r.namespace(s.A), Name: pick(s.C, names...), Version: pick(s.B, "", "^1.2", "2.0.0", "one"), Scope: pick(s.B/4, folders...),
			Caller: peer, Now: now,
		}
		if s.B%4 != 3 { // most calls find somebody
			takers := live(r.m.leases, func(l *modelLease) bool { return l.Kind == directory.Service && l.Accept == directory.HandedOver })
			if l := r.m.leases[choose(takers, s.A)]; l != nil {
				ev.Namespace, ev.Name, ev.Version, ev.Scope = l.Namespace, l.Name, "", ""
			}
		}
		for range s.C%4 + 1 {
			ev.Connection = r.id()
			r.apply(ev)
		}
	case k < 194:
		r.apply(directory.HangUp{Connection: r.caller(s.A, pick(s.B, waiting, waiting, handed))})
	case k < 228:
		for range s.D%4 + 1 {
			ev := directory.Taken{Connection: r.caller(s.A, handed), Session: r.session(s.B), Socket: directory.Socket(s.C), Now: now}
			if c := r.m.callers[ev.Connection]; c != nil && s.B < 240 && r.m.leases[c.lease] != nil {
				ev.Session = r.m.leases[c.lease].Session
			}
			r.apply(ev)
		}
	case k < 230:
		r.apply(directory.NotDelivered{Connection: r.caller(s.A, waiting)})
	case k < 236:
		r.full[r.session(s.A)] = true
	case k < 242:
		delete(r.full, r.session(s.A))
		r.apply(directory.Writable{Session: r.session(s.A), Now: now})
	case k < 252:
		r.apply(directory.Tick{Now: now + int64(s.A%32)})
	default:
		var over []directory.ID
		r.d.Handed(func(c directory.Caller) {
			if c.Connection%3 == directory.ID(s.A%3) {
				over = append(over, c.Connection)
			}
		})
		r.apply(directory.Disconnected{Connections: append(over, choose(nil, s.B))})
	}
}
