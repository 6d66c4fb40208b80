// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"slices"
)

// backend is a process that is launched for a service, from the decision until it and all that it started have ended.
type backend struct {
	id         ID
	service    ID
	definition Definition
	state      backendState
	retired    bool // takes no newcomers
	launched   bool // there is a process
	notified   bool // it said that it is ready
	checkedIn  bool // it has checked in a port
	owner      Peer
	path       string
	since      int64 // Unix milliseconds
	lease      ID    // its name, or 0
	caller     ID    // with Connection: whose it is, until it has the connection
	begun      int64 // when it was launched
	busy       int64 // when a connection was last seen
	deadline   int64 // what that is for depends on state; 0: none
	told       []ID  // sessions that want to know of its start and its end
}

type backendState uint8

const (
	starting backendState = iota + 1 // deadline: when it must be ready
	running                          // deadline: when its connections are counted next
	stopping                         // deadline: when it is killed
	over                             // it has ended, and is forgotten in the same event
)

// Own is what the directory's own ids are above: those of services and backends.
const Own ID = 1 << 62

// launch decides that a process is started, for c alone if it is not nil.
func (d *Directory) launch(svc *service, c *caller) *backend {
	b := &backend{id: d.draw(), service: svc.id, definition: svc.definition, state: starting, begun: d.now, busy: d.now, deadline: d.now + svc.definition.Start}
	if svc.definition.Probed {
		svc.spawns.Take(uint64(d.now))
	}
	a := Launch{Backend: b.id, Key: svc.key(), Definition: b.definition}
	if c != nil {
		b.caller, a.Connection, a.Caller = c.id, c.id, c.peer
	} else {
		svc.current = b.id
	}
	d.backends[b.id] = b
	svc.backends = append(svc.backends, b.id)
	d.timed[b.id] = struct{}{}
	delete(d.timed, svc.id)
	d.do(a)
	return b
}

// Launched says that a process exists, which does nothing until it is told to. The answer is Proceed or Stop.
type Launched struct {
	Backend ID
	Owner   Peer
	Path    string // where it accepts; "" for HandedOver and Connection
	Since   int64  // Unix milliseconds
	Now     int64
}

func (ev Launched) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil {
		return
	}
	b.launched, b.owner, b.path, b.since = true, ev.Owner, ev.Path, ev.Since
	if b.state != starting {
		d.do(Stop{Backend: b.id, Kill: true})
		return
	}
	d.do(Proceed{b.id})
}

// Executed says that the process runs its program, with the listening socket if it has one.
type Executed struct {
	Backend ID
	Now     int64
}

func (ev Executed) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b != nil && b.state == starting && (b.definition.Accept == Listener && !b.definition.Notify || b.definition.Accept == Ports) {
		d.started(b)
	}
}

// Ready says that the process said so (Notified), or that it listens on its path.
type Ready struct {
	Backend  ID
	Notified bool
	Now      int64
}

func (ev Ready) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil || b.state != starting {
		return
	}
	b.notified = b.notified || ev.Notified
	switch b.definition.Accept {
	case HandedOver:
		if b.lease != 0 && b.notified {
			d.started(b)
		}
	case Path, Listener:
		if b.notified || !b.definition.Notify {
			d.started(b)
		}
	}
}

// Accepted says that the process took its caller's connection.
type Accepted struct {
	Backend ID
	Socket  Socket
	Now     int64
}

func (ev Accepted) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil || b.caller == 0 {
		return
	}
	c := d.callers[b.caller]
	d.drop(c)
	d.do(Forget{Connection: c.id})
	svc := d.services[b.service]
	if b.state == stopping {
		d.advance(svc)
		return
	}
	svc.failures = 0
	l := d.own(b, svc)
	l.callers = []Caller{{Connection: c.id, PID: c.peer.PID, UID: c.peer.UID, Socket: ev.Socket}}
	d.handed[c.id] = l.id
	d.leases[l.id] = l
	d.notify(Appeared, l, "")
	b.state, b.deadline = running, 0
	delete(d.timed, b.id)
	d.tellStarted(b)
	d.advance(svc)
}

// Passed says that a process took a connection which its front handed to it.
type Passed struct {
	Backend    ID
	Connection ID
	Caller     Peer
	Socket     Socket
	Now        int64
}

func (ev Passed) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil || d.leases[b.lease] == nil {
		return
	}
	l := d.leases[b.lease]
	l.callers = append(l.callers, Caller{Connection: ev.Connection, PID: ev.Caller.PID, UID: ev.Caller.UID, Socket: ev.Socket})
	d.handed[ev.Connection] = l.id
	d.touch(l)
}

// own makes the name that a backend has without a session.
func (d *Directory) own(b *backend, svc *service) *lease {
	b.lease = b.id
	return &lease{
		id: b.id, backend: b.id, owner: b.owner, namespace: svc.namespace, name: svc.name, kind: Service, version: svc.version,
		scope: svc.scope, accept: b.definition.Accept, path: b.path, since: b.since, state: Active,
	}
}

// started makes a backend one that callers are sent to.
func (d *Directory) started(b *backend) {
	svc := d.services[b.service]
	b.state, b.busy = running, d.now
	if b.lease == 0 && b.definition.Accept != Ports {
		d.list(d.own(b, svc))
	}
	if b.definition.Accept != Listener && b.definition.Accept != Ports || b.definition.Notify {
		svc.failures = 0 // one that was only executed has still to show that it lives
		svc.spawns.Reset()
	}
	d.checkAfter(b)
	d.tellStarted(b)
	d.advance(svc)
}

// claimant returns the backend whose claim this is, or nil, and completes the claim with what it was launched as.
func (d *Directory) claimant(s *session, ev *Claim) *backend {
	b := d.backends[s.backend]
	if b == nil || b.state == stopping || b.retired || b.definition.Accept != HandedOver {
		return nil
	}
	if l := d.leases[b.lease]; l != nil && d.alive(l) {
		return nil
	}
	svc := d.services[b.service]
	if svc.namespace != s.namespace || svc.name != ev.Name || ev.Scope != "" && ev.Scope != svc.scope || svc.version != "" && ev.Version != "" && ev.Version != svc.version {
		return nil
	}
	ev.Version, ev.Scope = cmp.Or(ev.Version, svc.version), svc.scope
	return b
}

// claimed sends a backend that claimed its name the callers who wait for it.
func (d *Directory) claimed(id ID) {
	l := d.leases[id]
	if l == nil || l.backend == 0 {
		return
	}
	b := d.backends[l.backend]
	if b.state == starting && (b.notified || !b.definition.Notify) {
		d.started(b)
	} else if b.state == running { // it came back after a crash of the broker, or gave its name back before
		d.advance(d.services[b.service])
	}
}

// unclaim takes the name from its backend, and returns the service whose next instance its callers can wait for, or nil.
func (d *Directory) unclaim(l *lease) *service {
	b := d.backends[l.backend]
	if b == nil || l.session == 0 || l.port != nil {
		return nil
	}
	b.lease = 0
	svc := d.services[b.service]
	if d.closing != "" || d.namespaces[svc.namespace].ended {
		return nil
	}
	return svc
}

// tickBackends does what is due by time.
func (d *Directory) tickBackends() {
	for _, id := range d.dueBackends() {
		if svc := d.services[id]; svc != nil {
			delete(d.timed, id)
			d.collect(svc)
			continue
		}
		switch b := d.backends[id]; b.state {
		case starting:
			d.late(b, nil)
		case running:
			d.checkAfter(b)
			d.do(Count{Backend: b.id})
		case stopping:
			b.deadline = d.now + killAgain
			d.do(Stop{Backend: b.id, Kill: true})
		}
	}
}

func (d *Directory) due(id ID) int64 {
	if b := d.backends[id]; b != nil {
		return b.deadline
	}
	return d.services[id].forget()
}

func (d *Directory) dueBackends() (ids []ID) {
	for id := range d.timed {
		if d.due(id) <= d.now {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Late calls f with the backends whose time to start is over, so that the broker can say with NotReady what they wrote.
func (d *Directory) Late(now int64, f func(backend ID)) {
	for id := range d.timed {
		if b := d.backends[id]; b != nil && b.state == starting && b.deadline <= now {
			f(id)
		}
	}
}

func (d *Directory) tellStarted(b *backend) {
	for _, s := range b.told {
		d.do(Tell{Session: s, Backend: b.id, Started: true})
	}
	b.told = nil
}

// Knock says that somebody has connected to the listening socket of a service that does not run, or wants one of its ports.
type Knock struct {
	Key        Key
	Definition Definition
	Now        int64
}

func (ev Knock) apply(d *Directory) {
	d.clock(ev.Now)
	ns := d.namespaces[ev.Key.Namespace]
	if ns == nil || ns.ended {
		return
	}
	svc := d.serviceOf(ns, ev.Key.Name, ev.Definition)
	switch {
	case d.occupied(svc):
		return // it will accept, or its end is waited for
	case d.closing != "" || d.now < svc.notBefore || ev.Definition.Broken != "" || ev.Definition.Accept != Ports &&
		(ev.Definition.Accept != Listener || d.holder(svc) != nil):
		d.do(Flush{ev.Key})
		d.collect(svc)
		return
	}
	svc.definition = ev.Definition
	d.launch(svc, nil)
	if ev.Definition.Accept == Ports && len(svc.waiting) > 0 { // of an earlier definition
		d.refuseWaiting(svc, portsOnly(svc.name, offer{service: svc}))
	}
}

// Backends returns how many processes have not ended.
func (d *Directory) Backends() int { return len(d.backends) }
