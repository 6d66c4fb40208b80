// SPDX-License-Identifier: Apache-2.0

package switchboard

import "github.com/switchboard-ipc/switchboard/protocol/session"

const (
	maxEvents = 65536           // of a Watcher that nobody reads
	graceTime = 2 * longestWait // for owners to claim their names from a new broker, before they count as gone: they look for it that often
)

// watchedNames makes events of what brokers tell: one after the other, and the same one again.
type watchedNames struct {
	queue   []Event
	known   map[nameKey]Entry // as the events in the queue leave it
	missing map[nameKey]bool  // of known, during a new listing: not yet listed
	listing bool              // anew
	patient bool              // by another broker, to which owners may still be coming: missing ones have a grace
	synced  bool              // Synced was told
}

// nameKey is what stays the same when another broker numbers the leases. A name has several versions, scopes, and processes.
type nameKey struct{ namespace, name, version, scope, instance string }

func keyOf(e *Entry) nameKey { return nameKey{e.Namespace, e.Name, e.Version, e.Scope, e.Instance} }

func (n *watchedNames) pop() (Event, bool) {
	if len(n.queue) == 0 {
		return Event{}, false
	}
	event := n.queue[0]
	n.queue[0] = Event{}
	if n.queue = n.queue[1:]; len(n.queue) == 0 {
		n.queue = nil
	}
	return event, true
}

func (n *watchedNames) tell(kind EventKind, e Entry, reason string) {
	n.queue = append(n.queue, Event{kind, e, reason})
}

// change takes one change. What is known already is not told again.
func (n *watchedNames) change(c *session.Changed) {
	entry := newEntry(&c.Entry)
	key := keyOf(&entry)
	old, known := n.known[key]
	if n.known == nil {
		n.known = make(map[nameKey]Entry)
	}
	if c.Kind == session.ChangeGone {
		if known && old.Lease == entry.Lease {
			delete(n.known, key)
			delete(n.missing, key)
			n.tell(Gone, entry, c.Reason)
		}
		return
	}
	same := old.Lease == entry.Lease
	if n.missing[key] && n.patient {
		same = sameOwner(&old, &entry) // the numbers are another broker's
	}
	delete(n.missing, key)
	n.known[key] = entry
	switch {
	case !known:
		n.tell(Appeared, entry, "")
	case !same:
		n.tell(Gone, old, "another owner has taken its place")
		n.tell(Appeared, entry, "")
	case c.Kind == session.ChangeChanged || !sameClaim(&old, &entry):
		n.tell(Changed, entry, "")
	}
}

// sameOwner reports whether a name that was claimed anew is as it was, for who calls it.
func sameOwner(a, b *Entry) bool {
	return a.PID == b.PID && a.UID == b.UID && a.Executable == b.Executable && a.Kind == b.Kind
}

func sameClaim(a, b *Entry) bool {
	return a.Version == b.Version && a.Scope == b.Scope && a.Path == b.Path && a.State == b.State
}

// relist: everything will be listed again, by another broker if restarted.
func (n *watchedNames) relist(restarted bool) {
	n.listing, n.patient = true, restarted
	n.missing = make(map[nameKey]bool, len(n.known))
	for key := range n.known {
		n.missing[key] = true
	}
}

// listed ends a listing. It returns true if giveUpMissing is to follow after graceTime.
func (n *watchedNames) listed() (later bool) {
	n.listing = false
	if later = n.patient && len(n.missing) > 0; !later {
		n.giveUpMissing()
	}
	if !n.synced {
		n.synced = true
		n.tell(Synced, Entry{}, "")
	}
	return later
}

func (n *watchedNames) giveUpMissing() {
	if n.listing {
		return // and its end decides
	}
	for key := range n.missing {
		n.tell(Gone, n.known[key], "its owner was gone when the broker was back")
		delete(n.known, key)
	}
	n.missing = nil
}
