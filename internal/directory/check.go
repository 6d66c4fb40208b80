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
			if (d.leases[l] == nil || d.leases[l].session != id) && (d.doors[l] == nil || d.doors[l].session != id) {
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
	refs := make(map[ID]int)
	for _, s := range d.sessions {
		refs[s.namespace]++
	}
	for _, ns := range d.namespaces {
		refs[ns.parent]++
	}
	for id, ns := range d.namespaces {
		if ns.refs != refs[id] {
			return fmt.Errorf("namespace %d counts %d references of %d", id, ns.refs, refs[id])
		}
		if id != Root && d.namespaces[ns.parent] == nil {
			return fmt.Errorf("namespace %d has no parent %d", id, ns.parent)
		}
		if id != Root && (len(ns.joined) == 0) != ns.ended {
			return fmt.Errorf("namespace %d, ended %t, is held by %d sessions", id, ns.ended, len(ns.joined))
		}
		for name, l := range ns.names {
			if d.leases[l] == nil || d.leases[l].name != name {
				return fmt.Errorf("namespace %d knows %q as lease %d, which is another", id, name, l)
			}
		}
	}
	return nil
}

func (d *Directory) checkLeases() error {
	inFlight, handed, waiting := make(map[ID]int), 0, 0
	for id, c := range d.callers {
		l := d.leases[c.lease]
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
		if s == nil || !slices.Contains(s.leases, id) {
			return fmt.Errorf("name %q belongs to session %d, which does not hold it", l.name, l.session)
		}
		if d.namespaces[l.namespace] == nil || d.namespaces[l.namespace].names[l.name] != id {
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
