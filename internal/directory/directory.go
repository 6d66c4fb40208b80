// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
)

// Directory is the state. Make one with New or Import.
type Directory struct {
	limits     Limits
	sessions   map[ID]*session
	clients    map[[16]byte]ID
	namespaces map[ID]*namespace
	leases     map[ID]*lease
	doors      map[ID]*door
	callers    map[ID]*caller
	handed     map[ID]ID // connection → lease, of those that were taken
	watching   []ID      // sessions with watches, in order of their first

	services     map[ID]*service
	backends     map[ID]*backend
	declarations map[ID]*declaration
	timed        map[ID]struct{} // backends with a deadline, and services that are to be forgotten
	drawn        ID              // the last id of the directory's own
	closing      string          // why nothing is launched any more, or ""

	inFlight  int        // callers in state handed, in all
	starved   []ID       // leases with waiting callers, for when a share grows
	deadlines []deadline // in order of time; entries whose caller moved on are stale
	ending    []ID       // ended sessions with leases left
	leaving   []ID       // leases that ended namespaces have left, which are no ended session's
	unused    int        // inactive ports of definitions
	subsets   int        // the last number that a subset was given
	now       int64      // time of the last event that had one

	out []Action
}

type session struct {
	id        ID
	client    [16]byte
	process   Process
	peer      Peer
	namespace ID
	backend   ID   // whose process it says to be, or 0
	leases    []ID // names, doors and declarations
	joined    []ID // namespaces it asked for
	watches   []watch
	sequence  uint64
	reply     Reply // to sequence
	blocked   bool  // cannot be sent to
	ended     bool
	lingers   bool // it is not closed when its namespace ends
	reason    string
}

type door struct {
	id, session, namespace ID
}

// New makes an empty directory.
func New(l Limits) *Directory {
	d := &Directory{
		limits:     l.withDefaults(),
		sessions:   make(map[ID]*session),
		clients:    make(map[[16]byte]ID),
		namespaces: make(map[ID]*namespace),
		leases:     make(map[ID]*lease),
		doors:      make(map[ID]*door),
		callers:    make(map[ID]*caller),
		handed:     make(map[ID]ID),

		services: make(map[ID]*service), backends: make(map[ID]*backend), declarations: make(map[ID]*declaration),
		timed: make(map[ID]struct{}),
	}
	d.namespaces[Root] = newNamespace(Root, 0, "")
	return d
}

// SetLimits changes the limits from now on; what is held already stays.
func (d *Directory) SetLimits(l Limits) { d.limits = l.withDefaults() }

// Apply applies one event and returns what is to be done, in order. The slice is valid until the next call.
func (d *Directory) Apply(ev Event) []Action {
	clear(d.out)
	d.out = d.out[:0]
	ev.apply(d)
	return d.out
}

// Unfinished reports whether a Continue is due: the end of a session or a namespace with many names is applied in slices,
// so that nobody waits for the whole of it.
func (d *Directory) Unfinished() bool { return len(d.ending)+len(d.leaving) > 0 }

// clock takes in the time of an event. It never goes back, so that deadlines are in order.
func (d *Directory) clock(now int64) { d.now = max(d.now, now) }

func (d *Directory) do(a Action) { d.out = append(d.out, a) }

func (ev OpenSession) apply(d *Directory) {
	d.clock(ev.Now)
	refuse := func(reason Reason, text string) {
		d.do(Answer{Session: ev.Session, Request: ev.Request, Reply: Reply{Refusal: Refusal{reason, text}}})
	}
	ns := d.namespaces[ev.Namespace]
	if ns == nil || ns.ended {
		refuse(Unknown, "the namespace of this door has ended")
		return
	}
	welcome := Welcome{Session: ev.Session, Request: ev.Request, Namespace: d.path(ns)}
	if old := d.sessions[d.clients[ev.Client]]; old != nil && !old.ended {
		if ev.Process == 0 || old.process != ev.Process {
			refuse(Denied, "this session id belongs to another process: choose one at random")
			return
		}
		welcome.Resumed, welcome.Sequence, welcome.Namespace = old.id, old.sequence, d.path(d.namespaces[old.namespace])
		old.blocked = false
		if ev.Backend != 0 {
			old.backend = ev.Backend
		}
		d.dropWatches(old) // they belong to the connection
		d.do(welcome)
		d.feedStarved()
		return
	}
	d.sessions[ev.Session] = &session{
		id: ev.Session, client: ev.Client, process: ev.Process, peer: ev.Peer, namespace: ev.Namespace, backend: ev.Backend, lingers: ev.Lingers,
	}
	d.clients[ev.Client] = ev.Session
	ns.sessions[ev.Session] = struct{}{}
	ns.refs++
	d.do(welcome)
}

func (ev EndSession) apply(d *Directory) {
	d.clock(ev.Now)
	if s := d.sessions[ev.Session]; s != nil && !s.ended {
		d.endSession(s, ev.Reason)
	}
	d.endSlice()
}

func (ev Continue) apply(d *Directory) {
	d.clock(ev.Now)
	d.endSlice()
}

// endSession marks a session ended, frees what costs nothing and leaves its leases to endSlice.
func (d *Directory) endSession(s *session, reason string) {
	s.ended, s.reason = true, reason
	delete(d.clients, s.client)
	delete(d.namespaces[s.namespace].sessions, s.id)
	d.dropWatches(s)
	d.ending = append(d.ending, s.id)
	d.leaveAll(s)
}

// endSlice ends up to limits.Slice leases of ended sessions and namespaces.
func (d *Directory) endSlice() {
	budget := d.limits.Slice
	for len(d.ending) > 0 {
		s := d.sessions[d.ending[0]]
		for len(s.leases) > 0 {
			if budget == 0 {
				return
			}
			budget--
			d.giveUp(s.leases[len(s.leases)-1], s, s.reason)
		}
		delete(d.sessions, s.id)
		d.namespaces[s.namespace].refs--
		d.ending = d.ending[1:]
		d.collectNamespace(s.namespace)
	}
	d.ending = nil
	d.endLeaving(budget)
}

func (ev Change) apply(d *Directory) {
	d.clock(ev.Now)
	s := d.sessions[ev.Session]
	if s == nil || s.ended { // its connection is on the way out: no request may stay without an answer
		d.do(CloseSession{Session: ev.Session, Refusal: Refusal{OwnerGone, "the session has ended"}})
		return
	}
	switch ev.Sequence {
	case s.sequence:
		if ev.Sequence == 0 {
			d.fault(s, "a request that changes something needs a sequence")
			return
		}
	case s.sequence + 1:
		s.sequence = ev.Sequence
		s.reply = ev.Op.do(d, s)
		if claim, ok := ev.Op.(Claim); ok && s.reply.Reason == OK {
			defer d.claimed(claim.Lease) // whoever claimed is told so before callers come
		}
	default:
		d.fault(s, "the sequence is out of order")
		return
	}
	d.do(Answer{Session: s.id, Request: ev.Request, Sequence: ev.Sequence, Reply: s.reply})
}

// fault ends a session for breaking the protocol.
func (d *Directory) fault(s *session, text string) {
	d.do(CloseSession{Session: s.id, Refusal: Refusal{Malformed, text}})
	d.endSession(s, "its owner broke the protocol")
	d.endSlice()
}

func (ev Release) do(d *Directory, s *session) Reply {
	if !slices.Contains(s.leases, ev.Lease) {
		return refused(Unknown, "this session has no such lease")
	}
	d.giveUp(ev.Lease, s, "it was given back")
	return Reply{}
}

// Fail refuses a change that the front found wrong by itself, in its place in the order.
type Fail struct{ Refusal Refusal }

func (ev Fail) do(*Directory, *session) Reply { return Reply{Refusal: ev.Refusal} }

func refused(r Reason, text string) Reply { return Reply{Refusal: Refusal{r, text}} }

// endLease ends a name or a door and takes it out of its session.
func (d *Directory) endLease(id ID, reason string, tell bool) {
	var owner ID
	if l := d.leases[id]; l != nil {
		owner = l.session
		d.endName(l, reason)
		if owner == 0 {
			d.do(EndLease{Lease: id, Reason: reason})
			return
		}
	} else if dc := d.declarations[id]; dc != nil {
		owner = dc.session
		d.endDeclaration(dc)
	} else if dr := d.doors[id]; dr != nil {
		owner = dr.session
		delete(d.doors, id)
	} else {
		return
	}
	s := d.sessions[owner]
	// A session whose namespace is ending is told BYE, and no more.
	tell = tell && !s.ended && !d.namespaces[s.namespace].ended
	d.do(EndLease{Lease: id, Session: owner, Tell: tell, Reason: reason})
	s.drop(id)
}

// Callers returns how many connections have no answer yet.
func (d *Directory) Callers() int { return len(d.callers) }

// Leases returns how many names, doors and declarations are held, and processes launched: an inactive port of a definition is not.
func (d *Directory) Leases() int {
	return len(d.leases) - d.unused + len(d.doors) + len(d.declarations) + len(d.backends)
}

// Counts is the size of everything, for status.
type Counts struct{ Sessions, Names, Doors, Namespaces, Watches, Waiting, Backends int }

// Counts counts what there is.
func (d *Directory) Counts() Counts {
	c := Counts{Sessions: len(d.sessions), Names: len(d.leases), Doors: len(d.doors), Namespaces: len(d.namespaces), Waiting: len(d.callers), Backends: len(d.backends)}
	for _, id := range d.watching {
		c.Watches += len(d.sessions[id].watches)
	}
	return c
}

// Repeats reports whether a sequence is the one that was answered last, so that nothing need be prepared for it.
func (d *Directory) Repeats(session ID, sequence uint64) bool {
	s := d.sessions[session]
	return s != nil && sequence != 0 && s.sequence == sequence
}
