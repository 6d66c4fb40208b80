// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// portLaunches are the services of definitions with ports. The broker's lock guards it.
type portLaunches struct {
	portServices map[directory.Key]*machService
	declarations map[directory.ID]*machService // that sessions hold, by lease
	portsAt      int64                         // when services are tried again that could not be launched; never: none is
}

// machService is a service that is launched for its ports.
type machService struct {
	key      directory.Key
	file     bool                    // a file defines it
	onSpot   *directory.Definition   // sessions declare it so; nil: none does
	holders  int                     // how many declarations
	ports    map[string]directory.ID // that it has declared, by name
	missing  []string                // names of ports that are something else's, or that there were no descriptors for
	knocking bool                    // it is being decided whether it is launched
	wanted   bool                    // a port that nobody has was looked up while it could not be launched
	failing  bool                    // the last start failed, and checked no port in
	brokenAt int64                   // until when it is not tried again, because its definition is broken
}

// brokenAfter is how long a service is left alone whose definition is broken, unless that changes.
const brokenAfter = time.Second

// machDefinition is what files say of one such service.
type machDefinition struct {
	ports     []string
	onMessage bool
	broken    bool // it keeps the ports that it has, until it is right again or gone
}

// machDefinitions picks the definitions with ports. A broken one may be of that kind: see machDefinition.
func (b *Broker) machDefinitions(all []definition.Entry) map[directory.Key]machDefinition {
	faults := definition.PortFaults(all)
	services := make(map[directory.Key]machDefinition)
	for _, e := range all {
		key := directory.Key{Namespace: directory.Root, Name: e.Name}
		if e.Err == nil && e.Definition.Accept != definition.Mach || e.Name == "" || e.Version != "" {
			continue
		}
		if _, ok := services[key]; ok {
			continue // the first one counts
		}
		d := machDefinition{ports: e.Definition.Ports, onMessage: e.Definition.OnMessage, broken: e.Err != nil}
		if fault := faults[e.Path]; fault != nil {
			b.log.Error("a definition does not count", "err", fault)
			d.ports = nil
		}
		services[key] = d
	}
	return services
}

// declarePorts makes the ports of all definitions be there, and withdraws those of definitions that are gone. What sessions declare counts
// where no file does. The lock is held.
func (b *Broker) declarePorts(services map[directory.Key]machDefinition) {
	for key, svc := range b.portServices {
		if _, svc.file = services[key]; !svc.file && svc.onSpot != nil {
			services[key] = machDefinition{ports: svc.onSpot.Ports}
		}
	}
	for key, d := range services {
		if !d.broken {
			svc := b.portService(key)
			svc.file = svc.file || svc.onSpot == nil
			b.declareService(svc, d)
		}
	}
	for key, svc := range b.portServices {
		d, ok := services[key]
		for name, lease := range svc.ports {
			if !ok || !d.broken && !slices.Contains(d.ports, name) {
				delete(svc.ports, name)
				b.applyLocked(directory.WithdrawPort{Lease: lease, Now: b.now()})
			}
		}
		if !ok {
			delete(b.portServices, key)
		}
	}
}

// portService returns the service of a key, made if there is none. The lock is held.
func (b *Broker) portService(key directory.Key) *machService {
	if b.portServices == nil {
		b.portServices, b.declarations = make(map[directory.Key]*machService), make(map[directory.ID]*machService)
	}
	svc := b.portServices[key]
	if svc == nil {
		svc = &machService{key: key, ports: make(map[string]directory.ID)}
		b.portServices[key] = svc
	}
	return svc
}

// declareService makes the ports of one service be there. The lock is held.
func (b *Broker) declareService(svc *machService, d machDefinition) {
	svc.missing, svc.brokenAt = nil, 0
	for _, name := range d.ports {
		existing := directory.ID(0)
		if r := b.index.find(directory.Root, []byte(name)); r != nil && r.port != nil && r.port.declared() {
			existing = r.port.lease
		}
		if lease := b.declarePort(svc.key, name, d.onMessage, existing); lease != 0 {
			for _, other := range b.portServices {
				delete(other.ports, name) // it has another definition now
			}
			svc.ports[name] = lease
		} else {
			svc.missing = append(svc.missing, name)
		}
	}
	b.armService(svc)
}

// declarePort makes one port be there, and returns its lease, or 0: its name is something else's, or there are no descriptors for it. A
// declared port of that name may exist. The lock is held.
func (b *Broker) declarePort(key directory.Key, name string, onMessage bool, existing directory.ID) directory.ID {
	ev := directory.DeclarePort{Lease: b.table.id(), Name: name, Service: key, OnMessage: onMessage, Since: time.Now().UnixMilli(), Now: b.now()}
	if existing != 0 {
		b.applyLocked(ev)
		return existing
	}
	if b.taken(directory.Root, name) {
		b.log.Warn("the name of a port is taken: its service is launched for it when it is free", "name", name, "service", key.Name)
		return 0
	}
	if _, r := b.makePortFor(ev.Lease, directory.Root, name, true); r.Reason != directory.OK {
		b.log.Error("cannot make the port of a service", "name", name, "err", r.Text)
		return 0
	}
	b.applyLocked(ev)
	b.keepPort(ev.Lease)
	if _, ok := b.directory.Entry(ev.Lease); !ok {
		return 0
	}
	return ev.Lease
}

// nameFreed has a port declared whose name was something else's. The lock is held.
func (b *Broker) nameFreed(ns directory.ID, name string) {
	if ns != directory.Root || b.rescanAt != never {
		return
	}
	for _, svc := range b.portServices {
		if slices.Contains(svc.missing, name) {
			b.rescanAt = b.now() + int64(rescanAfter)
			b.poller.Wake()
			return
		}
	}
}

// serviceOfPort returns the service that is launched for a port, or nil. The lock is held.
func (b *Broker) serviceOfPort(e directory.Entry) *machService {
	if e.Service == (directory.Key{}) {
		return nil
	}
	return b.portServices[e.Service]
}

// lookedUp launches the service of a port because somebody looked it up. It does not wait.
func (b *Broker) lookedUp(lease directory.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.directory.Entry(lease)
	svc := b.serviceOfPort(e)
	switch {
	case !ok || svc == nil || e.OnMessage || e.State != directory.Inactive && e.State != directory.Stopping:
	case b.launchable(svc):
		b.knockService(svc)
	case !svc.knocking:
		svc.wanted = true // when what is there has ended, or the wait is over
	}
}

// knockService has a service launched, beside the loop: its definition is read. The lock is held.
func (b *Broker) knockService(svc *machService) {
	svc.knocking, svc.wanted = true, false
	b.tasks.Go(func() {
		entries := b.named(svc.key.Name)
		i := slices.IndexFunc(entries, func(e definition.Entry) bool { return e.Version == "" })
		b.mu.Lock()
		defer b.finishSlices()
		defer b.mu.Unlock()
		svc.knocking = false
		// In one with what follows: what is launched now may have ended by the next time that the lock is free.
		if i >= 0 {
			b.applyLocked(directory.Knock{Key: svc.key, Definition: convert(entries[i]), Now: b.now()})
		} else {
			b.knockOnSpot(svc)
		}
		if b.launchable(svc) { // and yet it was not: its definition is broken, or just gone
			svc.brokenAt = b.now() + int64(brokenAfter)
		}
		b.armService(svc)
	})
}
