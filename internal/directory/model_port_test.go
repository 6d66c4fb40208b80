// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

const (
	nsEnded      = "its namespace ended"
	definitionOf = "com.example.defined" // the service of the definition that ports have; nobody launches it
)

// stays reports whether a lease outlives its session.
func (l *modelLease) stays() bool { return l.port && l.Declared && !l.withdrawn }

// due reports whether a lease is that of an ended session.
func (m *model) due(l *modelLease) bool { return l.Session != 0 && m.sessions[l.Session].ended }

// leaving reports whether a lease is one that an ended namespace has left, and nobody's end ends.
func (m *model) leaving(l *modelLease) bool {
	if l.Session == 0 {
		return m.namespaces[l.Namespace].ended
	}
	return !m.due(l) && m.namespaces[m.sessions[l.Session].namespace].ended
}

// has reports whether a lease keeps its name from others.
func (m *model) has(l *modelLease) bool {
	return !m.namespaces[l.Namespace].ended && (!m.due(l) || l.stays())
}

// moves reports whether the end of its session leaves a lease waiting for its next owner.
func (m *model) moves(l *modelLease) bool {
	return l.stays() && !m.namespaces[l.Namespace].ended
}

// kept reports whether a namespace that has ended is one that sessions linger in, or around such a one.
func (m *model) kept(ns directory.ID) bool {
	for _, s := range m.sessions {
		if !s.ended && slices.Contains(m.chain(s.namespace), ns) {
			return true
		}
	}
	return false
}

// unused is how many ports are inactive and have a definition.
func (m *model) unused() (n int) {
	for _, l := range m.leases {
		if l.State == directory.Inactive && l.Service.Name != "" {
			n++
		}
	}
	return n
}

// giveUp takes a declared port from its owner.
func (m *model) giveUp(l *modelLease, reason string, w *wanted) {
	w.awaits[l.Lease] = l.Session
	l.Session, l.State = 0, directory.Stopping
	w.changed[l.Lease] = &change{reason: reason}
}

// change is one of a port's state, of which all must be told who watch.
type change struct {
	reason    string
	published bool
	told      map[*modelWatch]bool
}

// portEvent brings the model to where it is after an event of ports, and reports whether it also ends a slice.
func (m *model) portEvent(ev directory.Event, w *wanted) (sliced bool) {
	answer := func(session directory.ID) { w.port = &directory.PortAnswer{Session: session} }
	switch ev := ev.(type) {
	case directory.CheckIn:
		answer(ev.Session)
		m.checkIn(ev, w)
	case directory.RegisterPort:
		answer(ev.Session)
		s, l, r := m.ask(ev.Session, ev.Name)
		switch {
		case r != directory.OK:
		case l != nil && l.State == directory.Inactive:
			r = directory.Denied
		case l != nil:
			r = directory.NameTaken
		case m.held(s.id) >= m.limits.NamesPerSession:
			r = directory.LimitHit
		default:
			m.addPort(s.namespace, s, directory.Entry{Lease: ev.Lease, Name: ev.Name, State: directory.Registered, Since: ev.Since}, w)
		}
		w.port.Refusal.Reason = r
	case directory.CreatePort:
		answer(ev.Session)
		s, l, r := m.ask(ev.Session, ev.Name)
		switch {
		case r != directory.OK:
		case l != nil:
			r = directory.NameTaken
		case len(live(m.leases, func(l *modelLease) bool { return l.Declared && l.Namespace == s.namespace })) >= m.limits.PortsPerNamespace:
			r = directory.LimitHit
		default:
			m.addPort(s.namespace, nil, directory.Entry{Lease: ev.Lease, Name: ev.Name, State: directory.Inactive, Since: ev.Since, Declared: true}, w)
		}
		w.port.Refusal.Reason = r
	case directory.UndeclarePort:
		answer(ev.Session)
		_, l, r := m.ask(ev.Session, ev.Name)
		switch {
		case r != directory.OK || l == nil:
		case l.State != directory.Inactive:
			r = directory.NameTaken
		case l.Service.Name != "":
			r = directory.Denied
		default:
			w.ends[l.Lease], w.port.Lease = "it was undeclared", l.Lease
		}
		w.port.Refusal.Reason = r
	case directory.DeclarePort:
		m.declare(ev, w)
	case directory.WithdrawPort:
		if l := m.leases[ev.Lease]; l != nil && l.stays() && l.Service.Name != "" {
			if l.State == directory.Inactive {
				w.ends[l.Lease] = "its definition is gone"
			} else {
				l.withdrawn = true
			}
		}
	case directory.PortReturned:
		switch l := m.leases[ev.Lease]; {
		case l == nil || !l.port || l.State != directory.Stopping || m.namespaces[l.Namespace].ended:
		case l.withdrawn:
			w.ends[l.Lease] = "its definition is gone"
		default:
			l.State, l.Owner = directory.Inactive, directory.Peer{}
			w.changed[l.Lease] = &change{reason: "its receive right has returned"}
		}
	case directory.PortDied:
		if l := m.leases[ev.Lease]; l != nil && l.port && !l.Declared {
			w.ends[l.Lease] = ev.Reason
		}
	case directory.MakeSubset:
		answer(ev.Session)
		s, _, r := m.ask(ev.Session, "")
		inside := 0
		for _, ns := range m.namespaces {
			if s != nil && ns.parent == s.namespace && !ns.ended {
				inside++
			}
		}
		if r == directory.OK && inside >= m.limits.PortsPerNamespace {
			r = directory.LimitHit
		}
		if w.port.Refusal.Reason = r; r == directory.OK {
			m.subsets++
			m.namespaces[ev.New] = &modelNamespace{id: ev.New, parent: s.namespace, name: fmt.Sprintf("%d.subset.%d", s.peer.PID, m.subsets), subset: true}
			w.port.Namespace = ev.New
		}
	case directory.EndNamespace:
		if ns := m.openNamespace(ev.Namespace); ns != nil && ns.subset {
			m.endNamespace(ns, w)
			w.subsets[ns.id] = ev.Reason
			return true
		}
	}
	return false
}

// ask returns who asks about a port, and the port that has the name, or why neither.
func (m *model) ask(session directory.ID, name string) (*modelSession, *modelLease, directory.Reason) {
	s := m.alive(session)
	if s == nil || m.namespaces[s.namespace].ended {
		return nil, nil, directory.Denied
	}
	for _, l := range m.all(s.namespace, name) {
		if m.has(l) && l.port {
			return s, l, directory.OK
		} else if m.has(l) {
			return s, nil, directory.NameTaken
		}
	}
	return s, nil, directory.OK
}

func (m *model) checkIn(ev directory.CheckIn, w *wanted) {
	s, l, r := m.ask(ev.Session, ev.Name)
	switch {
	case r != directory.OK:
	case l != nil && l.State != directory.Inactive:
		r = directory.NameTaken
	case l == nil && ev.Strict:
		r = directory.Unknown
	case l != nil && l.Service.Name != "":
		r = directory.Denied
	case m.held(s.id) >= m.limits.NamesPerSession:
		r = directory.LimitHit
	case l == nil:
		m.addPort(s.namespace, s, directory.Entry{Lease: ev.Lease, Name: ev.Name, State: directory.Active, Since: ev.Since}, w)
	default:
		l.Session, l.Owner, l.State, l.Since = s.id, s.peer, directory.Active, ev.Since
		w.changed[l.Lease] = &change{}
		w.port.Lease = l.Lease
	}
	w.port.Refusal.Reason = r
}

func (m *model) declare(ev directory.DeclarePort, w *wanted) {
	for _, l := range m.all(directory.Root, ev.Name) {
		if !m.has(l) {
			continue
		}
		if l.port && l.Declared && (l.Service != ev.Service || l.OnMessage != ev.OnMessage || l.withdrawn) {
			l.Service, l.OnMessage, l.withdrawn = ev.Service, ev.OnMessage, false
			w.changed[l.Lease] = &change{reason: "its definition has changed"}
		}
		return
	}
	m.addPort(directory.Root, nil, directory.Entry{
		Lease: ev.Lease, Name: ev.Name, State: directory.Inactive, Since: ev.Since, Declared: true, OnMessage: ev.OnMessage, Service: ev.Service,
	}, w)
}

func (m *model) addPort(ns directory.ID, s *modelSession, e directory.Entry, w *wanted) {
	for _, l := range m.all(ns, e.Name) {
		w.ends[l.Lease] = m.sessions[l.Session].reason
	}
	e.Namespace, e.Kind = ns, directory.Port
	if s != nil {
		e.Session, e.Owner = s.id, s.peer
	}
	m.leases[e.Lease] = &modelLease{Entry: e, port: true}
	w.publish = e.Lease
	if w.port != nil {
		w.port.Lease, w.port.Made = e.Lease, true
	}
}

// found is the port that a look-up finds, or 0 where something else, or nothing, has the name.
func (m *model) found(from directory.ID, name string) directory.ID {
	for _, ns := range m.chain(from) {
		all := slices.DeleteFunc(m.all(ns, name), func(l *modelLease) bool { return !m.has(l) })
		if len(all) > 0 && all[0].port {
			return all[0].Lease
		} else if len(all) > 0 || !m.namespaces[ns].lets(name) {
			return 0
		}
	}
	return 0
}

// lets reports whether the namespaces around one may be searched for a name.
func (ns *modelNamespace) lets(name string) bool {
	return !ns.sealed || slices.Contains(ns.only, name)
}

// comparePorts looks up all names, from everywhere where somebody is.
func (r *run) comparePorts() {
	r.t.Helper()
	for id, ns := range r.m.namespaces {
		if ns.ended && !r.m.kept(id) {
			continue
		}
		for _, name := range portNames {
			want := r.m.found(id, name)
			e, refusal := r.d.LookUp(id, name, "", "", directory.AnyKind)
			if l := r.m.leases[e.Lease]; refusal.Reason == directory.OK && l.port && e.Lease != want || want != 0 && e.Lease != want {
				r.fail("a look-up of %q from %d finds %+v, %+v; want %d", name, id, e, refusal, want)
			}
		}
		for i, step := range r.d.Chain(id) {
			at := r.m.namespaces[r.m.chain(id)[i]]
			if step.Namespace != at.id || (step.Only != nil) != at.sealed || !slices.Equal(slices.Sorted(maps.Keys(step.Only)), at.only) {
				r.fail("step %d of the chain of %d is %+v, want %+v", i, id, step, at)
			}
		}
	}
}
