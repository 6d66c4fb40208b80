// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/admission"
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
	Leaving    []ID
	Deadlines  []DeadlineImage
	Drawn      ID
	Subsets    int // the last number that a subset was given
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
	Lingers   bool
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
	Sealed     bool
	Only       []string // in order
	Subset     bool
}

// NameImage is one name with those who wait for it and those who have it.
type NameImage struct {
	Entry     Entry
	Listed    bool
	Waiting   []ID
	Port      bool // it is a port that was not claimed
	Withdrawn bool // its definition is gone
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
	CheckedIn                   bool
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
	img := Image{Watching: slices.Clone(d.watching), Starved: slices.Clone(d.starved), Ending: slices.Clone(d.ending), Leaving: slices.Clone(d.leaving), Drawn: d.drawn, Subsets: d.subsets, Closing: d.closing, Now: d.now}
	for _, s := range byID(d.sessions) {
		si := SessionImage{
			ID: s.id, Client: s.client, Process: s.process, Peer: s.peer, Namespace: s.namespace, Backend: s.backend,
			Leases: slices.Clone(s.leases), Joined: slices.Clone(s.joined), Sequence: s.sequence, Reply: s.reply,
			Blocked: s.blocked, Ended: s.ended, Lingers: s.lingers, Reason: s.reason,
		}
		for _, w := range s.watches {
			si.Watches = append(si.Watches, WatchImage{w.id, w.pattern.String(), w.kind})
		}
		img.Sessions = append(img.Sessions, si)
	}
	for _, ns := range byID(d.namespaces) {
		if ns.id != Root {
			img.Namespaces = append(img.Namespaces, NamespaceImage{
				ns.id, ns.parent, ns.name, ns.ended, slices.Clone(ns.joined), ns.only != nil, slices.Sorted(maps.Keys(ns.only)), ns.subset,
			})
		}
	}
	for _, l := range byID(d.leases) {
		e := d.entry(l)
		e.Callers = slices.Clone(l.callers)
		img.Names = append(img.Names, NameImage{e, l.listed, slices.Clone(l.waiting), l.port != nil, l.port != nil && l.port.withdrawn})
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
			b.id, b.service, b.definition, uint8(b.state), b.retired, b.launched, b.notified, b.checkedIn, b.owner, b.path, b.since, b.lease, b.caller,
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
