// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// world is what is outside of a directory that launches: callers, processes and sessions.
type world struct {
	t        *rapid.T
	d, twin  *directory.Directory
	limits   directory.Limits
	now      int64
	next     directory.ID
	callers  map[directory.ID]bool // those without an end
	launched map[directory.ID]bool // what Launch was for, until Ended; true: Launched was said
	ended    map[directory.ID]bool
	sessions map[directory.ID]uint64 // their sequences
	closed   bool
	log      []applied
}

// applied is an event and what it led to.
type applied struct {
	event   directory.Event
	actions []directory.Action
}

func (w *world) id() directory.ID { w.next++; return w.next }

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, e := range w.log {
		format += "\n%T%+v"
		args = append(args, e.event, e.event)
		for _, a := range e.actions {
			format += "\n    %T%+v"
			args = append(args, a, a)
		}
	}
	w.t.Fatalf(format, args...)
}

func (w *world) apply(ev directory.Event) {
	w.t.Helper()
	before := make(map[directory.Key]directory.ServiceImage)
	for _, svc := range w.d.Export().Services {
		before[svc.Key] = svc
	}
	actions := slices.Clone(w.d.Apply(ev))
	w.log = append(w.log, applied{ev, actions})
	if copied := w.twin.Apply(ev); !slices.EqualFunc(actions, copied, func(a, b directory.Action) bool { return reflect.DeepEqual(a, b) }) {
		w.fail("the original and its copy differ:\n%+v\n%+v", actions, copied)
	}
	if err := w.d.Check(); err != nil {
		w.fail("check: %v", err)
	}
	for _, a := range actions {
		switch a := a.(type) {
		case directory.Refuse:
			w.end(a.Connection)
		case directory.Redirect:
			w.end(a.Connection)
		case directory.Forget:
			w.end(a.Connection)
		case directory.CloseSession:
			delete(w.sessions, a.Session)
		case directory.PortAnswer:
			w.portAnswered(a)
		case directory.Launch:
			if _, knocked := ev.(directory.Knock); a.Definition.Accept == directory.Ports && !knocked && !restarts(ev) {
				w.fail("launched for a caller: %+v", a)
			}
			if w.closed || w.launched[a.Backend] || w.ended[a.Backend] {
				w.fail("launched: %+v", a)
			}
			c, _ := ev.(directory.Change)
			svc := before[a.Key]
			same := svc.Definition.Accept == a.Definition.Accept && svc.Definition.Notify == a.Definition.Notify && svc.Definition.Hash == a.Definition.Hash // or it runs something else
			if _, restart := c.Op.(directory.Restart); !restart && same && w.now < svc.NotBefore {
				w.fail("launched %d before %d: %+v", w.now, svc.NotBefore, a)
			}
			w.launched[a.Backend] = false
		case directory.Stop:
			if _, ok := w.launched[a.Backend]; !ok {
				w.fail("told to stop, and is no more: %+v", a)
			}
		}
	}
	w.invariants()
	w.copy(false)
}

func restarts(ev directory.Event) bool {
	c, _ := ev.(directory.Change)
	_, ok := c.Op.(directory.Restart)
	return ok
}

func (w *world) end(connection directory.ID) {
	w.t.Helper()
	if !w.callers[connection] {
		w.fail("caller %d ended twice", connection)
	}
	delete(w.callers, connection)
}

func (w *world) invariants() {
	w.t.Helper()
	img := w.d.Export()
	if len(img.Callers) != len(w.callers) {
		w.fail("%d callers, want %v", len(img.Callers), w.callers)
	}
	starting := make(map[directory.ID]int)
	for _, c := range img.Callers {
		if !w.callers[c.ID] {
			w.fail("caller %d has had its end", c.ID)
		}
		if c.Deadline <= 0 || c.Deadline > w.now+startTime+stopTime+2e9 {
			w.fail("caller %d waits until %d", c.ID, c.Deadline)
		}
		if c.Backend != 0 {
			starting[c.Service]++
		}
	}
	serving := make(map[directory.ID]directory.ID)
	for _, b := range img.Backends {
		if _, ok := w.launched[b.ID]; !ok {
			w.fail("backend %d was not launched, or has ended", b.ID)
		}
		if b.Definition.Accept != directory.Connection && !b.Retired {
			if other := serving[b.Service]; other != 0 {
				w.fail("backends %d and %d are of one service", other, b.ID)
			}
			serving[b.Service] = b.ID
		}
	}
	if len(img.Backends) != len(w.launched) {
		w.fail("%d backends, want %v", len(img.Backends), w.launched)
	}
	for svc, n := range starting {
		if n > 8 {
			w.fail("%d processes of service %d start at a time", n, svc)
		}
	}
}

// copy compares the original and its copy; the copy may then be replaced by a new one, and take its place.
func (w *world) copy(fresh bool) {
	w.t.Helper()
	w.d.Deadline() // forgets what is stale
	w.twin.Deadline()
	img := w.d.Export()
	if b := w.twin.Export(); !reflect.DeepEqual(img, b) {
		w.fail("the original and its copy differ:\n%+v\n%+v", img, b)
	}
	twin, err := directory.Import(img, w.limits)
	if err != nil {
		w.fail("cannot import: %v", err)
	}
	if b := twin.Export(); !reflect.DeepEqual(img, b) {
		w.fail("exported\n%+v\nand after import\n%+v", img, b)
	}
	if fresh {
		w.d, w.twin = w.twin, twin
	}
}

func (w *world) backend(n uint8) directory.ID {
	var ids []directory.ID
	for id := range w.launched {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return choose(ids, n)
}

func (w *world) session(n uint8) directory.ID {
	var ids []directory.ID
	for id := range w.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return choose(ids, n)
}

func (w *world) change(n uint8, op directory.Op) {
	w.t.Helper()
	id := w.session(n)
	if _, ok := w.sessions[id]; ok {
		w.sessions[id]++
		w.apply(directory.Change{Session: id, Request: 1, Sequence: w.sessions[id], Op: op, Now: w.now})
	}
}

func (w *world) hello(namespace, backend directory.ID) directory.ID {
	w.t.Helper()
	id := w.id()
	w.sessions[id] = 0
	w.apply(directory.OpenSession{
		Session: id, Client: [16]byte{byte(id), byte(id >> 8)}, Process: directory.Process(id), Peer: up, Namespace: namespace, Backend: backend, Request: 1, Now: w.now,
	})
	return id
}

// ends ends a process, in any state.
func (w *world) ends(id directory.ID, failed, unserved bool) {
	w.t.Helper()
	if _, ok := w.launched[id]; ok {
		delete(w.launched, id)
		w.ended[id] = true
		w.apply(directory.Ended{Backend: id, Status: "exited", Failed: failed, Unserved: unserved, Output: []string{"last"}, Now: w.now})
	}
}

func randomDefinition(n uint8) directory.Definition {
	def := definition(pick(n, directory.HandedOver, directory.Listener, directory.Path, directory.Connection, directory.Ports))
	def.Version, def.Scope = pick(n/4, "", "1.2.0", "2.0.0"), pick(n/16, "", "", "/f")
	def.Notify = n%7 == 0
	if def.Accept == directory.Path && n%3 == 0 {
		def.Probed, def.Hash = true, pick(n/3, "a", "b")
	}
	if def.Accept == directory.Ports {
		def.Ports, def.Notify = []string{"p", "q"}, false
	} else if n%3 == 1 {
		def.Idle = 5e8
	}
	if n > 250 {
		def.Broken = "it is broken"
	}
	return def
}

// TestRandomServices applies random events of callers, processes and sessions.
func TestRandomServices(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := directory.Limits{
			Waiting: rapid.IntRange(1, 20).Draw(t, "waiting"), InFlightPerName: rapid.IntRange(1, 3).Draw(t, "in flight per name"),
			Slice: rapid.IntRange(1, 3).Draw(t, "slice"),
		}
		w := &world{
			t: t, d: directory.New(limits), twin: directory.New(limits), limits: limits, next: 100,
			callers: make(map[directory.ID]bool), launched: make(map[directory.ID]bool), ended: make(map[directory.ID]bool), sessions: make(map[directory.ID]uint64),
		}
		w.hello(directory.Root, 0)
		for _, s := range steps.Draw(t, "steps") {
			w.step(s)
		}
		w.finish(rapid.Bool().Draw(t, "keep"))
	})
}

func (w *world) step(s step) {
	w.t.Helper()
	w.now += int64(s.D) * int64(s.D) * 1e4 // up to 0.65 s
	def, name := randomDefinition(s.C), pick(s.B, "up", "up", "up", "down")
	version, scope := pick(s.D, "", "", "^1.2", "2.0.0"), pick(s.D/4, "", "", "/f", "/g")
	sel := directory.Select{Name: name, Version: pick(s.D, "", "", "^1.2"), Scope: pick(s.C, "", "", "/f")}
	if s.A%8 == 3 {
		w.portStep(s, def)
		return
	}
	switch k := s.What * 61; {
	case k < 4:
		w.copy(true)
	case k < 76:
		for range pick(s.A, 1, 1, 1, 12) {
			c := directory.Call{Connection: w.id(), Namespace: directory.Root, Name: name, Version: version, Scope: scope, Caller: caller, Now: w.now}
			if s.A%8 != 7 {
				c.Definitions = []directory.Definition{def}
			}
			if s.B%4 == 1 {
				c.Definitions = append(c.Definitions, randomDefinition(s.B))
				c.Definitions = slices.CompactFunc(c.Definitions, func(a, b directory.Definition) bool { return a.Version == b.Version && a.Scope == b.Scope })
			}
			w.callers[c.Connection] = true
			w.apply(c)
		}
	case k < 84:
		for _, c := range w.d.Export().Callers {
			if c.ID%8 == directory.ID(s.A%8) {
				w.apply(directory.HangUp{Connection: c.ID})
			}
		}
	case k < 112:
		w.launch(w.backend(s.A), s)
	case k < 132: // a process goes the way that it should
		id := w.backend(s.A)
		w.launch(id, s)
		w.apply(directory.Executed{Backend: id, Now: w.now})
		w.apply(directory.Ready{Backend: id, Notified: true, Now: w.now})
		w.apply(directory.Accepted{Backend: id, Socket: directory.Socket(s.B), Now: w.now})
		for _, b := range w.d.Export().Backends {
			if b.ID == id && b.Definition.Accept == directory.HandedOver && s.B%4 != 0 {
				session := w.hello(directory.Root, id)
				w.sessions[session]++
				w.apply(directory.Change{Session: session, Request: 1, Sequence: 1, Now: w.now, Op: directory.Claim{
					Lease: w.id(), Name: name, Kind: directory.Service, Version: pick(s.D, "", "", "1.2.0"),
				}})
			}
			if b.ID == id && b.Definition.Accept == directory.Ports && s.B%4 != 0 {
				w.apply(directory.CheckIn{Session: w.hello(directory.Root, id), Lease: w.id(), Name: pick(s.C, "p", "q", "up"), Since: 9, Now: w.now})
			}
		}
	case k < 138:
		w.apply(directory.Executed{Backend: w.backend(s.A), Now: w.now})
	case k < 142:
		w.apply(directory.Ready{Backend: w.backend(s.A), Notified: s.B%2 == 0, Now: w.now})
	case k < 146:
		w.apply(directory.Accepted{Backend: w.backend(s.A), Now: w.now})
	case k < 166:
		w.ends(w.backend(s.A), s.B%2 == 0, s.C%4 == 0)
	case k < 170:
		w.apply(directory.NotReady{Backend: w.backend(s.A), Output: []string{"last"}, Now: w.now})
	case k < 178:
		if s.A%2 == 0 {
			w.now += startTime
		}
		w.apply(directory.Tick{Now: w.now})
	case k < 186:
		w.apply(directory.Counted{Backend: w.backend(s.A), Open: int(s.B % 2), Now: w.now})
	case k < 190:
		w.change(s.A, directory.StopBackends{Select: sel})
	case k < 196:
		w.change(s.A, directory.RetireBackends{Select: sel})
	case k < 204:
		w.change(s.A, directory.Restart{Select: sel, Definitions: []directory.Definition{def}[:s.B/4%2]})
	case k < 212:
		w.apply(directory.Knock{Key: directory.Key{Namespace: directory.Root, Name: name, Version: def.Version, Scope: def.Scope}, Definition: def, Now: w.now})
	case k < 218:
		def.Source, def.Hash = "", fmt.Sprint(s.C%4)
		w.change(s.A, directory.Declare{Lease: w.id(), Name: name, Constraint: def.Version, Definition: def})
	case k < 224:
		w.change(s.A, directory.Claim{Lease: w.id(), Name: name, Kind: pick(s.B, directory.Service, directory.Service, directory.Port), Version: def.Version, Scope: def.Scope})
	case k < 228:
		w.hello(directory.Root, 0)
	case k < 234:
		if id := w.session(s.A); w.now > 0 {
			delete(w.sessions, id)
			w.apply(directory.EndSession{Session: id, Reason: "exited", Now: w.now})
		}
	case k < 238:
		w.apply(directory.Continue{Now: w.now})
	case k < 242:
		for _, n := range w.d.Export().Names {
			if n.Entry.Session != 0 && s.A%2 == 0 && w.sessions[n.Entry.Session] != 0 {
				w.sessions[n.Entry.Session]++
				w.apply(directory.Change{Session: n.Entry.Session, Request: 1, Sequence: w.sessions[n.Entry.Session], Op: directory.Release{Lease: n.Entry.Lease}, Now: w.now})
				break
			}
		}
	case k < 253:
		w.take(s)
	default:
		if s.A%8 == 0 {
			w.closed = true
			w.apply(directory.Close{Reason: "the broker ends", Keep: s.B%2 == 0, Now: w.now})
		}
	}
}

func (w *world) launch(id directory.ID, s step) {
	if said, ok := w.launched[id]; ok && !said {
		w.launched[id] = true
		w.apply(directory.Launched{Backend: id, Owner: started, Path: fmt.Sprint("/run/", s.B), Since: 77, Now: w.now})
	}
}

func (w *world) take(s step) {
	w.t.Helper()
	img := w.d.Export()
	for _, c := range img.Callers {
		if c.Handed && c.Lease != 0 && c.ID%4 != 0 {
			e, _ := w.d.Entry(c.Lease)
			if s.B%4 == 0 {
				w.apply(directory.NotDelivered{Connection: c.ID})
				w.apply(directory.Writable{Session: e.Session, Now: w.now})
				continue
			}
			w.apply(directory.Taken{Session: e.Session, Connection: c.ID, Socket: directory.Socket(s.C), Now: w.now})
		}
	}
	if s.D%2 == 0 {
		var over []directory.ID
		w.d.Handed(func(c directory.Caller) { over = append(over, c.Connection) })
		slices.Sort(over)
		w.apply(directory.Disconnected{Connections: over})
	}
}

// finish ends everything, in the order in which a broker does, and wants nothing to be left.
func (w *world) finish(keep bool) {
	w.t.Helper()
	w.closed = true
	w.apply(directory.Close{Reason: "the test ends", Keep: keep, Now: w.now})
	for i := 0; len(w.launched) > 0; i++ {
		w.ends(w.backend(0), i%2 == 0, false)
	}
	for len(w.sessions) > 0 {
		id := w.session(0)
		delete(w.sessions, id)
		w.apply(directory.EndSession{Session: id, Reason: "exited", Now: w.now})
	}
	for w.d.Unfinished() {
		w.apply(directory.Continue{Now: w.now})
	}
	w.endPorts()
	if len(w.callers) > 0 {
		w.fail("callers without an end: %v", w.callers)
	}
	w.now += maxRetry*2 + 120e9 // crashes are remembered for longer
	w.apply(directory.Tick{Now: w.now})
	if at, ok := w.d.Deadline(); ok {
		w.fail("something is due at %d", at)
	}
	img := w.d.Export()
	img.Now, img.Drawn, img.Closing = 0, 0, ""
	if got, want := fmt.Sprintf("%+v", img), fmt.Sprintf("%+v", directory.New(w.limits).Export()); got != want {
		w.fail("left in the end:\n%s\nwant\n%s", got, want)
	}
}
