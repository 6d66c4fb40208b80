// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Image is a whole directory as plain data, in a fixed order: what one process exports and its
// successor imports. It holds ids, never descriptors.
type Image struct {
	Sessions   []SessionImage
	Namespaces []NamespaceImage
	Names      []NameImage
	Doors      []DoorImage
	Callers    []CallerImage
	Watching   []ID
	Starved    []ID
	Ending     []ID
	Deadlines  []DeadlineImage
	Now        int64
}

// SessionImage is one session.
type SessionImage struct {
	ID        ID
	Client    [16]byte
	Process   Process
	Peer      Peer
	Namespace ID
	Leases    []ID
	Joined    []ID
	Watches   []WatchImage
	Sequence  uint64
	Reply     Reply
	Blocked   bool
	Ended     bool
	Reason    string
}

// WatchImage is one watch of a session.
type WatchImage struct {
	ID      uint32
	Pattern string
	Kind    Kind
}

// NamespaceImage is one namespace but the root.
type NamespaceImage struct {
	ID, Parent ID
	Name       string
	Ended      bool
	Joined     []ID
}

// NameImage is one name with those who wait for it and those who have it.
type NameImage struct {
	Entry   Entry
	Waiting []ID
}

// DoorImage is one door.
type DoorImage struct{ ID, Session, Namespace ID }

// CallerImage is one caller that has no answer yet.
type CallerImage struct {
	ID, Lease ID
	Peer      Peer
	Handed    bool
	Tried     bool
	Deadline  int64
}

// DeadlineImage is one entry of the time queue.
type DeadlineImage struct {
	At     int64
	Caller ID
}

// Export returns the whole state. It shares nothing with the directory.
func (d *Directory) Export() Image {
	img := Image{Watching: slices.Clone(d.watching), Starved: slices.Clone(d.starved), Ending: slices.Clone(d.ending), Now: d.now}
	for _, s := range byID(d.sessions) {
		si := SessionImage{
			ID: s.id, Client: s.client, Process: s.process, Peer: s.peer, Namespace: s.namespace,
			Leases: slices.Clone(s.leases), Joined: slices.Clone(s.joined), Sequence: s.sequence, Reply: s.reply,
			Blocked: s.blocked, Ended: s.ended, Reason: s.reason,
		}
		for _, w := range s.watches {
			si.Watches = append(si.Watches, WatchImage{w.id, w.pattern.String(), w.kind})
		}
		img.Sessions = append(img.Sessions, si)
	}
	for _, ns := range byID(d.namespaces) {
		if ns.id != Root {
			img.Namespaces = append(img.Namespaces, NamespaceImage{ns.id, ns.parent, ns.name, ns.ended, slices.Clone(ns.joined)})
		}
	}
	for _, l := range byID(d.leases) {
		e := d.entry(l)
		e.Callers = slices.Clone(l.callers)
		img.Names = append(img.Names, NameImage{e, slices.Clone(l.waiting)})
	}
	for _, dr := range byID(d.doors) {
		img.Doors = append(img.Doors, DoorImage{dr.id, dr.session, dr.namespace})
	}
	for _, c := range byID(d.callers) {
		img.Callers = append(img.Callers, CallerImage{c.id, c.lease, c.peer, c.handed, c.tried, c.deadline})
	}
	for _, e := range d.deadlines {
		img.Deadlines = append(img.Deadlines, DeadlineImage{e.at, e.caller})
	}
	return img
}

func byID[T any](m map[ID]T) []T {
	out := make([]T, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

// Import makes a directory from an image. An image that contradicts itself is an error.
func Import(img Image, l Limits) (*Directory, error) {
	d := New(l)
	d.now = img.Now
	// Parents come before their children: ids only grow.
	slices.SortFunc(img.Namespaces, func(a, b NamespaceImage) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range img.Namespaces {
		parent := d.namespaces[n.Parent]
		if parent == nil {
			return nil, fmt.Errorf("namespace %d has no parent %d", n.ID, n.Parent)
		}
		ns := newNamespace(n.ID, n.Parent, n.Name)
		ns.depth, ns.ended, ns.joined = parent.depth+1, n.Ended, slices.Clone(n.Joined)
		d.namespaces[n.ID] = ns
		parent.refs++
		if !n.Ended {
			parent.children[n.Name] = n.ID
		}
	}
	for _, si := range img.Sessions {
		if err := d.importSession(si); err != nil {
			return nil, err
		}
	}
	for _, n := range img.Names {
		e := n.Entry
		ns := d.namespaces[e.Namespace]
		if ns == nil {
			return nil, fmt.Errorf("name %q has no namespace %d", e.Name, e.Namespace)
		}
		d.leases[e.Lease] = &lease{
			id: e.Lease, session: e.Session, namespace: e.Namespace, name: e.Name, kind: e.Kind, version: e.Version,
			scope: e.Scope, accept: e.Accept, path: e.Path, since: e.Since, callers: slices.Clone(e.Callers),
			waiting: slices.Clone(n.Waiting),
		}
		ns.names[e.Name] = e.Lease
		for _, c := range e.Callers {
			d.handed[c.Connection] = e.Lease
		}
	}
	for _, dr := range img.Doors {
		d.doors[dr.ID] = &door{dr.ID, dr.Session, dr.Namespace}
	}
	for _, ci := range img.Callers {
		l := d.leases[ci.Lease]
		if l == nil {
			return nil, fmt.Errorf("caller %d waits for no lease %d", ci.ID, ci.Lease)
		}
		d.callers[ci.ID] = &caller{ci.ID, ci.Lease, ci.Peer, ci.Handed, ci.Tried, ci.Deadline}
		if ci.Handed {
			l.inFlight++
			d.inFlight++
		}
	}
	for _, e := range img.Deadlines {
		d.deadlines = append(d.deadlines, deadline{e.At, e.Caller})
	}
	d.watching, d.starved, d.ending = slices.Clone(img.Watching), slices.Clone(img.Starved), slices.Clone(img.Ending)
	return d, d.Check()
}

func (d *Directory) importSession(si SessionImage) error {
	s := &session{
		id: si.ID, client: si.Client, process: si.Process, peer: si.Peer, namespace: si.Namespace,
		leases: slices.Clone(si.Leases), joined: slices.Clone(si.Joined), sequence: si.Sequence, reply: si.Reply,
		blocked: si.Blocked, ended: si.Ended, reason: si.Reason,
	}
	ns := d.namespaces[si.Namespace]
	if ns == nil {
		return fmt.Errorf("session %d is in no namespace %d", si.ID, si.Namespace)
	}
	for _, w := range si.Watches {
		p, err := name.ParsePattern(w.Pattern)
		if err != nil {
			return fmt.Errorf("session %d: %w", si.ID, err)
		}
		s.watches = append(s.watches, watch{w.ID, p, w.Kind})
	}
	d.sessions[s.id] = s
	ns.refs++
	if !s.ended {
		ns.sessions[s.id] = struct{}{}
		d.clients[s.client] = s.id
	}
	return nil
}
