// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// caller is a connection that is not yet its service's: waiting, or handed over and not acknowledged.
type caller struct {
	id       ID
	lease    ID // whose it waits for, or
	service  ID // whose next instance, and if handed
	backend  ID // the process that was launched for it alone
	peer     Peer
	handed   bool
	tried    bool // it was handed over before, and came back undelivered
	moved    bool // its owner ended, and it waited for the next
	deadline int64
}

type deadline struct {
	at     int64
	caller ID
}

func (ev Call) apply(d *Directory) {
	d.clock(ev.Now)
	c := &caller{id: ev.Connection, peer: ev.Caller}
	ns := d.namespaces[ev.Namespace]
	if ns == nil || ns.ended {
		d.refuse(c, Refusal{Unknown, "the namespace of this door has ended"})
		return
	}
	o, at, r := d.find(ns, ev.Name, ev.Version, ev.Scope, ev.Definitions, ev.Exact)
	if r.Reason == OK && ev.ByPath && !o.hasPath() {
		r = Refusal{WrongKind, fmt.Sprintf("service %q has no path of its own", ev.Name)}
	}
	if def := d.replacement(o, ev.Definitions); r.Reason == OK && def != nil {
		d.retire(d.backends[o.lease.backend], "its program has changed")
		o = offer{definition: def}
	}
	switch {
	case r.Reason != OK:
		d.refuse(c, r)
	case o.accept() == Ports:
		d.refuse(c, portsOnly(ev.Name, o))
	case o.service != nil:
		d.await(c, o.service, nil)
	case o.definition != nil:
		d.await(c, d.serviceOf(at, ev.Name, *o.definition), o.definition)
	default:
		d.callLease(c, o.lease)
	}
}

// replacement returns the definition that takes the place of what runs, or nil: of what is Probed, the newcomers of a program that was
// built anew get that.
func (d *Directory) replacement(o offer, definitions []Definition) *Definition {
	if o.lease == nil {
		return nil
	}
	b := d.backends[o.lease.backend]
	if b == nil || b.state != running || b.retired || !b.definition.Probed {
		return nil
	}
	for i := range definitions {
		if def := &definitions[i]; def.Probed && def.Version == o.version && def.Hash != b.definition.Hash {
			return def
		}
	}
	return nil
}

// callLease sends a caller to the owner of a name.
func (d *Directory) callLease(c *caller, l *lease) {
	d.touch(l)
	if b := d.backends[l.backend]; b != nil && b.state == starting { // it has its name, and is not ready
		d.await(c, d.services[b.service], nil)
		return
	}
	if l.accept != HandedOver {
		d.do(Redirect{Connection: c.id, Path: l.path})
		return
	}
	if len(l.waiting) >= d.limits.Waiting {
		d.refuse(c, Refusal{LimitHit, fmt.Sprintf("%d callers wait for %q already: try again later", len(l.waiting), l.name)})
		return
	}
	c.lease = l.id
	d.callers[c.id] = c
	d.wait(c)
	l.waiting = append(l.waiting, c.id)
	d.feed(l)
}

// feed hands over as much as there is room for, and remembers a name with callers left.
func (d *Directory) feed(l *lease) {
	d.pump(l)
	if len(l.waiting) > 0 && !slices.Contains(d.starved, l.id) {
		d.starved = append(d.starved, l.id)
	}
}

// pump hands waiting callers to their owner as far as its share goes.
func (d *Directory) pump(l *lease) {
	s := d.sessions[l.session]
	n := 0
	for n < len(l.waiting) && !s.blocked && !s.ended && l.inFlight < d.share() {
		c := d.callers[l.waiting[n]]
		n++
		c.handed = true
		l.inFlight++
		d.inFlight++
		if !c.tried { // one that comes back again and again must not wait for ever
			c.tried = true
			d.wait(c)
		}
		d.do(HandOver{Connection: c.id, Session: l.session, Lease: l.id})
	}
	if n > 0 {
		l.waiting = slices.Delete(l.waiting, 0, n)
	}
	if len(l.waiting) == 0 {
		l.waiting = nil // an idle name keeps no queue
	}
}

// share is how many unacknowledged hand-overs one name may have now: descriptors in flight count against
// everybody of this user, so those who do not take theirs must leave room for those who do.
func (d *Directory) share() int {
	return max(1, min(d.limits.InFlightPerName, (d.limits.InFlight-d.inFlight)/4))
}

// feedStarved goes on with names whose share may have grown.
func (d *Directory) feedStarved() {
	if len(d.starved) == 0 {
		return
	}
	d.starved = slices.DeleteFunc(d.starved, func(id ID) bool {
		l := d.leases[id]
		if l == nil || len(l.waiting) == 0 {
			return true
		}
		d.pump(l)
		return len(l.waiting) == 0
	})
}

// wait sets the time until which a caller waits in its present state.
func (d *Directory) wait(c *caller) { d.waitFor(c, d.limits.TakeOver) }

func (d *Directory) waitFor(c *caller, patience int64) {
	c.deadline = d.now + patience
	d.deadlines = append(d.deadlines, deadline{c.deadline, c.id})
	// In order of time, also after the limit was made shorter.
	for i := len(d.deadlines) - 1; i > 0 && d.deadlines[i-1].at > c.deadline; i-- {
		d.deadlines[i-1], d.deadlines[i] = d.deadlines[i], d.deadlines[i-1]
	}
}

// refuse tells a caller why not and forgets it. The lists of its lease are the business of who calls this.
func (d *Directory) refuse(c *caller, r Refusal) {
	delete(d.callers, c.id)
	d.do(Refuse{Connection: c.id, Refusal: r, Untaken: c.handed})
}

// drop takes a caller out of the lists that it is in.
func (d *Directory) drop(c *caller) {
	delete(d.callers, c.id)
	if svc := d.services[c.service]; svc != nil {
		if b := d.backends[c.backend]; b != nil {
			b.caller = 0
			svc.starting--
		}
		svc.waiting = slices.DeleteFunc(svc.waiting, func(id ID) bool { return id == c.id })
		d.collect(svc)
		return
	}
	l := d.leases[c.lease]
	if c.handed {
		l.inFlight--
		d.inFlight--
	} else {
		l.waiting = slices.DeleteFunc(l.waiting, func(id ID) bool { return id == c.id })
	}
}

func (ev HangUp) apply(d *Directory) {
	if c := d.callers[ev.Connection]; c != nil && !c.handed {
		d.drop(c)
		d.do(Forget{Connection: c.id})
	}
}

func (ev Taken) apply(d *Directory) {
	d.clock(ev.Now)
	c := d.callers[ev.Connection]
	if c == nil || !c.handed {
		return // refused meanwhile
	}
	l := d.leases[c.lease]
	if l == nil || l.session != ev.Session {
		return
	}
	d.drop(c)
	l.callers = append(l.callers, Caller{Connection: c.id, PID: c.peer.PID, UID: c.peer.UID, Socket: ev.Socket})
	d.handed[c.id] = l.id
	d.do(Forget{Connection: c.id})
	d.pump(l)
	d.feedStarved()
}

func (ev NotDelivered) apply(d *Directory) {
	c := d.callers[ev.Connection]
	if c == nil || !c.handed || c.lease == 0 {
		return
	}
	l := d.leases[c.lease]
	c.handed = false
	l.inFlight--
	d.inFlight--
	l.waiting = slices.Insert(l.waiting, 0, c.id)
	d.sessions[l.session].blocked = true
	if !slices.Contains(d.starved, l.id) {
		d.starved = append(d.starved, l.id)
	}
	d.feedStarved() // what it had in flight is room for others
}

func (ev Writable) apply(d *Directory) {
	d.clock(ev.Now)
	s := d.sessions[ev.Session]
	if s == nil || !s.blocked {
		return
	}
	s.blocked = false
	d.feedStarved()
}

// Deadline returns when the next Tick is due, if one is.
func (d *Directory) Deadline() (int64, bool) {
	at, ok := d.callerDeadline()
	for id := range d.timed {
		if due := d.due(id); !ok || due < at {
			at, ok = due, true
		}
	}
	return at, ok
}

func (d *Directory) callerDeadline() (int64, bool) {
	for len(d.deadlines) > 0 {
		e := d.deadlines[0]
		if c := d.callers[e.caller]; c != nil && c.deadline == e.at {
			return e.at, true
		}
		d.deadlines = d.deadlines[1:]
	}
	d.deadlines = nil
	return 0, false
}

// Overdue calls f with the sessions whose unacknowledged hand-overs are past their deadline, so that the broker
// can read acknowledgements that are already queued before it applies the Tick.
func (d *Directory) Overdue(now int64, f func(session ID)) {
	var last ID
	for _, e := range d.deadlines {
		if e.at > now {
			return
		}
		if c := d.callers[e.caller]; c != nil && c.deadline == e.at && c.handed && c.lease != 0 {
			if s := d.leases[c.lease].session; s != last {
				f(s)
				last = s
			}
		}
	}
}

func (ev Tick) apply(d *Directory) {
	d.clock(ev.Now)
	freed := false
	for {
		at, ok := d.callerDeadline()
		if !ok || at > ev.Now {
			break
		}
		c := d.callers[d.deadlines[0].caller]
		d.deadlines = d.deadlines[1:]
		r := d.tooLate(c)
		d.drop(c)
		freed = true
		d.refuse(c, r)
	}
	if freed {
		d.feedStarved()
	}
	d.tickBackends()
}

// tooLate says what a caller waited for in vain.
func (d *Directory) tooLate(c *caller) Refusal {
	if svc := d.services[c.service]; svc != nil {
		return Refusal{NotTakenUp, fmt.Sprintf("service %q was not ready in time: try again later", svc.name)}
	}
	l := d.leases[c.lease]
	return Refusal{NotTakenUp, fmt.Sprintf("the owner of %q, %s, did not take the connection within %d ms: it is stopped or busy, try again later",
		l.name, describe(l.owner), d.limits.TakeOver/1e6)}
}

// Waits reports whether a connection waits and has not been handed over.
func (d *Directory) Waits(connection ID) bool {
	c := d.callers[connection]
	return c != nil && !c.handed
}

// UnknownName is the refusal for a name that nobody has.
func UnknownName(name string) Refusal {
	return Refusal{Unknown, fmt.Sprintf("name %q is unknown: nobody has it now (switchboard ls shows the names there are)", name)}
}
