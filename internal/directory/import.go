// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Import makes a directory from an image. An image that contradicts itself is an error.
func Import(img Image, l Limits) (*Directory, error) {
	d := New(l)
	d.now, d.drawn, d.subsets, d.closing = img.Now, img.Drawn, img.Subsets, img.Closing
	// Parents come before their children: ids only grow.
	slices.SortFunc(img.Namespaces, func(a, b NamespaceImage) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range img.Namespaces {
		parent := d.namespaces[n.Parent]
		if parent == nil {
			return nil, fmt.Errorf("namespace %d has no parent %d", n.ID, n.Parent)
		}
		ns := newNamespace(n.ID, n.Parent, n.Name)
		ns.depth, ns.ended, ns.joined, ns.subset = parent.depth+1, n.Ended, slices.Clone(n.Joined), n.Subset
		if n.Sealed {
			ns.only = seal(n.Only)
		}
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
		if n.Port {
			l.port = &port{e.Declared, n.Withdrawn, e.OnMessage, e.Service}
			if e.Declared {
				ns.ports++
			}
			if l.unused() {
				d.unused++
			}
		}
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
	d.leaving = slices.Clone(img.Leaving)
	return d, d.Check()
}

func (d *Directory) importSession(si SessionImage) error {
	s := &session{
		id: si.ID, client: si.Client, process: si.Process, peer: si.Peer, namespace: si.Namespace, backend: si.Backend,
		leases: slices.Clone(si.Leases), joined: slices.Clone(si.Joined), sequence: si.Sequence, reply: si.Reply,
		blocked: si.Blocked, ended: si.Ended, lingers: si.Lingers, reason: si.Reason,
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
			bi.ID, bi.Service, bi.Definition, backendState(bi.State), bi.Retired, bi.Launched, bi.Notified, bi.CheckedIn, bi.Owner, bi.Path, bi.Since,
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
