// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
)

// port is what a lease that is a port has beside its name.
type port struct {
	declared  bool // it outlives its owner: the broker keeps its receive right
	withdrawn bool // its definition is gone, and it ends with its owner
	onMessage bool
	service   Key // of its definition; the zero Key: it has none
}

// stays reports whether a lease outlives its owner.
func (l *lease) stays() bool { return l.port != nil && l.port.declared && !l.port.withdrawn }

// unused reports whether a lease is a port of a definition that nobody has: it is no reason to keep the broker.
func (l *lease) unused() bool {
	return l.port != nil && l.state == Inactive && l.port.service != Key{}
}

// changer returns a session and its namespace, or why it can change nothing there.
func (d *Directory) changer(id ID) (*session, *namespace, Refusal) {
	s := d.sessions[id]
	if s == nil || s.ended {
		return nil, nil, Refusal{Denied, "the session has ended"}
	}
	ns := d.namespaces[s.namespace]
	if ns.ended {
		return nil, nil, Refusal{Denied, "the namespace of this session has ended"}
	}
	return s, ns, Refusal{}
}

// portOf returns the port that has a name, or nil if nobody has it. A name that is anything else is taken.
func (d *Directory) portOf(ns *namespace, name string) (*lease, Refusal) {
	for l := d.leases[ns.names[name]]; l != nil; l = d.leases[l.next] {
		switch {
		case !d.alive(l):
		case l.port != nil:
			return l, Refusal{}
		default:
			return nil, taken(name, l.owner)
		}
	}
	for _, svc := range ns.services[name] {
		if svc.definition.Accept != Ports && (svc.current != 0 || len(svc.waiting) > 0) {
			return nil, launchedFor(svc)
		}
	}
	return nil, Refusal{}
}

// portTaken says why a port that exists cannot be had.
func portTaken(l *lease) Refusal {
	switch l.state {
	case Inactive:
		return Refusal{NameTaken, fmt.Sprintf("name %q is an inactive port", l.name)}
	case Stopping:
		return Refusal{NameTaken, fmt.Sprintf("name %q is taken by processes that %s left behind", l.name, describe(l.owner))}
	}
	return taken(l.name, l.owner)
}

// addPort makes a port: one of a session, or of a namespace if s is nil.
func (d *Directory) addPort(ns *namespace, s *session, p port, l lease) *lease {
	l.namespace, l.kind, l.port = ns.id, Port, &p
	if s != nil {
		d.give(&l, s)
	}
	if p.declared {
		ns.ports++
	}
	if l.unused() {
		d.unused++
	}
	d.list(&l)
	return &l
}

// give makes a session the owner of a port.
func (d *Directory) give(l *lease, s *session) {
	l.session, l.owner, l.backend = s.id, s.peer, 0
	if d.backends[s.backend] != nil {
		l.backend = s.backend
	}
	s.leases = append(s.leases, l.id)
}

// changePort changes a port by f, and says so to all.
func (d *Directory) changePort(l *lease, reason string, f func()) {
	if l.unused() {
		d.unused--
	}
	f()
	if l.unused() {
		d.unused++
	}
	d.do(Publish{d.entry(l)})
	d.notify(Changed, l, reason)
}

func (ev CheckIn) apply(d *Directory) {
	d.clock(ev.Now)
	s, ns, r := d.changer(ev.Session)
	var l *lease
	if r.Reason == OK {
		l, r = d.portOf(ns, ev.Name)
	}
	switch {
	case r.Reason != OK:
	case l != nil && l.state != Inactive:
		r = portTaken(l)
	case l == nil && ev.Strict:
		r = UnknownName(ev.Name)
	case l != nil && !d.mayCheckIn(s, l):
		r = Refusal{Denied, fmt.Sprintf("port %q is for the process that the broker launches for service %q", l.name, l.port.service.Name)}
	default:
		r = d.leaseLimit(s)
	}
	if r.Reason != OK {
		d.do(PortAnswer{Session: ev.Session, Refusal: r})
		return
	}
	made := l == nil
	if made {
		l = d.addPort(ns, s, port{}, lease{id: ev.Lease, name: ev.Name, state: Active, since: ev.Since})
	} else {
		d.changePort(l, "", func() {
			d.give(l, s)
			l.state, l.since = Active, ev.Since
		})
	}
	if b := d.backends[s.backend]; b != nil {
		b.checkedIn = true
	}
	d.do(PortAnswer{Session: s.id, Lease: l.id, Made: made})
}

// mayCheckIn reports whether an inactive port is for a session.
func (d *Directory) mayCheckIn(s *session, l *lease) bool {
	if l.port.service == (Key{}) {
		return true
	}
	b := d.backends[s.backend]
	return b != nil && b.state != stopping && d.services[b.service].key() == l.port.service
}

func (ev RegisterPort) apply(d *Directory) {
	d.clock(ev.Now)
	s, ns, r := d.changer(ev.Session)
	var l *lease
	if r.Reason == OK {
		l, r = d.portOf(ns, ev.Name)
	}
	switch {
	case r.Reason != OK:
	case l == nil:
		r = d.leaseLimit(s)
	case l.state == Inactive:
		r = Refusal{Denied, fmt.Sprintf("port %q is declared, and has its receive right: check it in", l.name)}
	default:
		r = portTaken(l)
	}
	if r.Reason != OK {
		d.do(PortAnswer{Session: ev.Session, Refusal: r})
		return
	}
	l = d.addPort(ns, s, port{}, lease{id: ev.Lease, name: ev.Name, state: Registered, since: ev.Since})
	d.do(PortAnswer{Session: s.id, Lease: l.id, Made: true})
}

func (ev CreatePort) apply(d *Directory) {
	d.clock(ev.Now)
	s, ns, r := d.changer(ev.Session)
	var l *lease
	if r.Reason == OK {
		l, r = d.portOf(ns, ev.Name)
	}
	switch {
	case r.Reason != OK:
	case l != nil:
		r = portTaken(l)
	case ns.ports >= d.limits.PortsPerNamespace:
		r = Refusal{LimitHit, fmt.Sprintf("a namespace may have %d declared ports", d.limits.PortsPerNamespace)}
	}
	if r.Reason != OK {
		d.do(PortAnswer{Session: ev.Session, Refusal: r})
		return
	}
	l = d.addPort(ns, nil, port{declared: true}, lease{id: ev.Lease, name: ev.Name, state: Inactive, since: ev.Since})
	d.do(PortAnswer{Session: s.id, Lease: l.id, Made: true})
}

func (ev DeclarePort) apply(d *Directory) {
	d.clock(ev.Now)
	ns := d.namespaces[Root]
	l, r := d.portOf(ns, ev.Name)
	switch {
	case r.Reason != OK:
	case l == nil:
		p := port{declared: true, onMessage: ev.OnMessage, service: ev.Service}
		d.addPort(ns, nil, p, lease{id: ev.Lease, name: ev.Name, state: Inactive, since: ev.Since})
	case l.port.declared:
		p := port{declared: true, onMessage: ev.OnMessage, service: ev.Service}
		if *l.port != p {
			d.changePort(l, "its definition has changed", func() { *l.port = p })
		}
	}
}

// leaseLimit refuses what would be more than a session may have.
func (d *Directory) leaseLimit(s *session) Refusal {
	if len(s.leases) < d.limits.NamesPerSession {
		return Refusal{}
	}
	return Refusal{LimitHit, fmt.Sprintf("a session may have %d leases: release one, or raise names_per_session in the broker's configuration", d.limits.NamesPerSession)}
}
