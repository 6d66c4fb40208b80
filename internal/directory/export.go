// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/admission"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Image is a whole directory as plain data, in a fixed order: what one process exports and its
// successor imports. It holds ids, never descriptors.
type Image struct {
	Sessions   []SessionImage
	Namespaces []NamespaceImage
	Names      []NameImage
	Doors      []DoorImage
	Services   []ServiceImage
	Backends   []BackendImage
	Declared   []DeclarationImage
	Callers    []CallerImage
	Watching   []ID
	Starved    []ID
	Ending     []ID
	Deadlines  []DeadlineImage
	Drawn      ID
	Closing    string
	Now        int64
}

// SessionImage is one session.
type SessionImage struct {
	ID        ID
	Client    [16]byte
	Process   Process
	Peer      Peer
	Namespace ID
	Backend   ID
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
	Listed  bool
	Waiting []ID
}

// DoorImage is one door.
type DoorImage struct{ ID, Session, Namespace ID }

// ServiceImage is one service with what is launched for it.
type ServiceImage struct {
	ID         ID
	Key        Key
	Definition Definition
	Current    ID
	Backends   []ID
	Waiting    []ID
	Failures   int
	NotBefore  int64
	Reason     string
	FailedLast ID
	Spawns     admission.Budget
	Crashes    admission.Budget
	Unserved   bool
}

// BackendImage is one process that was launched, or is being launched.
type BackendImage struct {
	ID, Service                 ID
	Definition                  Definition
	State                       uint8
	Retired, Launched, Notified bool
	Owner                       Peer
	Path                        string
	Since                       int64
	Lease, Caller               ID
	Begun, Busy, Deadline       int64
	Told                        []ID
}

// DeclarationImage is one command on the spot.
type DeclarationImage struct {
	ID, Session, Namespace ID
	Name                   string
	Definition             Definition
}

// CallerImage is one caller that has no answer yet.
type CallerImage struct {
	ID, Lease, Service, Backend ID
	Peer                        Peer
	Handed                      bool
	Tried                       bool
	Moved                       bool
	Deadline                    int64
}

// DeadlineImage is one entry of the time queue.
type DeadlineImage struct {
	At     int64
	Caller ID
}

// Export returns the whole state. It shares nothing with the directory.
func (d *Directory) Export() Image {
	img := Image{Watching: slices.Clone(d.watching), Starved: slices.Clone(d.starved), Ending: slices.Clone(d.ending), Drawn: d.drawn, Closing: d.closing, Now: d.now}
	for _, s := range byID(d.sessions) {
		si := SessionImage{
			ID: s.id, Client: s.client, Process: s.process, Peer: s.peer, Namespace: s.namespace, Backend: s.backend,
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
		img.Names = append(img.Names, NameImage{e, l.listed, slices.Clone(l.waiting)})
	}
	for _, dr := range byID(d.doors) {
		img.Doors = append(img.Doors, DoorImage{dr.id, dr.session, dr.namespace})
	}
	for _, c := range byID(d.callers) {
		img.Callers = append(img.Callers, CallerImage{c.id, c.lease, c.service, c.backend, c.peer, c.handed, c.tried, c.moved, c.deadline})
	}
	for _, svc := range byID(d.services) {
		img.Services = append(img.Services, ServiceImage{
			svc.id, svc.key(), svc.definition, svc.current, slices.Clone(svc.backends), slices.Clone(svc.waiting), svc.failures, svc.notBefore, svc.reason,
			svc.failedLast, svc.spawns, svc.crashes, svc.unserved,
		})
	}
	for _, b := range byID(d.backends) {
		img.Backends = append(img.Backends, BackendImage{
			b.id, b.service, b.definition, uint8(b.state), b.retired, b.launched, b.notified, b.owner, b.path, b.since, b.lease, b.caller,
			b.begun, b.busy, b.deadline, slices.Clone(b.told),
		})
	}
	for _, dc := range byID(d.declarations) {
		img.Declared = append(img.Declared, DeclarationImage{dc.id, dc.session, dc.namespace, dc.name, dc.definition})
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
	d.now, d.drawn, d.closing = img.Now, img.Drawn, img.Closing
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
		l := &lease{
			id: e.Lease, session: e.Session, backend: e.Backend, owner: e.Owner, namespace: e.Namespace, name: e.Name, kind: e.Kind,
			version: e.Version, scope: e.Scope, accept: e.Accept, path: e.Path, since: e.Since, state: e.State,
			callers: slices.Clone(e.Callers), waiting: slices.Clone(n.Waiting), listed: n.Listed,
		}
		d.leases[l.id] = l
		if l.listed {
			l.next, ns.names[l.name] = ns.names[l.name], l.id
		}
		for _, c := range e.Callers {
			d.handed[c.Connection] = e.Lease
		}
	}
	for _, dr := range img.Doors {
		d.doors[dr.ID] = &door{dr.ID, dr.Session, dr.Namespace}
	}
	if err := d.importServices(img); err != nil {
		return nil, err
	}
	for _, ci := range img.Callers {
		l, svc := d.leases[ci.Lease], d.services[ci.Service]
		if l == nil && svc == nil {
			return nil, fmt.Errorf("caller %d waits for no lease %d and no service %d", ci.ID, ci.Lease, ci.Service)
		}
		d.callers[ci.ID] = &caller{ci.ID, ci.Lease, ci.Service, ci.Backend, ci.Peer, ci.Handed, ci.Tried, ci.Moved, ci.Deadline}
		if ci.Backend != 0 && svc != nil {
			svc.starting++
		} else if ci.Handed && l != nil {
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
		id: si.ID, client: si.Client, process: si.Process, peer: si.Peer, namespace: si.Namespace, backend: si.Backend,
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

func (d *Directory) importServices(img Image) error {
	for _, si := range img.Services {
		ns := d.namespaces[si.Key.Namespace]
		if ns == nil {
			return fmt.Errorf("service %q has no namespace %d", si.Key.Name, si.Key.Namespace)
		}
		svc := &service{
			id: si.ID, namespace: ns.id, name: si.Key.Name, version: si.Key.Version, scope: si.Key.Scope, definition: si.Definition, current: si.Current,
			backends: slices.Clone(si.Backends), waiting: slices.Clone(si.Waiting), failures: si.Failures, notBefore: si.NotBefore, reason: si.Reason,
			failedLast: si.FailedLast, spawns: si.Spawns, crashes: si.Crashes, unserved: si.Unserved,
		}
		d.services[svc.id] = svc
		if ns.services == nil {
			ns.services = make(map[string][]*service)
		}
		ns.services[svc.name] = append(ns.services[svc.name], svc)
		ns.refs++
		if len(svc.backends) == 0 && len(svc.waiting) == 0 {
			d.timed[svc.id] = struct{}{}
		}
	}
	for _, bi := range img.Backends {
		if d.services[bi.Service] == nil {
			return fmt.Errorf("backend %d has no service %d", bi.ID, bi.Service)
		}
		d.backends[bi.ID] = &backend{
			bi.ID, bi.Service, bi.Definition, backendState(bi.State), bi.Retired, bi.Launched, bi.Notified, bi.Owner, bi.Path, bi.Since,
			bi.Lease, bi.Caller, bi.Begun, bi.Busy, bi.Deadline, slices.Clone(bi.Told),
		}
		if bi.Deadline != 0 {
			d.timed[bi.ID] = struct{}{}
		}
	}
	for _, di := range img.Declared {
		ns := d.namespaces[di.Namespace]
		if ns == nil {
			return fmt.Errorf("declaration %d has no namespace %d", di.ID, di.Namespace)
		}
		d.declarations[di.ID] = &declaration{di.ID, di.Session, di.Namespace, di.Name, di.Definition}
		if ns.declared == nil {
			ns.declared = make(map[string][]ID)
		}
		ns.declared[di.Name] = append(ns.declared[di.Name], di.ID)
	}
	return nil
}
