// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// Check returns the first contradiction in the state, or nil. It looks at everything: for tests and Import.
func (d *Directory) Check() error {
	for id, s := range d.sessions {
		ns := d.namespaces[s.namespace]
		if ns == nil {
			return fmt.Errorf("session %d is in no namespace %d", id, s.namespace)
		}
		if _, in := ns.sessions[id]; in == s.ended {
			return fmt.Errorf("session %d, ended %t, is listed in its namespace: %t", id, s.ended, in)
		}
		if s.ended != slices.Contains(d.ending, id) {
			return fmt.Errorf("session %d, ended %t, is not in the list of the ending as it should be", id, s.ended)
		}
		if (len(s.watches) > 0) != slices.Contains(d.watching, id) {
			return fmt.Errorf("session %d has %d watches and is listed as watching: %t", id, len(s.watches), len(s.watches) == 0)
		}
		for _, l := range s.leases {
			if (d.leases[l] == nil || d.leases[l].session != id) && (d.doors[l] == nil || d.doors[l].session != id) &&
				(d.declarations[l] == nil || d.declarations[l].session != id) {
				return fmt.Errorf("session %d holds no lease %d", id, l)
			}
		}
	}
	if err := d.checkLeases(); err != nil {
		return err
	}
	if err := d.checkLists(); err != nil {
		return err
	}
	if err := d.checkServices(); err != nil {
		return err
	}
	refs := make(map[ID]int)
	for _, s := range d.sessions {
		refs[s.namespace]++
	}
	for _, ns := range d.namespaces {
		refs[ns.parent]++
	}
	for _, svc := range d.services {
		refs[svc.namespace]++
	}
	for id, ns := range d.namespaces {
		if ns.refs != refs[id] {
			return fmt.Errorf("namespace %d counts %d references of %d", id, ns.refs, refs[id])
		}
		if id != Root && d.namespaces[ns.parent] == nil {
			return fmt.Errorf("namespace %d has no parent %d", id, ns.parent)
		}
		if id != Root && !ns.subset && (len(ns.joined) == 0) != ns.ended {
			return fmt.Errorf("namespace %d, ended %t, is held by %d sessions", id, ns.ended, len(ns.joined))
		}
		for name, first := range ns.names {
			for l := first; l != 0; l = d.leases[l].next {
				if d.leases[l] == nil || d.leases[l].name != name || d.leases[l].namespace != id || !d.leases[l].listed {
					return fmt.Errorf("namespace %d knows %q as lease %d, which is another", id, name, l)
				}
			}
		}
	}
	return d.checkPorts()
}

func (d *Directory) checkLeases() error {
	inFlight, handed, waiting := make(map[ID]int), 0, 0
	for id, c := range d.callers {
		l := d.leases[c.lease]
		if d.services[c.service] != nil {
			continue
		}
		if l == nil {
			return fmt.Errorf("caller %d waits for no lease %d", id, c.lease)
		}
		if c.handed {
			inFlight[c.lease]++
			handed++
		} else if waiting++; !slices.Contains(l.waiting, id) {
			return fmt.Errorf("caller %d is in no queue", id)
		}
	}
	if handed != d.inFlight {
		return fmt.Errorf("%d hand-overs are in flight, and %d are counted", handed, d.inFlight)
	}
	if handed > d.limits.InFlight+len(d.leases) { // each name may have one, whatever the others do
		return fmt.Errorf("%d hand-overs are in flight: more than %d and one a name", handed, d.limits.InFlight)
	}
	connections := 0
	for id, l := range d.leases {
		s := d.sessions[l.session]
		if l.session == 0 && l.port == nil {
			if b := d.backends[id]; b == nil || b.lease != id || l.backend != id {
				return fmt.Errorf("name %q belongs to backend %d, which does not hold it", l.name, id)
			}
		} else if l.session != 0 && (s == nil || !slices.Contains(s.leases, id)) {
			return fmt.Errorf("name %q belongs to session %d, which does not hold it", l.name, l.session)
		}
		if ns := d.namespaces[l.namespace]; ns == nil || l.listed && d.named(ns, l.name, l.version, l.scope) != l {
			return fmt.Errorf("name %q is not in its namespace", l.name)
		}
		if l.inFlight != inFlight[id] {
			return fmt.Errorf("name %q counts %d hand-overs in flight of %d", l.name, l.inFlight, inFlight[id])
		}
		if len(l.waiting) > 0 && !slices.Contains(d.starved, id) {
			return fmt.Errorf("name %q has waiting callers and is not listed", l.name)
		}
		waiting -= len(l.waiting)
		for _, c := range l.callers {
			if connections++; d.handed[c.Connection] != id {
				return fmt.Errorf("connection %d of %q is not known as handed", c.Connection, l.name)
			}
		}
	}
	if waiting != 0 || connections != len(d.handed) {
		return fmt.Errorf("the counts of waiting callers or connections differ: %d, %d of %d", waiting, connections, len(d.handed))
	}
	return nil
}

// checkLists looks for what the lists refer to; that they have all they should is for the others to say.
func (d *Directory) checkLists() error {
	living := 0
	for id, s := range d.sessions {
		if !s.ended {
			living++
			if d.clients[s.client] != id {
				return fmt.Errorf("session %d is not found by its client's id", id)
			}
		}
	}
	if living != len(d.clients) {
		return fmt.Errorf("%d client ids belong to %d sessions", len(d.clients), living)
	}
	for _, list := range [][]ID{d.watching, d.ending, d.starved} {
		for i, id := range list {
			if slices.Contains(list[:i], id) {
				return fmt.Errorf("session or lease %d is listed twice", id)
			}
		}
	}
	for _, id := range slices.Concat(d.watching, d.ending) {
		if d.sessions[id] == nil {
			return fmt.Errorf("session %d is listed and is no more", id)
		}
	}
	for _, id := range d.starved {
		if d.leases[id] == nil {
			return fmt.Errorf("lease %d is listed as waiting and is no more", id)
		}
	}
	for id, dr := range d.doors {
		if s := d.sessions[dr.session]; s == nil || !slices.Contains(s.leases, id) || d.namespaces[dr.namespace] == nil {
			return fmt.Errorf("door %d of session %d into namespace %d is held by nobody or leads nowhere", id, dr.session, dr.namespace)
		}
	}
	due := make(map[deadline]bool)
	for i, e := range d.deadlines {
		if due[e] = true; i > 0 && e.at < d.deadlines[i-1].at {
			return fmt.Errorf("the deadlines are out of order: %d after %d", e.at, d.deadlines[i-1].at)
		}
	}
	for id, c := range d.callers {
		if !due[deadline{c.deadline, id}] {
			return fmt.Errorf("caller %d waits for ever", id)
		}
	}
	return nil
}

func (d *Directory) checkServices() error {
	waiting, starting := make(map[ID]ID), make(map[ID]int)
	for id, svc := range d.services {
		if ns := d.namespaces[svc.namespace]; ns == nil || ns.service(svc.name, svc.version, svc.scope) != svc {
			return fmt.Errorf("service %q is not in its namespace", svc.name)
		}
		if svc.current != 0 && !slices.Contains(svc.backends, svc.current) {
			return fmt.Errorf("service %q has no current backend %d", svc.name, svc.current)
		}
		for _, b := range svc.backends {
			if d.backends[b] == nil || d.backends[b].service != id {
				return fmt.Errorf("service %q has no backend %d", svc.name, b)
			}
		}
		for _, c := range svc.waiting {
			waiting[c] = id
		}
		if len(svc.backends) == 0 && len(svc.waiting) > 0 {
			return fmt.Errorf("callers of service %q wait, and nothing is launched", svc.name)
		}
		if _, timed := d.timed[id]; timed != (len(svc.backends) == 0) {
			return fmt.Errorf("service %q with %d backends is to be forgotten: %t", svc.name, len(svc.backends), timed)
		}
	}
	for id, c := range d.callers {
		svc := d.services[c.service]
		switch {
		case svc == nil:
			continue
		case c.lease != 0:
			return fmt.Errorf("caller %d waits for a service and a lease", id)
		case c.handed:
			if b := d.backends[c.backend]; b == nil || b.caller != id {
				return fmt.Errorf("caller %d is not that of backend %d", id, c.backend)
			}
			starting[svc.id]++
		case waiting[id] != svc.id:
			return fmt.Errorf("caller %d is in no queue of service %q", id, svc.name)
		}
		delete(waiting, id)
	}
	if len(waiting) > 0 {
		return fmt.Errorf("callers %v wait for services and are no more", waiting)
	}
	for id, b := range d.backends {
		svc := d.services[b.service]
		if svc == nil || !slices.Contains(svc.backends, id) {
			return fmt.Errorf("backend %d is not one of its service's", id)
		}
		if b.caller != 0 && d.callers[b.caller] == nil || b.state == stopping && b.lease != 0 && (d.leases[b.lease] == nil || d.leases[b.lease].listed) {
			return fmt.Errorf("backend %d has a caller %d or a name %d that is no more", id, b.caller, b.lease)
		}
		if l := d.leases[b.lease]; b.lease != 0 && (l == nil || l.backend != id) {
			return fmt.Errorf("backend %d has no name %d", id, b.lease)
		}
		if _, timed := d.timed[id]; timed != (b.deadline != 0) {
			return fmt.Errorf("backend %d with deadline %d is timed: %t", id, b.deadline, timed)
		}
	}
	for id, svc := range d.services {
		if svc.starting != starting[id] {
			return fmt.Errorf("service %q counts %d callers with a process of their own, of %d", svc.name, svc.starting, starting[id])
		}
	}
	for id, dc := range d.declarations {
		if s := d.sessions[dc.session]; s == nil || !slices.Contains(s.leases, id) || !slices.Contains(d.namespaces[dc.namespace].declared[dc.name], id) {
			return fmt.Errorf("declaration %d is held by nobody", id)
		}
	}
	return nil
}
