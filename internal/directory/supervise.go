// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// Select names services by name, and by version (a constraint) and scope where these are not "".
type Select struct{ Name, Version, Scope string }

// selected returns the services that a session's Select names.
func (d *Directory) selected(s *session, sel Select) (found []*service, r Refusal) {
	ns := d.namespaces[s.namespace]
	for _, svc := range ns.services[sel.Name] {
		if len(svc.backends) > 0 && (sel.Scope == "" || sel.Scope == svc.scope) && MatchVersion(svc.name, svc.version, sel.Version).Reason == OK {
			found = append(found, svc)
		}
	}
	if len(found) > 0 {
		return found, Refusal{}
	}
	if r := MatchVersion(sel.Name, "0.0.0", sel.Version); r.Reason == Malformed {
		return nil, r
	}
	if l := d.best(ns, sel.Name); l != nil && l.port != nil && d.alive(l) && l.port.service.Name != sel.Name {
		return nil, Refusal{WrongKind, fmt.Sprintf("name %q is a port, not a service that the broker launches", sel.Name)}
	} else if l != nil && l.port == nil && l.backend == 0 && d.alive(l) {
		return nil, Refusal{WrongKind, fmt.Sprintf("name %q belongs to %s, which the broker did not launch: end that process itself", sel.Name, describe(l.owner))}
	}
	return nil, Refusal{Unknown, fmt.Sprintf("no process that the broker launched has name %q and the version and scope asked for (switchboard ls shows what there is)", sel.Name)}
}

// StopBackends ends the processes of services. Those who wait for one that was starting are refused.
type StopBackends struct{ Select }

func (ev StopBackends) do(d *Directory, s *session) Reply {
	found, r := d.selected(s, ev.Select)
	if r.Reason != OK {
		return Reply{Refusal: r}
	}
	reason := fmt.Sprintf("it was stopped by %s", describe(s.peer))
	var ids []ID
	for _, svc := range found {
		d.refuseWaiting(svc, Refusal{OwnerGone, fmt.Sprintf("service %q does not start: %s", svc.name, reason)})
		for _, id := range slices.Clone(svc.backends) {
			b := d.backends[id]
			b.told = append(b.told, s.id)
			ids = append(ids, id)
			d.stop(b, reason, false)
		}
	}
	return Reply{Backends: ids}
}

// RetireBackends keeps newcomers from the processes of services; each ends when its last caller has gone.
type RetireBackends struct{ Select }

func (ev RetireBackends) do(d *Directory, s *session) Reply {
	found, r := d.selected(s, ev.Select)
	if r.Reason != OK {
		return Reply{Refusal: r}
	}
	var ids []ID
	for _, svc := range found {
		for _, id := range slices.Clone(svc.backends) {
			if b := d.backends[id]; b.state != stopping && b.definition.Accept != Connection {
				d.retire(b, "it was retired")
				ids = append(ids, id)
			}
		}
	}
	return Reply{Backends: ids}
}

// Restart launches a new instance for newcomers and retires the old one. Definitions are those that files have of the name now.
type Restart struct {
	Select
	Definitions []Definition
}

func (ev Restart) do(d *Directory, s *session) Reply {
	if d.closing != "" {
		return refused(OwnerGone, d.closing)
	}
	found, r := d.selected(s, ev.Select)
	if r.Reason == Unknown {
		found, r = d.startable(s, ev)
	}
	if r.Reason != OK {
		return Reply{Refusal: r}
	}
	for _, svc := range found {
		if def := ev.fresh(svc); def.Broken != "" {
			return refused(NotStarted, fmt.Sprintf("service %q cannot be started: %s", svc.name, def.Broken))
		}
		if svc.current == 0 && d.occupied(svc) {
			return refused(LimitHit, fmt.Sprintf("service %q is stopping: try again", svc.name))
		}
		if l := d.holder(svc); l != nil && ev.fresh(svc).Accept != Ports {
			d.collect(svc)
			return Reply{Refusal: taken(svc.name, l.owner)}
		}
	}
	var ids []ID
	for _, svc := range found {
		svc.definition = ev.fresh(svc)
		svc.failures, svc.notBefore = 0, 0
		if b := d.backends[svc.current]; b != nil {
			d.retire(b, "it was restarted")
		}
		if svc.definition.Accept == Ports && len(svc.waiting) > 0 { // of an earlier definition
			d.refuseWaiting(svc, portsOnly(svc.name, offer{service: svc}))
		}
		if svc.definition.Accept == Connection || svc.current == 0 && d.occupied(svc) {
			d.collect(svc)
			continue // each caller has a process of its own, the next one the new one; or the old one's ports come free at its end
		}
		b := d.backends[svc.current] // those who waited may have had it launched
		if b == nil {
			b = d.launch(svc, nil)
		}
		b.told = append(b.told, s.id)
		ids = append(ids, b.id)
	}
	return Reply{Backends: ids}
}

// fresh is the definition that a service's next instance has.
func (ev Restart) fresh(svc *service) Definition {
	for _, def := range ev.Definitions {
		if def.Version == svc.version && def.Scope == svc.scope {
			return def
		}
	}
	return svc.definition
}

// startable finds the newest definition that a Restart can start.
func (d *Directory) startable(s *session, ev Restart) ([]*service, Refusal) {
	var all []offer
	for i := range ev.Definitions {
		if s.namespace == Root {
			all = append(all, offer{definition: &ev.Definitions[i], version: ev.Definitions[i].Version, scope: ev.Definitions[i].Scope})
		}
	}
	if len(all) == 0 {
		return nil, Refusal{Unknown, fmt.Sprintf("no process that the broker launched has name %q, and it has no definition", ev.Name)}
	}
	o, r := choose(all, ev.Name, ev.Version, ev.Scope, ev.Definitions)
	if r.Reason != OK {
		return nil, r
	}
	if o.definition.Broken != "" {
		return nil, Refusal{NotStarted, fmt.Sprintf("service %q cannot be started: %s", ev.Name, o.definition.Broken)}
	}
	return []*service{d.serviceOf(d.namespaces[Root], ev.Name, *o.definition)}, Refusal{}
}

// endService ends what a service has, and refuses who waits for it.
func (d *Directory) endService(svc *service, reason string) {
	for _, id := range slices.Clone(svc.backends) {
		d.stop(d.backends[id], reason, false)
	}
	d.refuseWaiting(svc, Refusal{Unknown, fmt.Sprintf("service %q is gone: %s", svc.name, reason)})
}
