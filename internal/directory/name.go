// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// lease is one name in one version for one scope, its owner, and those who wait for it.
type lease struct {
	id, session ID // no session: a backend has it, whose id is the lease's
	backend     ID // 0, or the backend whose it is
	owner       Peer
	namespace   ID
	name        string
	kind        Kind
	accept      Accept
	state       State
	listed      bool // it can be found
	version     string
	scope       string
	path        string
	since       int64
	port        *port // nil: it is none, or one that was claimed

	next     ID       // the next one of the same name, in other versions or scopes
	waiting  []ID     // callers in state waiting, in order
	inFlight int      // callers in state handed
	callers  []Caller // connections that were taken, until the kernel says they are over
}

func (ev Claim) do(d *Directory, s *session) Reply {
	ns := d.namespaces[s.namespace]
	if ns.ended {
		return refused(Unknown, "the namespace of this session has ended")
	}
	b := d.claimant(s, &ev)
	if r := d.Claimable(s.id, ev); r.Reason != OK {
		return Reply{Refusal: r}
	}
	if b != nil && b.lease != 0 { // of the process's last session, which has ended
		d.endLease(b.lease, d.sessions[d.leases[b.lease].session].reason, false)
	}
	l := &lease{
		id: ev.Lease, session: s.id, owner: s.peer, namespace: s.namespace, name: ev.Name, kind: ev.Kind,
		version: ev.Version, scope: ev.Scope, accept: ev.Accept, path: ev.Path, since: ev.Since, state: Active,
	}
	s.leases = append(s.leases, l.id)
	if b != nil {
		l.backend = b.id
	}
	d.list(l)
	if b != nil {
		b.lease = l.id
	}
	return Reply{ID: l.id, Path: l.path}
}

// list makes a name findable.
func (d *Directory) list(l *lease) {
	ns := d.namespaces[l.namespace]
	if old := d.named(ns, l.name, l.version, l.scope); old != nil && !d.alive(old) { // its slice has not come yet
		d.endLease(old.id, d.sessions[old.session].reason, false)
	}
	for old := d.leases[ns.names[l.name]]; old != nil && (l.port != nil || old.port != nil); old = d.leases[ns.names[l.name]] {
		reason := "a service that runs has its name" // an adopted one: nothing else comes in place of a port
		if !d.alive(old) {
			reason = d.sessions[old.session].reason
		}
		d.endLease(old.id, reason, false) // a port has its name for itself
	}
	d.leases[l.id] = l
	best := d.best(ns, l.name)
	l.listed = true
	if head := ns.names[l.name]; head < l.id {
		l.next, ns.names[l.name] = head, l.id
	} else { // the highest id first, as after an import
		before := d.leases[head]
		for before.next > l.id {
			before = d.leases[before.next]
		}
		l.next, before.next = before.next, l.id
	}
	if now := d.best(ns, l.name); now != best {
		d.do(Publish{d.entry(now)})
	}
	d.notify(Appeared, l, "")
}

// unlist takes a name out of what can be found. Another one of the same name may take its place.
func (d *Directory) unlist(l *lease) {
	if !l.listed {
		return
	}
	ns := d.namespaces[l.namespace]
	best := d.best(ns, l.name)
	l.listed = false
	if head := ns.names[l.name]; head != l.id {
		before := d.leases[head]
		for before.next != l.id {
			before = d.leases[before.next]
		}
		before.next = l.next
	} else if l.next == 0 {
		delete(ns.names, l.name)
	} else {
		ns.names[l.name] = l.next
	}
	l.next = 0
	if now := d.best(ns, l.name); now == nil {
		d.do(Unpublish{Namespace: l.namespace, Name: l.name})
	} else if now != best {
		d.do(Publish{d.entry(now)})
	}
}

// best returns the lease that a look-up of a name finds: the newest version, one without a scope before any with.
func (d *Directory) best(ns *namespace, name string) *lease {
	best := d.leases[ns.names[name]]
	if best == nil || best.next == 0 {
		return best
	}
	for l := d.leases[best.next]; l != nil; l = d.leases[l.next] {
		if unscoped := l.scope == ""; unscoped != (best.scope == "") {
			if unscoped {
				best = l
			}
		} else if c := compareVersions(l.version, best.version); c > 0 || c == 0 && l.id < best.id {
			best = l
		}
	}
	return best
}

// named returns the lease of exactly this version and scope, or nil.
func (d *Directory) named(ns *namespace, name, version, scope string) *lease {
	for l := d.leases[ns.names[name]]; l != nil; l = d.leases[l.next] {
		if l.version == version && l.scope == scope {
			return l
		}
	}
	return nil
}

// alive reports whether a lease is anybody's still: those of an ended session go in slices.
func (d *Directory) alive(l *lease) bool {
	return l.session == 0 || !d.sessions[l.session].ended || l.stays()
}

// Claimable says why a session could not claim a name now, or nothing. It changes nothing: the broker asks before it
// binds a socket for the name.
func (d *Directory) Claimable(session ID, ev Claim) Refusal {
	s := d.sessions[session]
	if s == nil || s.ended {
		return Refusal{Unknown, "the session has ended"}
	}
	if r := d.leaseLimit(s); r.Reason != OK {
		return r
	}
	b := d.claimant(s, &ev)
	ns := d.namespaces[s.namespace]
	if l := d.leases[ns.names[ev.Name]]; l != nil && l.port != nil && d.alive(l) { // in all versions
		return portTaken(l)
	}
	if l := d.named(ns, ev.Name, ev.Version, ev.Scope); l != nil && d.alive(l) {
		return taken(ev.Name, l.owner)
	}
	// A backend of a definition without a version may say which it is, but not take the place of another one.
	if svc := ns.service(ev.Name, ev.Version, ev.Scope); svc != nil && (b == nil || b.service != svc.id) {
		if svc.current != 0 || len(svc.waiting) > 0 {
			return launchedFor(svc)
		}
	}
	return Refusal{}
}

func taken(name string, owner Peer) Refusal {
	return Refusal{NameTaken, fmt.Sprintf("name %q is taken by %s", name, describe(owner))}
}

func launchedFor(svc *service) Refusal {
	return Refusal{NameTaken, fmt.Sprintf("name %q is taken: the broker has launched %s for it", svc.name, svc.definition.Summary)}
}

// describe names a process to people.
func describe(p Peer) string {
	if p.Exe == "" {
		return fmt.Sprintf("process %d of user %d", p.PID, p.UID)
	}
	return fmt.Sprintf("process %d (%s) of user %d", p.PID, p.Exe, p.UID)
}

// endName takes a name out of the directory. Those who wait for it are refused, or wait for the next instance of what was launched.
func (d *Directory) endName(l *lease, reason string) {
	d.unlist(l)
	delete(d.leases, l.id)
	if l.port != nil {
		d.endPort(l)
	} else if l.backend != 0 {
		l.state = Stopping
	}
	d.notify(Gone, l, reason)
	for _, c := range l.callers {
		delete(d.handed, c.Connection)
	}
	d.starved = slices.DeleteFunc(d.starved, func(id ID) bool { return id == l.id })
	var stranded []ID
	if l.inFlight > 0 {
		// Their ids are only in the callers' own records: few names have any at their end.
		stranded = d.inFlightOf(l.id)
		d.inFlight -= l.inFlight
	}
	stranded = append(stranded, l.waiting...)
	l.waiting, l.inFlight = nil, 0
	next := d.unclaim(l)
	for _, id := range stranded {
		c := d.callers[id]
		if next != nil && !c.moved && (!c.handed || d.lostFor(l)) {
			c.moved = true // once: what ends again and again must not keep it for ever
			d.queue(next, c)
			continue
		}
		d.refuse(c, Refusal{OwnerGone, fmt.Sprintf("the owner of %q is gone before it took the connection: %s", l.name, reason)})
	}
	if next != nil {
		d.advance(next)
	}
	if len(stranded) > 0 {
		d.feedStarved()
	}
}

// lostFor reports whether what a backend was handed and did not acknowledge is never taken by it, once the next instance runs: that
// comes after its end, unless it was retired. Two processes must not have one connection.
func (d *Directory) lostFor(l *lease) bool {
	b := d.backends[l.backend]
	return b.state == over || d.sessions[l.session].ended && !b.retired
}

func (d *Directory) inFlightOf(l ID) []ID {
	var ids []ID
	for id, c := range d.callers {
		if c.lease == l && c.handed {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// entry is what others see of a name.
func (d *Directory) entry(l *lease) Entry {
	e := Entry{
		Lease: l.id, Session: l.session, Name: l.name, Namespace: l.namespace, Kind: l.kind, State: l.state,
		Owner: l.owner, Version: l.version, Scope: l.scope, Accept: l.accept, Path: l.path,
		Since: l.since, Backend: l.backend, Callers: l.callers,
	}
	if l.port != nil {
		e.Declared, e.OnMessage, e.Service = l.port.declared, l.port.onMessage, l.port.service
	}
	return e
}

// Entry returns a name by its lease. Callers of the entry stay the directory's: copy them before the next event.
func (d *Directory) Entry(id ID) (Entry, bool) {
	l := d.leases[id]
	if l == nil {
		return Entry{}, false
	}
	return d.entry(l), true
}

func (ev Disconnected) apply(d *Directory) {
	over := make(map[ID]struct{}, len(ev.Connections))
	affected := make(map[ID]struct{})
	for _, id := range ev.Connections {
		over[id] = struct{}{}
		affected[d.handed[id]] = struct{}{}
		delete(d.handed, id)
	}
	for id := range affected {
		if l := d.leases[id]; l != nil {
			l.callers = slices.DeleteFunc(l.callers, func(c Caller) bool {
				_, gone := over[c.Connection]
				return gone
			})
		}
	}
}

// Handed calls f with every connection that was taken and is not known to be over.
func (d *Directory) Handed(f func(Caller)) {
	for _, l := range d.leases {
		for _, c := range l.callers {
			f(c)
		}
	}
}
