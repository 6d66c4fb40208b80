// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// model is what docs/session.md says a directory is, in the plainest form there is: everything that ever was, looked
// through from the beginning for each question. It says what must happen where the page leaves no choice; where
// it leaves one (who of several is served first, which lease of an ended session goes first), the run checks what it
// sees against the model and the model follows.
type model struct {
	limits     directory.Limits
	now        int64
	sessions   map[directory.ID]*modelSession   // all that ever were
	namespaces map[directory.ID]*modelNamespace // all that ever were
	leases     map[directory.ID]*modelLease     // those that exist
	callers    map[directory.ID]*modelCaller    // all that ever were
	unfinished bool
	subsets    int // how many were made
}

type modelSession struct {
	id, namespace directory.ID
	client        [16]byte
	process       directory.Process
	peer          directory.Peer
	joined        map[directory.ID]bool
	watches       map[uint32]*modelWatch
	sequence      uint64
	reply         directory.Reply
	blocked       bool
	ended         bool
	lingers       bool
	reason        string
}

type modelWatch struct {
	pattern string
	kind    directory.Kind
	seen    map[directory.ID]bool // leases, by replaying what it was told
}

type modelNamespace struct {
	id, parent directory.ID
	name       string
	ended      bool
	subset     bool
	sealed     bool
	only       []string
}

// modelLease is a name, or a door where door is not 0.
type modelLease struct {
	directory.Entry
	door      directory.ID
	waiting   []directory.ID
	port      bool // not one that was claimed
	withdrawn bool
}

type callerState int

const (
	waiting callerState = iota
	handed
	over
)

type modelCaller struct {
	state    callerState
	lease    directory.ID
	peer     directory.Peer
	deadline int64
	tried    bool
}

// wanted is what must be seen of one event, no less and no more, but for what the model leaves open.
type wanted struct {
	answer   *directory.Answer // its text is open
	fresh    *modelSession     // whose reply the answer becomes
	welcome  *directory.Welcome
	closed   map[directory.ID]directory.Reason
	ends     map[directory.ID]string           // leases that end at once, and why
	refused  map[directory.ID]directory.Reason // callers
	redirect map[directory.ID]string
	forget   directory.ID
	publish  directory.ID
	slice    int // how many leases of ended sessions and namespaces go

	port    *directory.PortAnswer // its text is open
	changed map[directory.ID]*change
	awaits  map[directory.ID]directory.ID // ports, and the sessions that had them
	subsets map[directory.ID]string       // namespaces that end, and why
}

func newModel(l directory.Limits) *model {
	m := &model{
		limits: l, sessions: make(map[directory.ID]*modelSession), namespaces: make(map[directory.ID]*modelNamespace),
		leases: make(map[directory.ID]*modelLease), callers: make(map[directory.ID]*modelCaller),
	}
	m.namespaces[directory.Root] = &modelNamespace{id: directory.Root}
	return m
}

func (m *model) alive(session directory.ID) *modelSession {
	if s := m.sessions[session]; s != nil && !s.ended {
		return s
	}
	return nil
}

func (m *model) openNamespace(id directory.ID) *modelNamespace {
	if n := m.namespaces[id]; n != nil && !n.ended {
		return n
	}
	return nil
}

// chain is a namespace and its parents.
func (m *model) chain(ns directory.ID) (chain []directory.ID) {
	for ; ns != 0; ns = m.namespaces[ns].parent {
		chain = append(chain, ns)
	}
	return chain
}

func (m *model) path(ns directory.ID) string {
	path := ""
	for _, id := range m.chain(ns) {
		if id != directory.Root {
			path = "/" + m.namespaces[id].name + path
		}
	}
	return cmp.Or(path, "/")
}

// all are those who have a name in a namespace, in any version and for any scope, be their sessions ended or not. The last
// to come is first.
func (m *model) all(ns directory.ID, name string) (all []*modelLease) {
	for _, l := range m.leases {
		if l.door == 0 && l.Namespace == ns && l.Name == name {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *modelLease) int { return cmp.Compare(b.Lease, a.Lease) })
	return all
}

// named is who has a name in exactly this version and for this scope.
func (m *model) named(ns directory.ID, name, version, scope string) *modelLease {
	for _, l := range m.all(ns, name) {
		if l.Version == version && l.Scope == scope {
			return l
		}
	}
	return nil
}

// best is which of leases a name stands for where no version and no scope is asked for: of those without a scope, or else of
// all, the newest version, and the oldest lease if there are several of it.
func best(leases []*modelLease) directory.ID {
	if len(leases) == 0 {
		return 0
	}
	return slices.MaxFunc(leases, func(a, b *modelLease) int {
		return cmp.Or(
			cmpBool(a.Scope == "", b.Scope == ""),
			cmp.Compare(slices.Index(ages, a.Version), slices.Index(ages, b.Version)),
			cmp.Compare(b.Lease, a.Lease))
	}).Lease
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// ages are the versions that are used, the newest last.
var ages = []string{"", "1.2.0", "2.0.0"}

// published is what must be found under a name: those that end now are out of it.
func (m *model) published(ns directory.ID, name string, w *wanted) directory.ID {
	return best(slices.DeleteFunc(m.all(ns, name), func(l *modelLease) bool { _, ends := w.ends[l.Lease]; return ends }))
}

// resolve is whose a name is for somebody in from who wants a version and a scope, or why it is nobody's. A namespace that knows the
// name in any version is asked, and no other.
func (m *model) resolve(from directory.ID, name, constraint, scope string) (*modelLease, directory.Reason) {
	for _, ns := range m.chain(from) {
		var exact, suitable []*modelLease
		why := directory.OK
		all := slices.DeleteFunc(m.all(ns, name), func(l *modelLease) bool { return !m.has(l) })
		for _, l := range all {
			r := directory.OK
			switch {
			case l.Kind != directory.Service:
				r = directory.WrongKind
			case scope != "" && l.Scope != "" && scope != l.Scope:
				r = directory.Mismatch
			default:
				r = versions[[2]string{constraint, l.Version}]
			}
			switch {
			case r == directory.OK && l.Scope == scope:
				exact = append(exact, l)
			case r == directory.OK:
				suitable = append(suitable, l)
			case why == directory.OK:
				why = r
			}
		}
		switch {
		case len(exact) > 0:
			return m.leases[best(exact)], directory.OK
		case len(suitable) > 0:
			return m.leases[best(suitable)], directory.OK
		case len(all) > 0:
			return nil, why
		case !m.namespaces[ns].lets(name):
			return nil, directory.Unknown
		}
	}
	return nil, directory.Unknown
}

// held is how many leases a session has.
func (m *model) held(session directory.ID) (n int) {
	for _, l := range m.leases {
		if l.Session == session {
			n++
		}
	}
	return n
}

// pending is how many leases of ended sessions and namespaces are left.
func (m *model) pending() (n int) {
	for _, l := range m.leases {
		if m.due(l) || m.leaving(l) {
			n++
		}
	}
	return n
}

// inFlight is how many callers of a lease (0: of all) are handed over and not acknowledged.
func (m *model) inFlight(lease directory.ID) (n int) {
	for _, c := range m.callers {
		if c.state == handed && (lease == 0 || c.lease == lease) {
			n++
		}
	}
	return n
}

func (m *model) share() int {
	return max(1, min(m.limits.InFlightPerName, (m.limits.InFlight-m.inFlight(0))/4))
}

// hungry reports whether a name could be handed its first waiting caller now.
func (m *model) hungry(l *modelLease) bool {
	s := m.sessions[l.Session]
	return len(l.waiting) > 0 && !s.ended && !s.blocked && m.inFlight(l.Lease) < m.share()
}

// visible is what a watch must know of.
func (m *model) visible(s *modelSession, w *modelWatch) map[directory.ID]bool {
	v := make(map[directory.ID]bool)
	for id, l := range m.leases {
		if l.door == 0 && (w.kind == directory.AnyKind || w.kind == l.Kind) && patternMatches(w.pattern, l.Name) &&
			slices.Contains(m.chain(l.Namespace), s.namespace) {
			v[id] = true
		}
	}
	return v
}

func patternMatches(pattern, name string) bool {
	if prefix, below := strings.CutSuffix(pattern, "*"); below {
		return strings.HasPrefix(name, prefix) && name != prefix
	}
	return pattern == name
}

// live are the ids of sessions, namespaces or callers that are not over, in order.
func live[T any](all map[directory.ID]T, ok func(T) bool) (ids []directory.ID) {
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if ok(all[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

// endSession ends a session and what depends on it; its leases go later, in slices.
func (m *model) endSession(s *modelSession, reason string, w *wanted) {
	s.ended, s.reason = true, reason
	joined := s.joined
	s.joined, s.watches = nil, nil
	for ns := range joined {
		m.endIfLeft(m.namespaces[ns], w)
	}
}

func (m *model) endIfLeft(ns *modelNamespace, w *wanted) {
	for _, s := range m.sessions {
		if s.joined[ns.id] {
			return
		}
	}
	if !ns.ended {
		m.endNamespace(ns, w)
	}
}

func (m *model) endNamespace(ns *modelNamespace, w *wanted) {
	ns.ended = true
	for _, child := range m.namespaces {
		if child.parent == ns.id && !child.ended {
			m.endNamespace(child, w)
		}
	}
	for id, l := range m.leases {
		if l.door == ns.id {
			w.ends[id] = "its namespace ended"
		}
	}
	if ns.subset {
		w.subsets[ns.id] = nsEnded
	}
	for _, s := range m.sessions {
		if s.namespace == ns.id && !s.ended && s.lingers {
			joined := s.joined
			s.joined = make(map[directory.ID]bool)
			for id := range joined {
				m.endIfLeft(m.namespaces[id], w)
			}
		} else if s.namespace == ns.id && !s.ended {
			w.closed[s.id] = directory.Unknown
			m.endSession(s, "its namespace ended", w)
		}
	}
}
