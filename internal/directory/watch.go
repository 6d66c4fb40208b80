// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

// watch is a session's wish to be told of names that match.
type watch struct {
	id      uint32
	pattern name.Pattern
	kind    Kind
}

func (w watch) matches(l *lease) bool {
	return (w.kind == AnyKind || w.kind == l.kind) && w.pattern.Match(l.name)
}

func (ev AddWatch) apply(d *Directory) {
	s := d.sessions[ev.Session]
	if s == nil || s.ended {
		return
	}
	answer := Answer{Session: s.id, Request: ev.Request}
	p, err := name.ParsePattern(ev.Pattern)
	switch {
	case err != nil:
		answer.Reply = refused(Malformed, err.Error())
	case len(s.watches) >= d.limits.WatchesPerSession:
		answer.Reply = refused(LimitHit, fmt.Sprintf("a session may have %d watches", d.limits.WatchesPerSession))
	case slices.ContainsFunc(s.watches, func(w watch) bool { return w.id == ev.Request }):
		answer.Reply = refused(Malformed, fmt.Sprintf("watch %d exists already: give each request an id of its own", ev.Request))
	default:
		if len(s.watches) == 0 {
			d.watching = append(d.watching, s.id)
		}
		s.watches = append(s.watches, watch{ev.Request, p, ev.Kind})
	}
	d.do(answer)
}

func (ev RemoveWatch) apply(d *Directory) {
	s := d.sessions[ev.Session]
	if s == nil || s.ended {
		return
	}
	answer := Answer{Session: s.id, Request: ev.Request}
	if !d.removeWatch(s, ev.Watch) {
		answer.Reply = refused(Unknown, fmt.Sprintf("this session has no watch %d", ev.Watch))
	}
	d.do(answer)
}

func (ev DropWatch) apply(d *Directory) {
	if s := d.sessions[ev.Session]; s != nil {
		d.removeWatch(s, ev.Watch)
	}
}

func (d *Directory) removeWatch(s *session, id uint32) bool {
	i := slices.IndexFunc(s.watches, func(w watch) bool { return w.id == id })
	if i < 0 {
		return false
	}
	s.watches = slices.Delete(s.watches, i, i+1)
	if len(s.watches) == 0 {
		d.dropWatches(s)
	}
	return true
}

func (d *Directory) dropWatches(s *session) {
	s.watches = nil
	d.watching = slices.DeleteFunc(d.watching, func(id ID) bool { return id == s.id })
}

// notify tells every watch that sees l.
func (d *Directory) notify(kind ChangeKind, l *lease, reason string) {
	for _, id := range d.watching {
		s := d.sessions[id]
		if !d.within(l.namespace, s.namespace) {
			continue
		}
		for _, w := range s.watches {
			if w.matches(l) {
				d.do(Notify{Session: id, Watch: w.id, Kind: kind, Entry: d.entry(l), Reason: reason})
			}
		}
	}
}

// Matching returns the leases that a session's watch sees, in order of age: what exists when a watch begins.
func (d *Directory) Matching(session ID, id uint32) []ID {
	s := d.sessions[session]
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.watches, func(w watch) bool { return w.id == id })
	if i < 0 {
		return nil
	}
	var ids []ID
	for lid, l := range d.leases {
		if s.watches[i].matches(l) && d.within(l.namespace, s.namespace) {
			ids = append(ids, lid)
		}
	}
	slices.Sort(ids)
	return ids
}

// Watches returns how many watches a session has.
func (d *Directory) Watches(session ID) int {
	if s := d.sessions[session]; s != nil {
		return len(s.watches)
	}
	return 0
}
