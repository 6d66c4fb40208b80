// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// run applies the same events to a directory, to a copy of it that was exported and imported, and to the model, and
// compares what can be seen.
type run struct {
	t     fataler
	m     *model
	d     *directory.Directory
	twin  *directory.Directory // nil: none yet
	next  directory.ID
	index map[nameKey]directory.ID // what Publish and Unpublish made
	full  map[directory.ID]bool    // sessions whose client does not read
	undo  []directory.Event
	log   []string
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

var _ fataler = (*testing.T)(nil)

func newRun(t fataler, l directory.Limits) *run {
	return &run{
		t: t, m: newModel(l), d: directory.New(l), next: directory.FirstFree,
		index: make(map[nameKey]directory.ID), full: make(map[directory.ID]bool),
	}
}

func (r *run) id() directory.ID { r.next++; return r.next - 1 }

func (r *run) fail(format string, args ...any) {
	r.t.Helper()
	for _, line := range r.log {
		format += "\n" + "%s"
		args = append(args, line)
	}
	r.t.Fatalf(format, args...)
}

// apply applies an event and, as the broker does, those that carrying out its actions brings about.
func (r *run) apply(ev directory.Event) {
	r.t.Helper()
	for next := []directory.Event{ev}; len(next) > 0; {
		r.undo = nil
		for _, ev := range next {
			r.one(ev)
		}
		next = r.undo
		slices.Reverse(next)
	}
}

func (r *run) one(ev directory.Event) {
	r.t.Helper()
	r.log = append(r.log, fmt.Sprintf("%T%+v", ev, ev))
	w := r.m.apply(ev)
	got := r.d.Apply(ev)
	for _, a := range got {
		r.log = append(r.log, fmt.Sprintf("    %T%+v", a, a))
	}
	if r.twin != nil {
		if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", r.twin.Apply(ev)); a != b {
			r.fail("after %T the original and its copy differ:\n%s\n%s", ev, a, b)
		}
	}
	r.observe(got, w)
	r.missing(w)
	r.compare()
}

// observe follows the actions of one event, and crosses out what was wanted of them.
func (r *run) observe(actions []directory.Action, w *wanted) {
	r.t.Helper()
	goneReason := make(map[directory.ID]string)
	for _, a := range actions {
		switch a := a.(type) {
		case directory.Answer:
			r.answer(a, w)
		case directory.Welcome:
			if w.welcome == nil || *w.welcome != a {
				r.fail("got %+v, want %+v", a, w.welcome)
			}
			delete(r.full, a.Resumed)
			w.welcome = nil
		case directory.Publish:
			r.published(a, w)
		case directory.Unpublish:
			key := key(a.Namespace, a.Name)
			if _, ok := r.ending(r.index[key], w); !ok {
				r.fail("unpublished %v, which is lease %d and should go on", key, r.index[key])
			}
			delete(r.index, key)
		case directory.Notify:
			r.notified(a, w, goneReason)
		case directory.HandOver:
			r.handedOver(a, w)
		case directory.Redirect:
			if path, ok := w.redirect[a.Connection]; !ok || path != a.Path {
				r.fail("redirected %d to %q, want %q", a.Connection, a.Path, path)
			}
			delete(w.redirect, a.Connection)
		case directory.Refuse:
			r.refused(a, w)
		case directory.Forget:
			if w.forget != a.Connection {
				r.fail("forgot %d, want %d", a.Connection, w.forget)
			}
			w.forget = 0
		case directory.EndLease:
			r.ended(a, w, goneReason)
		case directory.PortAnswer:
			if w.port == nil || w.publish != 0 || (a.Refusal.Reason == directory.OK) != (a.Refusal.Text == "") {
				r.fail("got %+v, want %+v, and lease %d published before", a, w.port, w.publish)
			}
			if a.Refusal.Text = ""; *w.port != a {
				r.fail("got %+v, want %+v", a, *w.port)
			}
			w.port = nil
		case directory.AwaitReturn:
			if s, ok := w.awaits[a.Lease]; !ok || s != a.Session || w.changed[a.Lease] == nil || !w.changed[a.Lease].published {
				r.fail("got %+v, want %d, %t, after its publication", a, s, ok)
			}
			delete(w.awaits, a.Lease)
		case directory.EndSubset:
			if reason, ok := w.subsets[a.Namespace]; !ok || reason != a.Reason {
				r.fail("got %+v, want %t for %q", a, ok, reason)
			}
			delete(w.subsets, a.Namespace)
		case directory.CloseSession:
			if reason, ok := w.closed[a.Session]; !ok || a.Refusal.Reason != reason || a.Refusal.Text == "" {
				r.fail("closed session %d with %+v, want %v", a.Session, a.Refusal, reason)
			}
			delete(w.closed, a.Session)
		}
	}
}

// published follows a name that is announced: the lease just claimed, or the next best after one that ends.
func (r *run) published(a directory.Publish, w *wanted) {
	r.t.Helper()
	key, id := key(a.Entry.Namespace, a.Entry.Name), a.Entry.Lease
	l := r.m.leases[id]
	if l != nil && l.port && r.index[key] == id {
		if w.slice > 0 && r.m.due(l) && r.m.moves(l) { // its slice has come
			r.m.giveUp(l, r.m.sessions[l.Session].reason, w)
			w.slice--
		}
		if c := w.changed[id]; c == nil || c.published || !same(a.Entry, l.Entry) {
			r.fail("published %+v again, want %+v of %+v", a, c, l)
		}
		w.changed[id].published, w.changed[id].told = true, make(map[*modelWatch]bool)
		return
	}
	if _, ok := r.ending(r.index[key], w); l == nil || r.index[key] == id || w.publish != id && !ok || !same(a.Entry, l.Entry) {
		r.fail("published %+v, and there is %d", a.Entry, r.index[key])
	}
	r.index[key] = id
	if w.publish == id {
		w.publish = 0
	}
}

func (r *run) answer(a directory.Answer, w *wanted) {
	r.t.Helper()
	if w.answer == nil || (a.Reply.Reason == directory.OK) != (a.Reply.Text == "") || w.publish != 0 {
		r.fail("got %+v, want %+v, and lease %d published before", a, w.answer, w.publish)
		return
	}
	if w.answer.Reply.Text == "" { // the first time it is said
		w.answer.Reply.Text = a.Reply.Text
	}
	if !reflect.DeepEqual(*w.answer, a) {
		r.fail("got %+v, want %+v", a, *w.answer)
	}
	if w.fresh != nil {
		w.fresh.reply = a.Reply
	}
	w.answer = nil
}

// ending says whether a lease may end by the event at hand, and why.
func (r *run) ending(id directory.ID, w *wanted) (reason string, ok bool) {
	if reason, ok = w.ends[id]; ok {
		return reason, true
	}
	l := r.m.leases[id]
	switch {
	case l == nil || w.slice == 0 || r.m.due(l) && r.m.moves(l) || !r.m.due(l) && !r.m.leaving(l):
		return "", false
	case r.m.leaving(l):
		return nsEnded, true
	}
	return r.m.sessions[l.Session].reason, true
}

func (r *run) ended(a directory.EndLease, w *wanted, goneReason map[directory.ID]string) {
	r.t.Helper()
	reason, ok := r.ending(a.Lease, w)
	l := r.m.leases[a.Lease]
	if !ok || l == nil || l.Session != a.Session || reason != a.Reason || a.Tell && r.m.sessions[a.Session].ended {
		r.fail("%+v, want %t for %q", a, ok, reason)
		return
	}
	if told, ok := goneReason[a.Lease]; ok && told != a.Reason {
		r.fail("watchers were told that %d ended because %q, and it did because %q", a.Lease, told, a.Reason)
	}
	if l.door == 0 && r.index[key(l.Namespace, l.Name)] == a.Lease {
		r.fail("lease %d ended, and is published", a.Lease)
	}
	for id, c := range r.m.callers {
		if c.lease == a.Lease && c.state != over {
			r.fail("lease %d ended, and caller %d was not told", a.Lease, id)
		}
	}
	delete(r.m.leases, a.Lease)
	if _, atOnce := w.ends[a.Lease]; atOnce {
		delete(w.ends, a.Lease)
	} else {
		w.slice--
	}
}

func (r *run) notified(a directory.Notify, w *wanted, goneReason map[directory.ID]string) {
	r.t.Helper()
	s, l := r.m.alive(a.Session), r.m.leases[a.Entry.Lease]
	if s == nil || s.watches[a.Watch] == nil || l == nil || !same(a.Entry, l.Entry) {
		r.fail("notified of what is not: %+v, want %+v", a, l)
		return
	}
	seen := s.watches[a.Watch].seen
	switch a.Kind {
	case directory.Appeared:
		if seen[l.Lease] || a.Reason != "" {
			r.fail("appeared twice: %+v", a)
		}
		seen[l.Lease] = true
	case directory.Gone:
		if reason, ok := r.ending(l.Lease, w); !seen[l.Lease] || !ok || reason != a.Reason {
			r.fail("gone: %+v, want %t for %q", a, ok, reason)
		}
		goneReason[l.Lease] = a.Reason
		delete(seen, l.Lease)
	case directory.Changed:
		watch := s.watches[a.Watch]
		c := w.changed[l.Lease]
		if c == nil || !c.published || c.told[watch] || c.reason != a.Reason || !seen[l.Lease] {
			r.fail("changed: %+v, want %+v", a, c)
		}
		c.told[watch] = true
	default:
		r.fail("notified of %+v", a)
	}
}

func (r *run) handedOver(a directory.HandOver, w *wanted) {
	r.t.Helper()
	c, l := r.m.callers[a.Connection], r.m.leases[a.Lease]
	if c == nil || l == nil || l.Session != a.Session || !r.m.hungry(l) || l.waiting[0] != a.Connection {
		r.fail("handed over out of order, beyond the share or to nobody: %+v, waiting %+v", a, l)
		return
	}
	if w.welcome != nil {
		r.fail("handed over before the welcome: %+v", a)
	}
	l.waiting = l.waiting[1:]
	c.state = handed
	if !c.tried {
		c.tried, c.deadline = true, r.m.now+r.m.limits.TakeOver
	}
	if r.full[a.Session] {
		r.undo = append(r.undo, directory.NotDelivered{Connection: a.Connection})
	}
}

func (r *run) refused(a directory.Refuse, w *wanted) {
	r.t.Helper()
	c := r.m.callers[a.Connection]
	reason, ok := w.refused[a.Connection]
	if !ok && c != nil && c.state != over {
		_, ok = r.ending(c.lease, w)
		reason = directory.OwnerGone
	}
	if !ok || reason != a.Refusal.Reason || a.Refusal.Text == "" || a.Untaken != (c.state == handed) {
		r.fail("refused: %+v, want %t for %v, of %+v", a, ok, reason, c)
		return
	}
	if l := r.m.leases[c.lease]; l != nil && c.state == waiting {
		l.waiting = slices.DeleteFunc(slices.Clone(l.waiting), func(id directory.ID) bool { return id == a.Connection })
	}
	c.state = over
	delete(w.refused, a.Connection)
}

// missing fails if something wanted was not seen.
func (r *run) missing(w *wanted) {
	r.t.Helper()
	if w.answer != nil || w.welcome != nil || w.publish != 0 || w.forget != 0 || w.slice != 0 ||
		len(w.closed)+len(w.ends)+len(w.refused)+len(w.redirect) > 0 || w.port != nil || len(w.awaits)+len(w.subsets) > 0 {
		r.fail("not seen: %+v", *w)
	}
	for id, c := range w.changed {
		for _, s := range r.m.sessions {
			for i, watch := range s.watches {
				if watch.seen[id] && !c.told[watch] {
					r.fail("watch %d of session %d was not told of the change of %d", i, s.id, id)
				}
			}
		}
		if !c.published {
			r.fail("the change of %d was not published: %+v", id, c)
		}
	}
}

type nameKey struct {
	namespace directory.ID
	name      string
}

func key(ns directory.ID, name string) nameKey { return nameKey{ns, name} }

// same compares entries. No callers are no callers, however they are written.
func same(a, b directory.Entry) bool {
	if !slices.Equal(a.Callers, b.Callers) {
		return false
	}
	a.Callers, b.Callers = nil, nil
	return reflect.DeepEqual(a, b)
}

// reimport takes the copy for the original and makes a new copy of it, through one of two encodings.
func (r *run) reimport(useJSON bool) {
	r.t.Helper()
	if r.twin != nil {
		r.d.Deadline() // forgets what is stale
		r.twin.Deadline()
		if a, b := fmt.Sprintf("%+v", r.d.Export()), fmt.Sprintf("%+v", r.twin.Export()); a != b {
			r.fail("the original and its copy differ:\n%s\n%s", a, b)
		}
		r.d = r.twin
	}
	image := r.d.Export()
	before := fmt.Sprintf("%+v", image)
	var b bytes.Buffer
	var again directory.Image
	var err error
	if useJSON {
		if err = json.NewEncoder(&b).Encode(image); err == nil {
			err = json.NewDecoder(&b).Decode(&again)
		}
	} else if err = gob.NewEncoder(&b).Encode(image); err == nil {
		err = gob.NewDecoder(&b).Decode(&again)
	}
	if err != nil {
		r.fail("cannot copy the image: %v", err)
	}
	if r.twin, err = directory.Import(again, r.m.limits); err != nil {
		r.fail("cannot import: %v", err)
	} else if after := fmt.Sprintf("%+v", r.twin.Export()); before != after {
		r.fail("exported\n%s\nand after import\n%s", before, after)
	}
	r.log = append(r.log, fmt.Sprintf("-- exported and imported, JSON %t", useJSON))
}
