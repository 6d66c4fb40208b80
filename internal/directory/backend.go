// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
	"strings"
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
	if b := d.backends[ev.Backend]; b != nil && b.state == starting && b.definition.Accept == Listener && !b.definition.Notify {
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
	if b.lease == 0 {
		d.list(d.own(b, svc))
	}
	if b.definition.Accept != Listener || b.definition.Notify {
		svc.failures = 0 // a listener that was only executed has still to show that it lives
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
	ev.Version, ev.Scope = cmpOr(ev.Version, svc.version), svc.scope
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
	if b == nil || l.session == 0 {
		return nil
	}
	b.lease = 0
	svc := d.services[b.service]
	if d.closing != "" || d.namespaces[svc.namespace].ended {
		return nil
	}
	return svc
}

// Ended says that a backend and all that it started are gone, or could not be started at all.
type Ended struct {
	Backend  ID
	Status   string   // "exited with status 3"
	Failed   bool     // that is no success
	Unserved bool     // callers that had connected to its listening socket are left
	Output   []string // its last lines
	Now      int64
}

func (ev Ended) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil {
		return
	}
	svc := d.services[b.service]
	what := cmpOr(ev.Status, "ended")
	was := b.state
	b.state = over
	if l := d.leases[b.lease]; l != nil { // who still waits there wants to know what comes next
		d.endLease(l.id, "its process "+what, true)
	}
	switch was {
	case starting:
		d.failed(b, "it "+what+startAdvice(b.definition, ev), ev.Output)
	case running:
		early := d.now-b.begun < b.definition.Start && b.definition.Accept != Connection
		// Callers that are left launch it again: once, after which it is taken for one that never accepts.
		unserved := ev.Unserved && (early || svc.unserved)
		switch {
		case !b.retired && (early && ev.Failed || unserved):
			d.failed(b, "it "+what+startAdvice(b.definition, ev), ev.Output)
		case !early:
			svc.failures = 0
		}
		if svc.unserved = ev.Unserved && !unserved; svc.unserved {
			svc.notBefore = d.now // remembered from now on, see forget
		}
	}
	d.forgetBackend(b, "its process "+what)
	d.advance(svc)
}

// startAdvice helps with what the mistake most often is.
func startAdvice(def Definition, ev Ended) string {
	switch {
	case ev.Failed:
		return ""
	case def.Accept == Listener:
		return ` before it accepted its callers (a program that serves one caller on its standard input wants accept "connection")`
	case def.Accept == HandedOver:
		return " before it claimed the name"
	}
	return " before it was ready"
}

// forgetBackend takes out what is left of a backend that has ended.
func (d *Directory) forgetBackend(b *backend, reason string) {
	svc := d.services[b.service]
	if c := d.callers[b.caller]; c != nil { // it was stopped before it took its caller
		d.drop(c)
		d.refuse(c, Refusal{OwnerGone, fmt.Sprintf("service %q was stopped: %s", svc.name, reason)})
	}
	delete(d.backends, b.id)
	delete(d.timed, b.id)
	svc.backends = slices.DeleteFunc(svc.backends, func(id ID) bool { return id == b.id })
	if svc.current == b.id {
		svc.current = 0
	}
	for _, s := range b.told {
		d.do(Tell{Session: s, Backend: b.id, Reason: reason})
	}
}

// NotReady says that a backend's time to start is over.
type NotReady struct {
	Backend ID
	Output  []string
	Now     int64
}

func (ev NotReady) apply(d *Directory) {
	d.clock(ev.Now)
	if b := d.backends[ev.Backend]; b != nil && b.state == starting && b.deadline <= d.now {
		d.late(b, ev.Output)
	}
}

func (d *Directory) late(b *backend, output []string) {
	text := "it was not ready within " + duration(b.definition.Start)
	if b.definition.Accept == HandedOver {
		text = "it did not claim the name within " + duration(b.definition.Start)
	}
	d.failed(b, text, output)
	d.stop(b, "it was not ready in time", true)
}

// failed counts a failed start, and tells all who wait for it.
func (d *Directory) failed(b *backend, why string, output []string) {
	svc := d.services[b.service]
	delay := svc.definition.RetryMin
	for i := 0; i < svc.failures && delay > 0 && delay < svc.definition.RetryMax; i++ {
		delay *= 2
	}
	delay = min(delay, svc.definition.RetryMax)
	svc.failures++
	svc.notBefore = d.now + max(delay, 0)
	last := ""
	if len(output) > 0 {
		last = "; its last output:\n" + strings.Join(output, "\n")
	}
	svc.reason, svc.failedLast = why+last, b.id
	r := Refusal{NotStarted, fmt.Sprintf("service %q did not start: %s; it is tried again after %s%s", svc.name, why, duration(delay), last)}
	if c := d.callers[b.caller]; c != nil {
		d.drop(c)
		d.refuse(c, r)
	}
	if svc.current == b.id {
		svc.current = 0
	}
	for _, s := range b.told {
		d.do(Tell{Session: s, Backend: b.id, Reason: r.Text})
	}
	b.told = nil
	waiting := svc.waiting
	svc.waiting = nil
	for _, id := range waiting {
		d.refuse(d.callers[id], r)
	}
	if b.definition.Accept == Listener {
		d.do(Flush{svc.key()})
	}
}

// stop ends a backend: its name is gone for newcomers at once, and it is told to end, or killed.
func (d *Directory) stop(b *backend, reason string, kill bool) {
	svc := d.services[b.service]
	if b.state == stopping {
		return
	}
	b.state, b.deadline = stopping, d.now+b.definition.Stop
	if kill {
		b.deadline = d.now + killAgain
	}
	d.timed[b.id] = struct{}{}
	if svc.current == b.id {
		svc.current = 0
	}
	switch l := d.leases[b.lease]; {
	case l == nil:
	case l.inFlight > 0: // it may have taken them: those are its own until it has ended
		d.unlist(l)
		l.state = Stopping
		d.notify(Changed, l, reason)
		d.requeue(svc, l)
	default:
		d.endLease(l.id, reason, false) // it is told by its signal, and then may serve to the end whom it has
		b.lease = 0
	}
	if b.launched {
		d.do(Stop{Backend: b.id, Kill: kill})
	}
}

const killAgain = 1e9

// retire keeps newcomers from a backend; it ends when its last caller has gone.
func (d *Directory) retire(b *backend, reason string) {
	svc := d.services[b.service]
	if b.retired || b.state == stopping {
		return
	}
	b.retired = true
	if svc.current == b.id {
		svc.current = 0
	}
	if b.state == starting {
		d.stop(b, reason, false)
		d.advance(svc)
		return
	}
	if l := d.leases[b.lease]; l != nil {
		d.unlist(l)
		l.state = Retiring
		d.notify(Changed, l, reason)
		d.requeue(svc, l)
	}
	d.do(Retire{Backend: b.id, Key: svc.key()})
	d.checkAfter(b)
	d.advance(svc)
}

// requeue has those who wait for a backend wait for the next. Whom it was handed stays with it.
func (d *Directory) requeue(svc *service, l *lease) {
	waiting := l.waiting
	l.waiting = nil
	d.starved = slices.DeleteFunc(d.starved, func(id ID) bool { return id == l.id })
	for _, id := range waiting {
		d.queue(svc, d.callers[id])
	}
}

const (
	retiredCheck = 250e6 // how often the connections of a retired backend are counted
	longestCheck = 30e9
	shortest     = 20e6
)

// checkAfter sets when the connections of a running backend are counted next.
func (d *Directory) checkAfter(b *backend) {
	switch {
	case b.retired:
		b.deadline = d.now + retiredCheck
	case b.definition.Idle == 0 || b.definition.Accept == Connection:
		b.deadline = 0
		delete(d.timed, b.id)
		return
	default:
		b.deadline = d.now + min(max(b.definition.Idle/4, shortest), longestCheck)
	}
	d.timed[b.id] = struct{}{}
}

// touch notes that a caller is on its way to a backend.
func (d *Directory) touch(l *lease) {
	if b := d.backends[l.backend]; b != nil {
		b.busy = d.now
	}
}

// WouldStop reports whether a backend without connections is to end now.
func (d *Directory) WouldStop(id ID, now int64) bool {
	b := d.backends[id]
	return b != nil && b.state == running && b.definition.Accept != Connection &&
		(b.retired || b.definition.Idle > 0 && now-b.busy >= b.definition.Idle)
}

// Counted answers Count: Open connections at the backend's socket; those that were handed over the directory knows itself.
type Counted struct {
	Backend ID
	Open    int
	Now     int64
}

func (ev Counted) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil || b.state != running {
		return
	}
	open := ev.Open
	if l := d.leases[b.lease]; l != nil {
		open += len(l.callers) + len(l.waiting) + l.inFlight
	}
	switch {
	case open > 0:
		b.busy = d.now
		d.checkAfter(b)
	case d.WouldStop(b.id, d.now):
		reason := "nobody has called it for " + duration(b.definition.Idle)
		if b.retired {
			reason = "it was retired, and its last caller has gone"
		}
		d.stop(b, reason, false)
	default:
		d.checkAfter(b)
	}
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

// Adopt takes in a process that an earlier broker launched and that still runs. The answer is Adopted.
type Adopt struct {
	Name       string
	Definition Definition
	Owner      Peer
	Path       string
	Since      int64
	Retired    bool  // newcomers were kept from it
	Starting   bool  // it does not listen on its path yet
	Begun      int64 // when it was launched, in the time of Now
	Now        int64
}

func (ev Adopt) apply(d *Directory) {
	d.clock(ev.Now)
	svc := d.serviceOf(d.namespaces[Root], ev.Name, ev.Definition)
	b := &backend{
		id: d.draw(), service: svc.id, definition: ev.Definition, state: running, launched: true, notified: true, owner: ev.Owner,
		path: ev.Path, since: ev.Since, begun: ev.Begun, busy: d.now,
	}
	d.backends[b.id] = b
	svc.backends = append(svc.backends, b.id)
	switch {
	case ev.Definition.Accept == Connection:
		l := d.own(b, svc)
		d.leases[l.id] = l
	case ev.Retired || svc.current != 0:
		b.retired = true
		if ev.Definition.Accept != HandedOver {
			l := d.own(b, svc)
			l.state = Retiring
			d.leases[l.id] = l
		}
	case ev.Starting:
		svc.current = b.id
		b.state, b.deadline, b.notified = starting, d.now+b.definition.Start, false
		d.timed[b.id] = struct{}{}
		d.do(Adopted{Backend: b.id, Key: svc.key()})
		return
	default:
		svc.current = b.id
		if ev.Definition.Accept != HandedOver {
			d.list(d.own(b, svc))
		}
	}
	d.checkAfter(b)
	d.do(Adopted{Backend: b.id, Key: svc.key()})
}

// Knock says that somebody has connected to the listening socket of a service that does not run.
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
	case d.closing != "" || d.now < svc.notBefore || ev.Definition.Broken != "" || ev.Definition.Accept != Listener || d.holder(svc) != nil:
		d.do(Flush{ev.Key})
		d.collect(svc)
		return
	}
	svc.definition = ev.Definition
	d.launch(svc, nil)
}

// Close ends what is launched, or leaves it running (Keep), and launches nothing any more.
type Close struct {
	Reason string
	Keep   bool
	Now    int64
}

func (ev Close) apply(d *Directory) {
	d.clock(ev.Now)
	d.closing = ev.Reason
	for _, svc := range byID(d.services) {
		d.refuseWaiting(svc, Refusal{OwnerGone, ev.Reason})
	}
	for _, b := range byID(d.backends) {
		if !ev.Keep || b.state == starting {
			d.stop(b, ev.Reason, false)
		}
	}
}

// Backends returns how many processes have not ended.
func (d *Directory) Backends() int { return len(d.backends) }
