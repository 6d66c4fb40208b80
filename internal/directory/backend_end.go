// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

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
	what := cmp.Or(ev.Status, "ended")
	was := b.state
	b.state = over
	if l := d.leases[b.lease]; l != nil { // who still waits there wants to know what comes next
		d.endLease(l.id, "its process "+what, true)
	}
	switch was {
	case starting:
		d.failed(b, "it "+what+startAdvice(b, ev), ev.Output)
	case running:
		early := d.now-b.begun < b.definition.Start && b.definition.Accept != Connection
		// Callers that are left launch it again: once, after which it is taken for one that never accepts.
		unserved := ev.Unserved && (early || svc.unserved)
		switch {
		case b.definition.Probed && !b.retired && (ev.Failed || d.now-b.begun < crashSoon):
			d.crashed(svc, b, "it "+what)
		case !b.retired && (early && ev.Failed || unserved || b.definition.Accept == Ports && !b.checkedIn):
			d.failed(b, "it "+what+startAdvice(b, ev), ev.Output)
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
func startAdvice(b *backend, ev Ended) string {
	switch def := b.definition; {
	case def.Accept == Ports && !b.checkedIn:
		return " before it checked in a port"
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
	if svc.definition.Probed {
		delay = svc.spawnDelay(d.now)
	}
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
	if b.definition.Accept == Listener || b.definition.Accept == Ports {
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

// retire keeps newcomers from a backend; it ends when its last caller has gone. One with ports ends at once: they are nobody else's
// before.
func (d *Directory) retire(b *backend, reason string) {
	svc := d.services[b.service]
	if b.retired || b.state == stopping {
		return
	}
	if b.definition.Accept == Ports {
		d.stop(b, reason, false)
		d.advance(svc)
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
