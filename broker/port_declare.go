// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// maxDeclaredPorts bounds the ports of one command on the spot: each takes two descriptors.
const maxDeclaredPorts = 64

// declarePorts is declare for a command that checks ports in. They are there before the client is told, so that it finds them.
func (s *clientSession) declarePorts(h session.Header, op directory.Declare) {
	b := s.b
	b.mu.Lock()
	defer b.finishSlices()
	defer b.mu.Unlock()
	if s.replaced || b.directory.Repeats(s.id, h.Sequence) {
		s.changeLocked(h, op)
		return
	}
	for b.directory.Unfinished() { // an owner that ended may still have a name
		b.applyLocked(directory.Continue{Now: b.now()})
	}
	if b.directory.Declarable(s.id, op).Reason != directory.OK {
		s.changeLocked(h, op) // which says why
		return
	}
	if b.launcher == nil {
		s.changeLocked(h, directory.Fail{Refusal: directory.Refusal{Reason: directory.NotStarted, Text: errNoLauncher.Error()}})
		return
	}
	if n := len(op.Definition.Ports); n > maxDeclaredPorts || b.declared+n > b.maxFD/4 {
		text := fmt.Sprintf("%d ports are too many: a command on the spot may have %d, and half of the broker's descriptors are for declared ports", n, maxDeclaredPorts)
		s.changeLocked(h, directory.Fail{Refusal: directory.Refusal{Reason: directory.LimitHit, Text: text}})
		return
	}
	svc := b.portService(directory.Key{Namespace: directory.Root, Name: op.Name})
	svc.holders++
	svc.onSpot = &op.Definition
	b.declarations[op.Lease] = svc
	if !svc.file {
		b.declareService(svc, machDefinition{ports: op.Definition.Ports})
	}
	s.changeLocked(h, op)
	if !b.directory.Declared(op.Lease) {
		for _, ev := range b.undeclare(op.Lease) {
			b.applyLocked(ev)
		}
	}
}

// undeclare forgets a declaration, and returns what the directory is to be told if it was the last one of a service with ports. The lock is
// held.
func (b *Broker) undeclare(lease directory.ID) (events []directory.Event) {
	svc := b.declarations[lease]
	if svc == nil {
		return nil
	}
	delete(b.declarations, lease)
	if svc.holders--; svc.holders > 0 {
		return nil
	}
	svc.onSpot = nil
	if svc.file {
		return nil
	}
	for _, port := range svc.ports {
		events = append(events, directory.WithdrawPort{Lease: port, Now: b.now()})
	}
	delete(b.portServices, svc.key)
	return events
}

// knockOnSpot has a service launched as sessions declare it. The lock is held.
func (b *Broker) knockOnSpot(svc *machService) {
	if svc.onSpot != nil {
		b.applyLocked(directory.Knock{Key: svc.key, Definition: *svc.onSpot, Now: b.now()})
	}
}
