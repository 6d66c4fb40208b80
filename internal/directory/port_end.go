// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

func (ev UndeclarePort) apply(d *Directory) {
	d.clock(ev.Now)
	answer := PortAnswer{Session: ev.Session}
	_, ns, r := d.changer(ev.Session)
	var l *lease
	if r.Reason == OK {
		l, r = d.portOf(ns, ev.Name)
	}
	switch {
	case r.Reason != OK || l == nil:
	case l.state != Inactive:
		r = portTaken(l)
	case l.unused():
		r = Refusal{Denied, fmt.Sprintf("port %q has a definition, that of service %q: change that", l.name, l.port.service.Name)}
	default:
		answer.Lease = l.id
		d.endLease(l.id, "it was undeclared", false)
	}
	answer.Refusal = r
	d.do(answer)
}

// The reason of ports that end because nothing defines them any more.
const withdrawn = "its definition is gone"

func (ev WithdrawPort) apply(d *Directory) {
	d.clock(ev.Now)
	switch l := d.leases[ev.Lease]; {
	case l == nil || !l.stays() || l.port.service == Key{}:
	case l.state == Inactive:
		d.endLease(l.id, withdrawn, false)
	default:
		l.port.withdrawn = true
	}
}

func (ev PortReturned) apply(d *Directory) {
	d.clock(ev.Now)
	switch l := d.leases[ev.Lease]; {
	case l == nil || l.port == nil || l.state != Stopping || d.namespaces[l.namespace].ended:
	case l.port.withdrawn:
		d.endLease(l.id, withdrawn, false)
	default:
		d.changePort(l, "its receive right has returned", func() {
			l.state, l.owner, l.backend = Inactive, Peer{}, 0
		})
	}
}

func (ev PortDied) apply(d *Directory) {
	d.clock(ev.Now)
	if l := d.leases[ev.Lease]; l != nil && l.port != nil && !l.port.declared {
		d.endLease(l.id, ev.Reason, false)
	}
}

// giveUp takes a lease from its session. It ends, unless it is a port that outlives its owner.
func (d *Directory) giveUp(id ID, s *session, reason string) {
	l := d.leases[id]
	if l == nil || !l.stays() || d.namespaces[l.namespace].ended {
		d.endLease(id, reason, false)
		return
	}
	s.drop(id)
	d.changePort(l, reason, func() { l.session, l.state = 0, Stopping })
	d.do(AwaitReturn{Lease: id, Session: s.id})
}

// drop takes a lease out of a session's list. The last one goes first at a session's end, so the search is short where it matters.
func (s *session) drop(id ID) {
	for i := len(s.leases) - 1; i >= 0; i-- {
		if s.leases[i] == id {
			s.leases = slices.Delete(s.leases, i, i+1)
			return
		}
	}
}

// endPort forgets what a port has beside its name.
func (d *Directory) endPort(l *lease) {
	if l.port.declared {
		d.namespaces[l.namespace].ports--
	}
	if l.unused() {
		d.unused--
	}
}

const namespaceEnded = "its namespace ended"

// empty has the leases of an ended namespace end which no session's end ends, in slices.
func (d *Directory) empty(ns *namespace) {
	var ids []ID
	for _, id := range ns.names {
		if l := d.leases[id]; l.session == 0 && l.port != nil {
			ids = append(ids, id)
		}
	}
	for id := range ns.sessions { // those that linger
		ids = append(ids, d.sessions[id].leases...)
	}
	slices.Sort(ids)
	d.leaving = append(d.leaving, ids...)
}

// endLeaving ends up to budget of what ended namespaces have left.
func (d *Directory) endLeaving(budget int) {
	for ; len(d.leaving) > 0; d.leaving = d.leaving[1:] {
		id := d.leaving[0]
		if !d.exists(id) { // it ended by itself
			continue
		}
		if budget == 0 {
			return
		}
		budget--
		l := d.leases[id]
		d.endLease(id, namespaceEnded, false)
		if l != nil {
			d.collectNamespace(l.namespace)
		}
	}
	d.leaving = nil
}

// exists reports whether a lease has not ended.
func (d *Directory) exists(id ID) bool {
	return d.leases[id] != nil || d.doors[id] != nil || d.declarations[id] != nil
}
