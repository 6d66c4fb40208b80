// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"reflect"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// apply brings the model to where it is after an event, and returns what must be seen of it.
func (m *model) apply(ev directory.Event) *wanted {
	w := &wanted{
		closed: make(map[directory.ID]directory.Reason), ends: make(map[directory.ID]string),
		refused: make(map[directory.ID]directory.Reason), redirect: make(map[directory.ID]string), changed: make(map[directory.ID]*change),
		awaits: make(map[directory.ID]directory.ID), subsets: make(map[directory.ID]string),
	}
	sliced := false
	switch ev := ev.(type) {
	case directory.OpenSession:
		m.now = max(m.now, ev.Now)
		m.openSession(ev, w)
	case directory.EndSession:
		m.now = max(m.now, ev.Now)
		if s := m.alive(ev.Session); s != nil {
			m.endSession(s, ev.Reason, w)
		}
		sliced = true
	case directory.Continue:
		m.now = max(m.now, ev.Now)
		sliced = true
	case directory.Change:
		m.now = max(m.now, ev.Now)
		sliced = m.change(ev, w)
	case directory.AddWatch:
		m.addWatch(ev, w)
	case directory.RemoveWatch:
		if s := m.alive(ev.Session); s != nil {
			w.answer = &directory.Answer{Session: s.id, Request: ev.Request}
			if s.watches[ev.Watch] == nil {
				w.answer.Reply.Reason = directory.Unknown
			}
			delete(s.watches, ev.Watch)
		}
	case directory.DropWatch:
		if s := m.alive(ev.Session); s != nil {
			delete(s.watches, ev.Watch)
		}
	case directory.Call:
		m.now = ev.Now
		m.call(ev, w)
	case directory.HangUp:
		if c := m.callers[ev.Connection]; c != nil && c.state == waiting {
			l := m.leases[c.lease]
			l.waiting = slices.DeleteFunc(l.waiting, func(id directory.ID) bool { return id == ev.Connection })
			c.state, w.forget = over, ev.Connection
		}
	case directory.Taken:
		m.now = ev.Now
		if c := m.callers[ev.Connection]; c != nil && c.state == handed && m.leases[c.lease].Session == ev.Session {
			l := m.leases[c.lease]
			l.Callers = append(l.Callers, directory.Caller{Connection: ev.Connection, PID: c.peer.PID, UID: c.peer.UID, Socket: ev.Socket})
			c.state, w.forget = over, ev.Connection
		}
	case directory.NotDelivered:
		if c := m.callers[ev.Connection]; c != nil && c.state == handed {
			l := m.leases[c.lease]
			l.waiting = append([]directory.ID{ev.Connection}, l.waiting...)
			m.sessions[l.Session].blocked = true
			c.state = waiting
		}
	case directory.Writable:
		m.now = ev.Now
		if s := m.alive(ev.Session); s != nil {
			s.blocked = false
		}
	case directory.Tick:
		m.now = ev.Now
		for id, c := range m.callers {
			if c.state != over && c.deadline <= ev.Now {
				w.refused[id] = directory.NotTakenUp
			}
		}
	case directory.Disconnected:
		for _, l := range m.leases {
			l.Callers = slices.DeleteFunc(l.Callers, func(c directory.Caller) bool { return slices.Contains(ev.Connections, c.Connection) })
		}
	}
	if now := reflect.ValueOf(ev).FieldByName("Now"); now.IsValid() {
		m.now = max(m.now, now.Int())
	}
	sliced = m.portEvent(ev, w) || sliced
	if sliced {
		left := m.pending()
		for id := range w.ends {
			if l := m.leases[id]; m.due(l) || m.leaving(l) {
				left--
			}
		}
		w.slice = min(m.limits.Slice, left)
		m.unfinished = left > w.slice
	}
	return w
}

func (m *model) openSession(ev directory.OpenSession, w *wanted) {
	refuse := func(r directory.Reason) {
		w.answer = &directory.Answer{Session: ev.Session, Request: ev.Request, Reply: directory.Reply{Refusal: directory.Refusal{Reason: r}}}
	}
	if m.openNamespace(ev.Namespace) == nil {
		refuse(directory.Unknown)
		return
	}
	for _, s := range m.sessions {
		if s.ended || s.client != ev.Client {
			continue
		}
		if s.process != ev.Process || s.process == 0 {
			refuse(directory.Denied)
			return
		}
		s.blocked, s.watches = false, make(map[uint32]*modelWatch)
		w.welcome = &directory.Welcome{Session: ev.Session, Request: ev.Request, Resumed: s.id, Sequence: s.sequence, Namespace: m.path(s.namespace)}
		return
	}
	m.sessions[ev.Session] = &modelSession{
		id: ev.Session, namespace: ev.Namespace, client: ev.Client, process: ev.Process, peer: ev.Peer, lingers: ev.Lingers,
		joined: make(map[directory.ID]bool), watches: make(map[uint32]*modelWatch),
	}
	w.welcome = &directory.Welcome{Session: ev.Session, Request: ev.Request, Namespace: m.path(ev.Namespace)}
}

// change reports whether the event also ends a slice.
func (m *model) change(ev directory.Change, w *wanted) bool {
	s := m.alive(ev.Session)
	if s == nil {
		w.closed[ev.Session] = directory.OwnerGone
		return false
	}
	switch {
	case ev.Sequence == 0 || ev.Sequence != s.sequence && ev.Sequence != s.sequence+1:
		w.closed[s.id] = directory.Malformed
		m.endSession(s, "its owner broke the protocol", w)
		return true
	case ev.Sequence == s.sequence+1:
		s.sequence, w.fresh = ev.Sequence, s
		s.reply = m.do(s, ev.Op, w)
	}
	w.answer = &directory.Answer{Session: s.id, Request: ev.Request, Sequence: ev.Sequence, Reply: s.reply}
	return false
}

func (m *model) do(s *modelSession, op directory.Op, w *wanted) directory.Reply {
	refuse := func(r directory.Reason) directory.Reply {
		return directory.Reply{Refusal: directory.Refusal{Reason: r}}
	}
	switch op.(type) {
	case directory.Claim, directory.JoinNamespace, directory.OpenDoor:
		if m.namespaces[s.namespace].ended {
			return refuse(directory.Unknown)
		}
	}
	switch op := op.(type) {
	case directory.Claim:
		if m.held(s.id) >= m.limits.NamesPerSession {
			return refuse(directory.LimitHit)
		}
		for _, l := range m.all(s.namespace, op.Name) {
			if l.port && m.has(l) {
				return refuse(directory.NameTaken)
			}
		}
		if l := m.named(s.namespace, op.Name, op.Version, op.Scope); l != nil {
			if !m.sessions[l.Session].ended {
				return refuse(directory.NameTaken)
			}
			w.ends[l.Lease] = m.sessions[l.Session].reason
		}
		for _, l := range m.all(s.namespace, op.Name) {
			if l.port { // of an ended session
				w.ends[l.Lease] = m.sessions[l.Session].reason
			}
		}
		m.leases[op.Lease] = &modelLease{Entry: directory.Entry{
			Lease: op.Lease, Session: s.id, Name: op.Name, Namespace: s.namespace, Kind: op.Kind, State: directory.Active, Owner: s.peer,
			Version: op.Version, Scope: op.Scope, Accept: op.Accept, Path: op.Path, Since: op.Since,
		}}
		if m.published(s.namespace, op.Name, w) == op.Lease {
			w.publish = op.Lease
		}
		return directory.Reply{ID: op.Lease, Path: op.Path}
	case directory.Release:
		if l := m.leases[op.Lease]; l == nil || l.Session != s.id {
			return refuse(directory.Unknown)
		}
		if l := m.leases[op.Lease]; m.moves(l) {
			m.giveUp(l, "it was given back", w)
		} else {
			w.ends[op.Lease] = "it was given back"
		}
		return directory.Reply{}
	case directory.JoinNamespace:
		var found *modelNamespace
		for _, ns := range m.namespaces {
			if ns.parent == s.namespace && ns.name == op.Name && !ns.ended {
				found = ns
			}
		}
		switch {
		case !op.Sealed && len(op.Only) > 0:
			return refuse(directory.Malformed)
		case found != nil && found.subset:
			return refuse(directory.Denied)
		case found != nil && op.Sealed && (!found.sealed || !slices.Equal(found.only, op.Only)):
			return refuse(directory.Malformed)
		}
		if len(s.joined) >= m.limits.NamesPerSession && (found == nil || !s.joined[found.id]) {
			return refuse(directory.LimitHit)
		}
		if found == nil {
			found = &modelNamespace{id: op.New, parent: s.namespace, name: op.Name, sealed: op.Sealed, only: op.Only}
			m.namespaces[op.New] = found
		}
		s.joined[found.id] = true
		return directory.Reply{ID: found.id, Path: m.path(found.id)}
	case directory.OpenDoor:
		to := op.Namespace
		if to == 0 {
			to = s.namespace
		}
		if to != s.namespace && !s.joined[to] {
			return refuse(directory.Denied)
		}
		if m.held(s.id) >= m.limits.NamesPerSession {
			return refuse(directory.LimitHit)
		}
		m.leases[op.Lease] = &modelLease{Entry: directory.Entry{Lease: op.Lease, Session: s.id}, door: to}
		return directory.Reply{ID: op.Lease, Path: m.path(to)}
	case directory.Fail:
		return directory.Reply{Refusal: op.Refusal}
	}
	return directory.Reply{}
}

func (m *model) addWatch(ev directory.AddWatch, w *wanted) {
	s := m.alive(ev.Session)
	if s == nil {
		return
	}
	w.answer = &directory.Answer{Session: s.id, Request: ev.Request}
	switch {
	case ev.Pattern == badPattern || s.watches[ev.Request] != nil && len(s.watches) < m.limits.WatchesPerSession:
		w.answer.Reply.Reason = directory.Malformed
	case len(s.watches) >= m.limits.WatchesPerSession:
		w.answer.Reply.Reason = directory.LimitHit
	default:
		s.watches[ev.Request] = &modelWatch{pattern: ev.Pattern, kind: ev.Kind} // seen: by the run, from Matching
	}
}

func (m *model) call(ev directory.Call, w *wanted) {
	c := &modelCaller{state: over, peer: ev.Caller, deadline: ev.Now + m.limits.TakeOver}
	m.callers[ev.Connection] = c
	if m.openNamespace(ev.Namespace) == nil {
		w.refused[ev.Connection] = directory.Unknown
		return
	}
	l, reason := m.resolve(ev.Namespace, ev.Name, ev.Version, ev.Scope)
	switch {
	case reason != directory.OK:
		w.refused[ev.Connection] = reason
	case l.Accept != directory.HandedOver:
		w.redirect[ev.Connection] = l.Path
	case len(l.waiting) >= m.limits.Waiting:
		w.refused[ev.Connection] = directory.LimitHit
	default:
		c.state, c.lease = waiting, l.Lease
		l.waiting = append(l.waiting, ev.Connection)
	}
}
