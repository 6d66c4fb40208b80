// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// offer is something that a caller of a name could get.
type offer struct {
	lease      *lease   // a name that somebody has, or
	service    *service // one that was launched, and has no owner now, or
	definition *Definition
	version    string
	scope      string
}

// accept is how callers of an offer reach it.
func (o offer) accept() Accept {
	switch {
	case o.lease != nil:
		return o.lease.accept
	case o.service != nil:
		return o.service.definition.Accept
	case o.definition != nil:
		return o.definition.Accept
	}
	return HandedOver
}

// hasPath reports whether callers of an offer are sent to a path.
func (o offer) hasPath() bool {
	accept := o.accept()
	return accept == Listener || accept == Path
}

// portsOnly refuses the callers of an offer with Accept Ports.
func portsOnly(name string, o offer) Refusal {
	def := o.definition
	if o.service != nil {
		def = &o.service.definition
	}
	return Refusal{WrongKind, fmt.Sprintf("service %q has no callers, but ports: %s", name, strings.Join(def.Ports, ", "))}
}

// offers returns what a name stands for in one namespace.
func (d *Directory) offers(ns *namespace, name string, definitions []Definition) (all []offer) {
	for l := d.leases[ns.names[name]]; l != nil; l = d.leases[l.next] {
		if d.alive(l) {
			all = append(all, offer{lease: l, version: l.version, scope: l.scope})
			if l.port != nil { // nothing is launched in its place
				return all
			}
		}
	}
	for _, svc := range ns.services[name] {
		if svc.current != 0 && d.backends[svc.current].lease == 0 || len(svc.waiting) > 0 {
			all = append(all, offer{service: svc, version: svc.version, scope: svc.scope})
		}
	}
	for _, id := range ns.declared[name] {
		if dc := d.declarations[id]; !d.sessions[dc.session].ended {
			all = append(all, offer{definition: &dc.definition, version: dc.definition.Version, scope: dc.definition.Scope})
		}
	}
	if ns.id == Root {
		for i := range definitions {
			all = append(all, offer{definition: &definitions[i], version: definitions[i].Version, scope: definitions[i].Scope})
		}
	}
	for _, svc := range ns.services[name] {
		if svc.failures > 0 && svc.current == 0 { // the last resort: to say why it failed
			all = append(all, offer{service: svc, version: svc.version, scope: svc.scope})
		}
	}
	return all
}

// find returns what a caller gets: the newest version that it allows, of the innermost namespace that knows the name at all.
func (d *Directory) find(from *namespace, name, constraint, scope string, definitions []Definition, exact bool) (offer, *namespace, Refusal) {
	for ns := from; ns != nil; ns = d.outer(ns, name) {
		if l := d.leases[ns.names[name]]; !exact && l != nil && l.next == 0 && len(definitions) == 0 && ns.services == nil && ns.declared == nil && d.alive(l) {
			o := offer{lease: l, version: l.version, scope: l.scope} // the usual case, without a list
			return o, ns, suits(o, name, constraint, scope, nil)
		}
		if all := d.offers(ns, name, definitions); len(all) > 0 {
			if exact {
				if all = slices.DeleteFunc(all, func(o offer) bool { return o.version != constraint }); len(all) == 0 {
					return offer{}, ns, Refusal{Mismatch, fmt.Sprintf("name %q has other versions, and %q was asked for", name, constraint)}
				}
				o, r := choose(all, name, "", scope, definitions)
				return o, ns, r
			}
			o, r := choose(all, name, constraint, scope, definitions)
			return o, ns, r
		}
	}
	return offer{}, nil, UnknownName(name)
}

// suits says why an offer is not what is asked for, or nothing. definitions are for who asks: their scopes are that one's, too.
func suits(o offer, name, constraint, scope string, definitions []Definition) Refusal {
	if o.lease != nil && o.lease.kind != Service && o.lease.kind != Channel {
		return Refusal{WrongKind, fmt.Sprintf("name %q is a %s, not a service", name, o.lease.kind)}
	}
	if scope != "" && o.scope != "" && !inScope(o, scope, definitions) {
		return Refusal{Mismatch, fmt.Sprintf("name %q is for %s, not for %s", name, o.scope, scope)}
	}
	return MatchVersion(name, o.version, constraint)
}

func inScope(o offer, scope string, definitions []Definition) bool {
	return o.scope == scope || slices.ContainsFunc(definitions, func(def Definition) bool { return def.Scope == o.scope })
}

// choose picks the best of what suits: one for this scope before one for all, then the newest, then what runs.
func choose(all []offer, name, constraint, scope string, definitions []Definition) (best offer, why Refusal) {
	rank := func(o offer) int {
		switch {
		case o.scope == "" && scope != "":
			return 1
		case inScope(o, scope, definitions):
			return 2
		case o.scope == "":
			return 1
		}
		return 0
	}
	found := false
	for _, o := range all {
		if r := suits(o, name, constraint, scope, definitions); r.Reason != OK {
			if why.Reason == OK {
				why = r
			}
			continue
		}
		if !found {
			best, found = o, true
			continue
		}
		c := rank(o) - rank(best)
		if c == 0 {
			c = compareVersions(o.version, best.version)
		}
		if c > 0 || c == 0 && o.lease != nil && best.lease != nil && o.lease.id < best.lease.id {
			best = o
		}
	}
	if found {
		return best, Refusal{}
	}
	if why.Reason == Mismatch && len(all) > 1 {
		var have []string
		for _, o := range all {
			text := cmp.Or(o.version, "none")
			if o.scope != "" {
				text += " for " + o.scope
			}
			if !slices.Contains(have, text) {
				have = append(have, text)
			}
		}
		why.Text = fmt.Sprintf("name %q has versions %s, and %q was asked for", name, strings.Join(have, ", "), cmp.Or(constraint, scope))
	}
	return best, why
}

// LookUp returns the entry that a look-up finds, by version and scope.
func (d *Directory) LookUp(namespace ID, name, constraint, scope string, kind Kind) (Entry, Refusal) {
	mismatch := UnknownName(name)
	for ns := d.namespaces[namespace]; ns != nil; ns = d.outer(ns, name) {
		var all []offer
		for l := d.leases[ns.names[name]]; l != nil; l = d.leases[l.next] {
			if d.alive(l) && !ns.ended {
				all = append(all, offer{lease: l, version: l.version, scope: l.scope})
			}
		}
		if len(all) == 0 {
			continue
		}
		if l := all[0].lease; len(all) == 1 && l.kind != Service { // ports and others have no versions
			if kind != AnyKind && kind != l.kind {
				return Entry{}, Refusal{WrongKind, fmt.Sprintf("name %q is a %v, not a %v", name, l.kind, kind)}
			}
			r := MatchVersion(name, l.version, constraint)
			return d.entry(l), r
		}
		if kind != AnyKind && kind != Service {
			return Entry{}, Refusal{WrongKind, fmt.Sprintf("name %q is a %v, not a %v", name, Service, kind)}
		}
		o, r := choose(all, name, constraint, scope, nil)
		if r.Reason != OK {
			return Entry{}, r
		}
		return d.entry(o.lease), r
	}
	return Entry{}, mismatch
}

// Launchable reports whether a name, from a namespace outwards, is launched or declared to be.
func (d *Directory) Launchable(from ID, name string) bool {
	for ns := d.namespaces[from]; ns != nil; ns = d.outer(ns, name) {
		if len(ns.services[name]) > 0 || len(ns.declared[name]) > 0 {
			return true
		}
	}
	return false
}
