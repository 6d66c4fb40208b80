// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"maps"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

func (ev MakeSubset) apply(d *Directory) {
	d.clock(ev.Now)
	s, parent, r := d.changer(ev.Session)
	switch {
	case r.Reason != OK:
	case parent.depth+1 > maxDepth:
		r = tooDeep()
	case len(parent.children) >= d.limits.PortsPerNamespace:
		r = Refusal{LimitHit, fmt.Sprintf("a namespace may have %d others in it", d.limits.PortsPerNamespace)}
	}
	if r.Reason != OK {
		d.do(PortAnswer{Session: ev.Session, Refusal: r})
		return
	}
	name := ""
	for name == "" || parent.children[name] != 0 {
		d.subsets++
		name = fmt.Sprintf("%d.subset.%d", s.peer.PID, d.subsets)
	}
	d.addNamespace(ev.New, parent, name).subset = true
	d.do(PortAnswer{Session: s.id, Namespace: ev.New})
}

func (ev EndNamespace) apply(d *Directory) {
	d.clock(ev.Now)
	if ns := d.namespaces[ev.Namespace]; ns != nil && ns.subset && !ns.ended {
		d.endNamespace(ns, cmp.Or(ev.Reason, namespaceEnded))
		d.endSlice()
	}
}

const maxOnly = 256 // names that a sealed namespace may let through

// joinable says why a namespace cannot be joined on these terms. ns is nil if it is to be made.
func (ev JoinNamespace) joinable(ns *namespace) Refusal {
	switch {
	case !ev.Sealed && len(ev.Only) > 0:
		return Refusal{Malformed, "only a sealed namespace has a list of names"}
	case len(ev.Only) > maxOnly:
		return Refusal{Malformed, fmt.Sprintf("a sealed namespace may let %d names through", maxOnly)}
	}
	for _, s := range ev.Only {
		if err := name.Check(s); err != nil {
			return Refusal{Malformed, err.Error()}
		}
	}
	switch {
	case ns == nil:
		return Refusal{}
	case ns.subset:
		return Refusal{Denied, fmt.Sprintf("namespace %q is held by a port, and cannot be joined", ns.name)}
	case ev.Sealed && (ns.only == nil || !maps.Equal(ns.only, seal(ev.Only))):
		return Refusal{Malformed, fmt.Sprintf("namespace %q exists, and is not sealed in this way: choose another name", ns.name)}
	}
	return Refusal{}
}

// seal is what namespace.only is of a list.
func seal(names []string) map[string]struct{} {
	only := make(map[string]struct{}, len(names))
	for _, s := range names {
		only[s] = struct{}{}
	}
	return only
}

// outer returns the namespace in which a search for a name goes on, or nil.
func (d *Directory) outer(ns *namespace, name string) *namespace {
	if ns.only != nil {
		if _, ok := ns.only[name]; !ok {
			return nil
		}
	}
	return d.namespaces[ns.parent]
}

func tooDeep() Refusal { return Refusal{LimitHit, fmt.Sprintf("namespaces may be %d deep", maxDepth)} }
