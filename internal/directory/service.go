// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/admission"
)

// Key is what an instance is known by.
type Key struct {
	Namespace            ID
	Name, Version, Scope string
}

// service is what is launched under one key: its processes, who waits for the next of them, and how the last starts went.
type service struct {
	id         ID
	namespace  ID
	name       string
	version    string
	scope      string
	definition Definition // of the last launch

	current  ID   // the backend that newcomers get, or 0
	backends []ID // all that have not ended
	starting int  // of them with Connection, those without their connection yet
	waiting  []ID // callers, in order

	failures   int              // failed starts in a row
	notBefore  int64            // when the next may be
	reason     string           // why the last failed
	failedLast ID               // which that was
	spawns     admission.Budget // starts and crashes of what is Probed
	crashes    admission.Budget
	unserved   bool // the last process ran for long, but left callers that it had not accepted
}

func (svc *service) key() Key { return Key{svc.namespace, svc.name, svc.version, svc.scope} }

func (ns *namespace) service(name, version, scope string) *service {
	for _, svc := range ns.services[name] {
		if svc.version == version && svc.scope == scope {
			return svc
		}
	}
	return nil
}

// serviceOf returns the service of a definition, made if there is none.
func (d *Directory) serviceOf(ns *namespace, name string, def Definition) *service {
	if svc := ns.service(name, def.Version, def.Scope); svc != nil {
		return svc
	}
	svc := &service{id: d.draw(), namespace: ns.id, name: name, version: def.Version, scope: def.Scope, definition: def, spawns: spawnBudget(), crashes: crashBudget()}
	d.services[svc.id] = svc
	if ns.services == nil {
		ns.services = make(map[string][]*service)
	}
	ns.services[name] = append(ns.services[name], svc)
	ns.refs++
	return svc
}

// draw makes an id of the directory's own. The others' are below these.
func (d *Directory) draw() ID {
	d.drawn++
	return Own + d.drawn
}

// collect forgets a service without a process, a waiting caller, or a failure that counts still.
func (d *Directory) collect(svc *service) {
	if len(svc.backends) > 0 || len(svc.waiting) > 0 || d.services[svc.id] == nil {
		return
	}
	if (svc.failures > 0 || svc.unserved) && d.now < svc.forget() && !d.namespaces[svc.namespace].ended {
		d.timed[svc.id] = struct{}{}
		return
	}
	delete(d.timed, svc.id)
	delete(d.services, svc.id)
	ns := d.namespaces[svc.namespace]
	left := slices.DeleteFunc(ns.services[svc.name], func(s *service) bool { return s == svc })
	if ns.services[svc.name] = left; len(left) == 0 {
		if delete(ns.services, svc.name); len(ns.services) == 0 {
			ns.services = nil
		}
	}
	ns.refs--
	d.collectNamespace(ns.id)
}

// forget is when failed starts count no longer: without a try for a while, the next failure is the first again.
func (svc *service) forget() int64 { return svc.notBefore + svc.definition.RetryMax }

// queue has a caller wait for a service's next instance.
func (d *Directory) queue(svc *service, c *caller) {
	c.lease, c.service, c.backend, c.handed, c.tried = 0, svc.id, 0, false, false
	// It never waits for ever, whatever becomes of the instance: an end, a start, and a taking over is the longest there is.
	d.waitFor(c, svc.definition.Stop+svc.definition.Start+d.limits.TakeOver)
	svc.waiting = append(svc.waiting, c.id)
}

// await has a new caller wait for what is, or will be, launched.
func (d *Directory) await(c *caller, svc *service, def *Definition) {
	switch {
	case d.closing != "":
		d.refuse(c, Refusal{OwnerGone, d.closing})
		d.collect(svc)
		return
	case svc.current == 0 && def != nil:
		if len(svc.waiting) == 0 && !sameCommand(&svc.definition, def) {
			svc.failures, svc.notBefore, svc.reason, svc.failedLast = 0, 0, "", 0 // what failed is not what runs next
		}
		svc.definition = *def // a changed one counts from the next instance on
	}
	if def == nil && svc.current == 0 && len(svc.waiting) == 0 && d.now >= svc.notBefore { // it failed, and nobody says any more what to run
		d.refuse(c, Refusal{NotStarted, fmt.Sprintf("service %q did not start: %s", svc.name, svc.reason)})
		return
	}
	if svc.definition.Broken != "" && svc.current == 0 {
		d.refuse(c, Refusal{NotStarted, fmt.Sprintf("service %q cannot be started: %s", svc.name, svc.definition.Broken)})
		d.collect(svc)
		return
	}
	if svc.current == 0 && d.now < svc.notBefore {
		d.refuse(c, d.backingOff(svc))
		return
	}
	if len(svc.waiting) >= d.limits.Waiting {
		d.refuse(c, Refusal{LimitHit, fmt.Sprintf("%d callers wait for %q already: try again later", len(svc.waiting), svc.name)})
		return
	}
	d.callers[c.id] = c
	d.queue(svc, c)
	d.advance(svc)
}

// sameCommand reports whether two definitions run the same.
func sameCommand(a, b *Definition) bool {
	return a.Hash == b.Hash && a.Accept == b.Accept && a.Notify == b.Notify && reflect.DeepEqual(a.Run, b.Run)
}

// Failure returns why the last start under a key failed, and which process that was; 0: none did, or that is long ago.
func (d *Directory) Failure(key Key) (ID, Refusal) {
	ns := d.namespaces[key.Namespace]
	if ns == nil {
		return 0, Refusal{}
	}
	svc := ns.service(key.Name, key.Version, key.Scope)
	if svc == nil || svc.failures == 0 {
		return 0, Refusal{}
	}
	text := fmt.Sprintf("service %q did not start: %s", svc.name, svc.reason)
	return svc.failedLast, Refusal{NotStarted, text}
}

// Failed is a service that does not run, because its last start failed.
type Failed struct {
	Key    Key
	Ports  []string
	Reason string
	Wait   int64 // for how long it is not tried again
}

// Failures returns up to limit services of a namespace whose last start failed, from the first that was called.
func (d *Directory) Failures(namespace ID, limit int, now int64) (all []Failed) {
	for _, svc := range byID(d.services) {
		if svc.failures == 0 || svc.current != 0 || svc.reason == "" || svc.namespace != namespace || len(all) == limit {
			continue
		}
		all = append(all, Failed{svc.key(), svc.definition.Ports, svc.reason, max(svc.notBefore-now, 0)})
	}
	return all
}

// LastFailure is Failure for the newest service of a name whose last start failed.
func (d *Directory) LastFailure(namespace ID, name string) (r Refusal) {
	if ns := d.namespaces[namespace]; ns != nil {
		newest := ""
		for _, svc := range ns.services[name] {
			if svc.failures > 0 && (r.Reason == OK || compareVersions(svc.version, newest) > 0) {
				newest = svc.version
				_, r = d.Failure(svc.key())
			}
		}
	}
	return r
}

// advance goes on with those who wait for a service: they are served, or a process is launched for them.
func (d *Directory) advance(svc *service) {
	switch {
	case len(svc.waiting) == 0:
		d.collect(svc)
	case d.closing != "":
		d.refuseWaiting(svc, Refusal{OwnerGone, d.closing})
	case svc.definition.Accept == Ports: // who waits does so for an earlier definition
		d.refuseWaiting(svc, portsOnly(svc.name, offer{service: svc}))
	case svc.current == 0 && d.now < svc.notBefore: // those whose owner ended
		d.refuseWaiting(svc, d.backingOff(svc))
	case svc.definition.Accept == Connection:
		for len(svc.waiting) > 0 && svc.starting < d.limits.StartingPerName {
			c := d.callers[svc.waiting[0]]
			svc.waiting = slices.Delete(svc.waiting, 0, 1)
			svc.starting++
			b := d.launch(svc, c)
			c.backend, c.handed = b.id, true
			d.waitFor(c, svc.definition.Start+d.limits.TakeOver)
		}
		if len(svc.waiting) == 0 {
			svc.waiting = nil
		}
	case svc.current != 0:
		if b := d.backends[svc.current]; b.state == running && b.lease != 0 {
			d.serve(svc, d.leases[b.lease])
		}
	case d.occupied(svc): // its end is waited for
	case d.holder(svc) == nil:
		d.launch(svc, nil)
	case d.holder(svc).kind == Service:
		d.serve(svc, d.holder(svc))
		d.collect(svc)
	default:
		d.refuseWaiting(svc, taken(svc.name, d.holder(svc).owner))
	}
}

// occupied reports whether a service has a process for all, starting, running or ending, that was not retired.
func (d *Directory) occupied(svc *service) bool {
	return slices.ContainsFunc(svc.backends, func(id ID) bool {
		b := d.backends[id]
		return !b.retired && b.definition.Accept != Connection
	})
}

// holder returns the lease of one that was not launched for a service, and has its name in its version and scope, or nil.
func (d *Directory) holder(svc *service) *lease {
	ns := d.namespaces[svc.namespace]
	l := d.leases[ns.names[svc.name]]
	if l == nil || l.port == nil { // that is there in all versions
		l = d.named(ns, svc.name, svc.version, svc.scope)
	}
	if l == nil || !d.alive(l) {
		return nil
	}
	if b := d.backends[l.backend]; b != nil && b.service == svc.id {
		return nil
	}
	return l
}

func (d *Directory) backingOff(svc *service) Refusal {
	return Refusal{BackingOff, fmt.Sprintf("service %q is not tried again for %s: %s", svc.name, duration(svc.notBefore-d.now), svc.reason)}
}

// serve sends those who wait to the owner that there is now.
func (d *Directory) serve(svc *service, l *lease) {
	waiting := svc.waiting
	svc.waiting = nil
	for _, id := range waiting {
		c := d.callers[id]
		c.service = 0
		if l.accept != HandedOver {
			delete(d.callers, c.id)
			d.do(Redirect{Connection: c.id, Path: l.path})
			continue
		}
		c.lease = l.id
		d.wait(c)
		l.waiting = append(l.waiting, c.id)
	}
	d.touch(l)
	d.feed(l)
}

func (d *Directory) refuseWaiting(svc *service, r Refusal) {
	waiting := svc.waiting
	svc.waiting = nil
	for _, id := range waiting {
		d.refuse(d.callers[id], r)
	}
	d.collect(svc)
}

// duration says how long to wait, rounded up so that nobody comes too early.
func duration(ns int64) string {
	ms := (max(ns, 0) + 999_999) / 1e6
	if ms < 10_000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return fmt.Sprintf("%d s", (ms+999)/1000)
}
