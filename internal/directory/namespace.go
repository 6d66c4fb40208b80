// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"maps"
	"slices"
)

const (
	maxDepth  = 100 // of the tree, so that a walk to the root is short
	maxJoined = 64  // namespaces that one session asked for: all of them end in one event
)

type namespace struct {
	id, parent ID
	name       string
	depth      int
	refs       int  // sessions in it, ended ones too, services, and namespaces below it
	ended      bool // kept until the last of its leases is gone
	subset     bool // it is held by a port, not by sessions
	ports      int  // declared ones
	joined     []ID // sessions that asked for it
	children   map[string]ID
	names      map[string]ID // the first lease of each; lease.next is another of the same name
	services   map[string][]*service
	declared   map[string][]ID     // declarations
	sessions   map[ID]struct{}     // those that are in it
	only       map[string]struct{} // what can be seen further out; nil: all
}

func newNamespace(id, parent ID, name string) *namespace {
	return &namespace{id: id, parent: parent, name: name, children: make(map[string]ID), names: make(map[string]ID), sessions: make(map[ID]struct{})}
}

// NamespacePath returns "/" for the root, "/a/b" below it, and "" for one that is no more.
func (d *Directory) NamespacePath(id ID) string {
	if ns := d.namespaces[id]; ns != nil {
		return d.path(ns)
	}
	return ""
}

func (d *Directory) path(ns *namespace) string {
	if ns.id == Root {
		return "/"
	}
	if ns.parent == Root {
		return "/" + ns.name
	}
	return d.path(d.namespaces[ns.parent]) + "/" + ns.name
}

// Step is one namespace in the search for a name.
type Step struct {
	Namespace ID
	Only      map[string]struct{} // names that may be searched for further out; nil: all. It is never changed.
}

// Chain returns the namespaces to search for a name, innermost first. It never changes while the namespace exists.
func (d *Directory) Chain(id ID) []Step {
	var chain []Step
	for ns := d.namespaces[id]; ns != nil; ns = d.namespaces[ns.parent] {
		chain = append(chain, Step{ns.id, ns.only})
	}
	return chain
}

// SessionNamespace returns the namespace that a session is in.
func (d *Directory) SessionNamespace(id ID) (ID, bool) {
	s := d.sessions[id]
	if s == nil {
		return 0, false
	}
	return s.namespace, true
}

// within reports whether ns is root or below it.
func (d *Directory) within(ns, root ID) bool {
	for id := ns; id != 0; id = d.namespaces[id].parent {
		if id == root {
			return true
		}
	}
	return false
}

func (ev JoinNamespace) do(d *Directory, s *session) Reply {
	parent := d.namespaces[s.namespace]
	ns := d.namespaces[parent.children[ev.Name]]
	switch {
	case parent.ended:
		return refused(Unknown, "the namespace of this session has ended")
	case ev.joinable(ns).Reason != OK:
		return Reply{Refusal: ev.joinable(ns)}
	case ns == nil && parent.depth+1 > maxDepth:
		return Reply{Refusal: tooDeep()}
	case (ns == nil || !slices.Contains(ns.joined, s.id)) && len(s.joined) >= min(maxJoined, d.limits.NamesPerSession):
		return refused(LimitHit, fmt.Sprintf("a session may join %d namespaces", min(maxJoined, d.limits.NamesPerSession)))
	case ns == nil:
		ns = d.addNamespace(ev.New, parent, ev.Name)
		if ev.Sealed {
			ns.only = seal(ev.Only)
		}
	}
	if !slices.Contains(ns.joined, s.id) {
		ns.joined = append(ns.joined, s.id)
		s.joined = append(s.joined, ns.id)
	}
	return Reply{ID: ns.id, Path: d.path(ns)}
}

func (d *Directory) addNamespace(id ID, parent *namespace, name string) *namespace {
	ns := newNamespace(id, parent.id, name)
	ns.depth = parent.depth + 1
	d.namespaces[id] = ns
	parent.children[name] = id
	parent.refs++
	return ns
}

// leaveAll takes a session out of what it joined.
func (d *Directory) leaveAll(s *session) {
	for _, id := range s.joined {
		d.leaveNamespace(d.namespaces[id], s.id)
	}
	s.joined = nil
}

// leaveNamespace takes one holder away; without any, the namespace ends.
func (d *Directory) leaveNamespace(ns *namespace, session ID) {
	if ns == nil {
		return
	}
	ns.joined = slices.DeleteFunc(ns.joined, func(id ID) bool { return id == session })
	if len(ns.joined) == 0 && !ns.ended {
		d.endNamespace(ns, namespaceEnded)
	}
}

// endNamespace ends a namespace, leaves first: the sessions in it are closed, and doors into it.
func (d *Directory) endNamespace(ns *namespace, reason string) {
	ns.ended = true
	ns.refs++ // it is not forgotten with the last of those below it
	for _, id := range sortedValues(ns.children) {
		if child := d.namespaces[id]; !child.ended {
			d.endNamespace(child, namespaceEnded)
		}
	}
	delete(d.namespaces[ns.parent].children, ns.name)
	for _, svc := range byID(d.services) {
		if svc.namespace == ns.id {
			d.endService(svc, namespaceEnded)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ns.sessions)) {
		s := d.sessions[id]
		if s.lingers {
			d.leaveAll(s)
			continue
		}
		d.do(CloseSession{Session: id, Refusal: Refusal{Unknown, fmt.Sprintf("namespace %s ended", d.path(ns))}})
		d.endSession(s, namespaceEnded)
	}
	d.empty(ns)
	var doors []ID
	for id, dr := range d.doors {
		if dr.namespace == ns.id {
			doors = append(doors, id)
		}
	}
	slices.Sort(doors)
	for _, id := range doors {
		d.endLease(id, namespaceEnded, true)
	}
	if ns.subset {
		d.do(EndSubset{Namespace: ns.id, Reason: reason})
	}
	ns.refs--
	d.collectNamespace(ns.id)
}

// collectNamespace forgets an ended namespace once nothing refers to it.
func (d *Directory) collectNamespace(id ID) {
	ns := d.namespaces[id]
	for ns != nil && ns.ended && len(ns.names) == 0 && ns.refs == 0 {
		delete(d.namespaces, ns.id)
		ns = d.namespaces[ns.parent]
		ns.refs--
	}
}

func sortedValues(m map[string]ID) []ID { return slices.Sorted(maps.Values(m)) }

func (ev OpenDoor) do(d *Directory, s *session) Reply {
	ns := ev.Namespace
	if ns == 0 {
		ns = s.namespace
	}
	if d.namespaces[s.namespace].ended {
		return refused(Unknown, "the namespace of this session has ended")
	}
	if ns != s.namespace && !slices.Contains(s.joined, ns) {
		return refused(Denied, "a door leads into the session's own namespace or one that it joined")
	}
	if len(s.leases) >= d.limits.NamesPerSession {
		return refused(LimitHit, fmt.Sprintf("a session may have %d leases", d.limits.NamesPerSession))
	}
	d.doors[ev.Lease] = &door{id: ev.Lease, session: s.id, namespace: ns}
	s.leases = append(s.leases, ev.Lease)
	return Reply{ID: ev.Lease, Path: d.NamespacePath(ns)}
}

// DoorNamespace returns where a door leads.
func (d *Directory) DoorNamespace(lease ID) (ID, bool) {
	dr := d.doors[lease]
	if dr == nil {
		return 0, false
	}
	return dr.namespace, true
}
