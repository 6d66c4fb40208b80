// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"
)

// checkPorts looks at what ports have beside their names, and at what sessions joined and ended namespaces have left.
func (d *Directory) checkPorts() error {
	declared, unused := make(map[ID]int), 0
	for id, l := range d.leases {
		if l.port == nil {
			continue
		}
		if err := d.checkPort(l); err != nil {
			return err
		}
		if l.port.declared {
			declared[l.namespace]++
		}
		if l.unused() {
			unused++
		}
		s := d.sessions[l.session]
		if d.namespaces[l.namespace].ended && (s == nil || !s.ended) && !slices.Contains(d.leaving, id) {
			return fmt.Errorf("port %q of namespace %d, which has ended, never ends", l.name, l.namespace)
		}
	}
	if unused != d.unused {
		return fmt.Errorf("%d ports are inactive and have a definition, and %d are counted", unused, d.unused)
	}
	for id, ns := range d.namespaces {
		if ns.ports != declared[id] {
			return fmt.Errorf("namespace %d counts %d declared ports of %d", id, ns.ports, declared[id])
		}
		if ns.subset && len(ns.joined) > 0 {
			return fmt.Errorf("namespace %d is held by a port, and by sessions %v", id, ns.joined)
		}
	}
	for id, s := range d.sessions {
		for _, joined := range s.joined {
			if ns := d.namespaces[joined]; ns == nil || !slices.Contains(ns.joined, id) {
				return fmt.Errorf("session %d has joined namespace %d, which does not know it", id, joined)
			}
		}
	}
	for _, id := range d.leaving {
		if l := d.leases[id]; l != nil && !d.namespaces[l.namespace].ended {
			return fmt.Errorf("name %q is to end with namespace %d, which has not ended", l.name, l.namespace)
		}
	}
	return nil
}

func (d *Directory) checkPort(l *lease) error {
	held := l.state == Active || l.state == Registered
	switch {
	case !held && l.state != Inactive && l.state != Stopping:
		return fmt.Errorf("port %q has state %d", l.name, l.state)
	case held != (l.session != 0):
		return fmt.Errorf("port %q in state %d belongs to session %d", l.name, l.state, l.session)
	case !l.port.declared && !held || l.port.declared && l.state == Registered:
		return fmt.Errorf("port %q in state %d is declared: %t", l.name, l.state, l.port.declared)
	case l.state == Inactive && (l.owner != Peer{} || l.backend != 0 || l.port.withdrawn):
		return fmt.Errorf("port %q is inactive, and has owner %v", l.name, l.owner)
	case l.port.service != Key{} && (!l.port.declared || l.namespace != Root):
		return fmt.Errorf("port %q of namespace %d is defined for %v, and declared: %t", l.name, l.namespace, l.port.service, l.port.declared)
	case !l.listed || l.next != 0 || d.namespaces[l.namespace].names[l.name] != l.id:
		return fmt.Errorf("port %q has not its name for itself", l.name)
	case l.kind != Port || l.version != "" || l.scope != "" || l.accept != HandedOver || len(l.callers)+len(l.waiting) > 0:
		return fmt.Errorf("port %q is a %v with version %q, scope %q or callers", l.name, l.kind, l.version, l.scope)
	}
	return nil
}
