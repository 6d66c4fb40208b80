// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// lease is one name, its owner, and those who wait for it.
type lease struct {
	id, session ID
	namespace   ID
	name        string
	kind        Kind
	version     string
	scope       string
	accept      Accept
	path        string
	since       int64

	waiting  []ID     // callers in state waiting, in order
	inFlight int      // callers in state handed
	callers  []Caller // connections that were taken, until the kernel says they are over
}

func (ev Claim) do(d *Directory, s *session) Reply {
	ns := d.namespaces[s.namespace]
	if ns.ended {
		return refused(Unknown, "the namespace of this session has ended")
	}
	if r := d.Claimable(s.id, ev.Name); r.Reason != OK {
		return Reply{Refusal: r}
	}
	if l := d.leases[ns.names[ev.Name]]; l != nil { // of a session that has ended: its slice has not come yet
		d.endLease(l.id, d.sessions[l.session].reason, false)
	}
	l := &lease{
		id: ev.Lease, session: s.id, namespace: s.namespace, name: ev.Name, kind: ev.Kind,
		version: ev.Version, scope: ev.Scope, accept: ev.Accept, path: ev.Path, since: ev.Since,
	}
	d.leases[l.id] = l
	ns.names[l.name] = l.id
	s.leases = append(s.leases, l.id)
	entry := d.entry(l)
	d.do(Publish{entry})
	d.notify(Appeared, l, "")
	return Reply{ID: l.id, Path: l.path}
}

// Claimable says why a session could not claim a name now, or nothing. It changes nothing: the broker asks before it
// binds a socket for the name.
func (d *Directory) Claimable(session ID, name string) Refusal {
	s := d.sessions[session]
	if s == nil || s.ended {
		return Refusal{Unknown, "the session has ended"}
	}
	if len(s.leases) >= d.limits.NamesPerSession {
		return Refusal{LimitHit, fmt.Sprintf("a session may have %d leases: release one, or raise names_per_session in the broker's configuration", d.limits.NamesPerSession)}
	}
	if l := d.leases[d.namespaces[s.namespace].names[name]]; l != nil {
		if o := d.sessions[l.session]; !o.ended {
			return Refusal{NameTaken, fmt.Sprintf("name %q is taken by %s", name, describe(o.peer))}
		}
	}
	return Refusal{}
}

// describe names a process to people.
func describe(p Peer) string {
	if p.Exe == "" {
		return fmt.Sprintf("process %d of user %d", p.PID, p.UID)
	}
	return fmt.Sprintf("process %d (%s) of user %d", p.PID, p.Exe, p.UID)
}

// endName takes a name out of the directory and refuses those who wait for it.
func (d *Directory) endName(l *lease, reason string) {
	delete(d.leases, l.id)
	delete(d.namespaces[l.namespace].names, l.name)
	d.do(Unpublish{Namespace: l.namespace, Name: l.name})
	d.notify(Gone, l, reason)
	for _, c := range l.callers {
		delete(d.handed, c.Connection)
	}
	d.starved = slices.DeleteFunc(d.starved, func(id ID) bool { return id == l.id })
	for _, id := range l.waiting {
		d.refuse(d.callers[id], Refusal{OwnerGone, fmt.Sprintf("the owner of %q is gone before it took the connection: %s", l.name, reason)})
	}
	d.inFlight -= l.inFlight
	if l.inFlight > 0 {
		// Their ids are only in the callers' own records: few names have any at their end.
		for _, id := range d.inFlightOf(l.id) {
			d.refuse(d.callers[id], Refusal{OwnerGone, fmt.Sprintf("the owner of %q is gone before it took the connection: %s", l.name, reason)})
		}
		d.feedStarved()
	}
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
	return Entry{
		Lease: l.id, Session: l.session, Name: l.name, Namespace: l.namespace, Kind: l.kind, State: Active,
		Owner: d.sessions[l.session].peer, Version: l.version, Scope: l.scope, Accept: l.accept, Path: l.path,
		Since: l.since, Callers: l.callers,
	}
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
