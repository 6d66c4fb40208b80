// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// Definition is what can be launched for a name: from a file, or declared by a session. It is plain data. Times are in nanoseconds.
type Definition struct {
	Version  string   // "": none
	Scope    string   // the folder that the instance is for; "": it is for all
	Source   string   // the file; "": a command on the spot
	Hash     string   // what a command on the spot is
	Summary  string   // what runs, for people
	Accept   Accept   // HandedOver: the process claims the name itself
	Ports    []string // with Accept Ports: their names
	Notify   bool     // it says itself when it is ready
	Start    int64    // how long it may take to be ready
	Stop     int64    // how long it may take to end
	Idle     int64    // ends after this long without a connection; 0: never
	RetryMin int64    // after the first failed start
	RetryMax int64
	Probed   bool   // it is ready when it has answered a probe, and failed starts and crashes count as the running-process broker counts them
	Broken   string // why it cannot be launched, or ""
	Run      Command
}

// Command is what to run. The directory keeps it and does not look at it.
type Command struct {
	Argv, Env, PassEnv []string
	Dir, User          string
}

// declaration is a command on the spot: while its session lives, the name can be launched.
type declaration struct {
	id, session, namespace ID
	name                   string
	definition             Definition
}

// Declare makes a name one that is launched by its first caller, for as long as the lease is held. Definitions are those that files
// have of the name.
type Declare struct {
	Lease       ID
	Name        string
	Constraint  string // the version that was asked for: Definition.Version satisfies it
	Definition  Definition
	Definitions []Definition
}

func (ev Declare) do(d *Directory, s *session) Reply {
	if r := d.Declarable(s.id, ev); r.Reason != OK {
		return Reply{Refusal: r}
	}
	ns, def := d.namespaces[s.namespace], ev.Definition
	d.declarations[ev.Lease] = &declaration{ev.Lease, s.id, ns.id, ev.Name, def}
	if ns.declared == nil {
		ns.declared = make(map[string][]ID)
	}
	ns.declared[ev.Name] = append(ns.declared[ev.Name], ev.Lease)
	s.leases = append(s.leases, ev.Lease)
	return Reply{ID: ev.Lease, Version: def.Version}
}

// Declarable says why a session could not declare something now, or nothing. It changes nothing: the broker asks before it makes the
// ports of a declaration.
func (d *Directory) Declarable(session ID, ev Declare) Refusal {
	s := d.sessions[session]
	switch {
	case s == nil || s.ended:
		return Refusal{Unknown, "the session has ended"}
	case d.namespaces[s.namespace].ended:
		return Refusal{Unknown, "the namespace of this session has ended"}
	case len(s.leases) >= d.limits.NamesPerSession:
		return Refusal{LimitHit, fmt.Sprintf("a session may have %d leases", d.limits.NamesPerSession)}
	case ev.Definition.Accept == Ports && s.namespace != Root:
		return Refusal{Denied, fmt.Sprintf("service %q has ports, which are launched for in the root namespace only, and this session is in %s", ev.Name, d.NamespacePath(s.namespace))}
	}
	ns := d.namespaces[s.namespace]
	r := d.declarable(ns, ev)
	for i := 0; i < len(ev.Definition.Ports) && r.Reason == OK; i++ {
		r = d.portDeclarable(ns, ev.Name, ev.Definition.Ports[i])
	}
	return r
}

// portDeclarable says who else has the port of a service, if that lasts: what is free, or a session's for as long as it lives, can be declared.
func (d *Directory) portDeclarable(ns *namespace, service, port string) Refusal {
	l, r := d.portOf(ns, port)
	switch {
	case r.Reason != OK:
		return r
	case l == nil || !l.port.declared:
	case l.port.service == Key{}:
		return portTaken(l)
	case l.port.service.Name != service:
		return Refusal{NameTaken, fmt.Sprintf("port %q is one of service %q", port, l.port.service.Name)}
	}
	for _, id := range ordered(ns.declared) {
		dc := d.declarations[id]
		s := d.sessions[dc.session]
		if dc.name != service && !s.ended && (dc.name == port || slices.Contains(dc.definition.Ports, port)) {
			return Refusal{NameTaken, fmt.Sprintf("name %q is one of service %q: %s gives %s for it", port, dc.name, describe(s.peer), dc.definition.Summary)}
		}
	}
	return Refusal{}
}

// ordered returns the declarations of a namespace from the first to the last.
func ordered(declared map[string][]ID) (ids []ID) {
	for _, some := range declared {
		ids = append(ids, some...)
	}
	slices.Sort(ids)
	return ids
}

// Declared reports whether a declaration is held.
func (d *Directory) Declared(lease ID) bool { return d.declarations[lease] != nil }

// declarable says who else runs under the name, if somebody does: a caller that brings a command must not be
// connected to another.
func (d *Directory) declarable(ns *namespace, ev Declare) Refusal {
	fits := func(version, scope string) bool {
		return scope == ev.Definition.Scope && MatchVersion(ev.Name, version, ev.Constraint).Reason == OK
	}
	if ns.id == Root {
		for _, def := range ev.Definitions {
			if fits(def.Version, def.Scope) {
				return Refusal{Malformed, fmt.Sprintf("name %q is defined by %s, which runs %s: call it without a command", ev.Name, def.Source, def.Summary)}
			}
		}
	}
	for _, svc := range ns.services[ev.Name] {
		if b := d.backends[svc.current]; b != nil && b.definition.Hash != ev.Definition.Hash && fits(svc.version, svc.scope) {
			return Refusal{NameTaken, fmt.Sprintf("name %q is another command: %s runs %s", ev.Name, describe(b.owner), b.definition.Summary)}
		}
	}
	for _, id := range ns.declared[ev.Name] {
		other := d.declarations[id]
		if s := d.sessions[other.session]; !s.ended && other.definition.Hash != ev.Definition.Hash && fits(other.definition.Version, other.definition.Scope) {
			return Refusal{NameTaken, fmt.Sprintf("name %q is another command: %s gives %s for it", ev.Name, describe(s.peer), other.definition.Summary)}
		}
	}
	return Refusal{}
}

func (d *Directory) endDeclaration(dc *declaration) {
	delete(d.declarations, dc.id)
	ns := d.namespaces[dc.namespace]
	left := slices.DeleteFunc(ns.declared[dc.name], func(id ID) bool { return id == dc.id })
	if ns.declared[dc.name] = left; len(left) == 0 {
		delete(ns.declared, dc.name)
	}
}
