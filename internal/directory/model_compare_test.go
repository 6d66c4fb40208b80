// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// compare asks the directory everything and compares the answers to the model's.
func (r *run) compare() {
	r.t.Helper()
	m, d := r.m, r.d
	if err := d.Check(); err != nil {
		r.fail("check: %v", err)
	}
	names, keys := 0, make(map[nameKey]bool)
	for id, l := range m.leases {
		e, ok := d.Entry(id)
		if l.door != 0 {
			if ns, ok := d.DoorNamespace(id); !ok || ns != l.door {
				r.fail("door %d leads to %d, %t, want %d", id, ns, ok, l.door)
			}
			continue
		}
		key := key(l.Namespace, l.Name)
		keys[key] = true
		if names++; !ok || !same(e, l.Entry) || r.index[key] != best(m.all(l.Namespace, l.Name)) {
			r.fail("entry %+v, published %d, want %+v", e, r.index[key], l.Entry)
		}
		if m.hungry(l) {
			r.fail("callers %v of %q wait, and could be handed over", l.waiting, l.Name)
		}
		if len(l.waiting) > m.limits.Waiting+m.limits.InFlightPerName {
			r.fail("callers %v of %q wait", l.waiting, l.Name)
		}
	}
	if len(keys) != len(r.index) || len(m.leases)-m.unused() != d.Leases() || d.Unfinished() != m.unfinished {
		r.fail("%d leases, unfinished %t, index %v; want %d, %t, %v", d.Leases(), d.Unfinished(), r.index, len(m.leases), m.unfinished, keys)
	}
	r.compareSessions(names)
	r.compareCallers()
	r.comparePorts()
}

func (r *run) compareSessions(names int) {
	r.t.Helper()
	m, d := r.m, r.d
	for id, s := range m.sessions {
		if s.ended {
			continue
		}
		ns, ok := d.SessionNamespace(id)
		if !ok || ns != s.namespace || d.NamespacePath(ns) != m.path(ns) || !slices.Equal(parents(d, ns), m.chain(ns)) || d.Watches(id) != len(s.watches) {
			r.fail("session %d is in %d (%s, %v) with %d watches, want %+v", id, ns, d.NamespacePath(ns), parents(d, ns), d.Watches(id), s)
		}
		if d.Repeats(id, s.sequence) != (s.sequence != 0) || d.Repeats(id, s.sequence+1) {
			r.fail("session %d repeats %d: %t", id, s.sequence, d.Repeats(id, s.sequence))
		}
		for i, w := range s.watches {
			visible := m.visible(s, w)
			if w.seen == nil { // it began: what there is is told from this list
				w.seen = make(map[directory.ID]bool)
				for _, l := range d.Matching(id, i) {
					w.seen[l] = true
				}
			}
			if !maps.Equal(visible, w.seen) || !slices.Equal(slices.Sorted(maps.Keys(visible)), d.Matching(id, i)) {
				r.fail("watch %d of session %d has seen %v and matches %v, want %v", i, id, w.seen, d.Matching(id, i), visible)
			}
		}
	}
	for id, ns := range m.namespaces {
		if path := d.NamespacePath(id); !ns.ended && path != m.path(id) || ns.ended && !m.unfinished && (path != "") != m.kept(id) {
			r.fail("namespace %d, ended %t, has path %q", id, ns.ended, path)
		}
	}
	if c := d.Counts(); !m.unfinished {
		want := directory.Counts{
			Sessions:   len(live(m.sessions, func(s *modelSession) bool { return !s.ended })),
			Namespaces: len(live(m.namespaces, func(ns *modelNamespace) bool { return !ns.ended || m.kept(ns.id) })),
			Doors:      len(live(m.leases, func(l *modelLease) bool { return l.door != 0 })),
			Names:      names,
			Waiting:    len(live(m.callers, func(c *modelCaller) bool { return c.state != over })),
		}
		for _, s := range m.sessions {
			want.Watches += len(s.watches)
		}
		if c != want {
			r.fail("counted %+v, want %+v", c, want)
		}
	}
}

func (r *run) compareCallers() {
	r.t.Helper()
	m, d := r.m, r.d
	first, late, callers := int64(1<<62), make(map[directory.ID]bool), 0
	for id, c := range m.callers {
		if d.Waits(id) != (c.state == waiting) {
			r.fail("caller %d waits: %t, want %+v", id, d.Waits(id), c)
		}
		if c.state == over {
			continue
		}
		callers++
		first = min(first, c.deadline)
		if c.state == handed && c.deadline <= m.now+m.limits.TakeOver/2 {
			late[m.leases[c.lease].Session] = true
		}
	}
	if d.Callers() != callers {
		r.fail("%d callers, want %d", d.Callers(), callers)
	}
	if at, ok := d.Deadline(); ok != (callers > 0) || ok && at != first {
		r.fail("the next deadline is %d, %t; want %d", at, ok, first)
	}
	overdue := make(map[directory.ID]bool)
	d.Overdue(m.now+m.limits.TakeOver/2, func(s directory.ID) { overdue[s] = true })
	if !maps.Equal(late, overdue) {
		r.fail("overdue are %v, want %v", overdue, late)
	}
	taken, want := make(map[directory.Caller]bool), make(map[directory.Caller]bool)
	d.Handed(func(c directory.Caller) { taken[c] = true })
	for _, l := range m.leases {
		for _, c := range l.Callers {
			want[c] = true
		}
	}
	if !maps.Equal(taken, want) {
		r.fail("handed over are %v, want %v", taken, want)
	}
}
