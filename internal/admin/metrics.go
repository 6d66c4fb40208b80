// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Labels that stand for others.
const (
	// Unknown is the service or version of what is counted before it is known: an empty string is counted so.
	Unknown = "unknown"
	// Other is the service or version of what there is no room for: beyond MaxSets, beyond a service's share of
	// them, or longer than a name may be.
	Other = "other"
)

// MaxSets is the most sets of labels that a Store holds, whatever its clients ask for.
const MaxSets = 1024

const (
	setsOfService = 128 // so that one client with many versions leaves room for other services
	setsOfOthers  = 32  // kept free for Other
	longestLabel  = 64  // bytes, as names and versions
)

// Outcomes of launches, for SpawnAttempt.
const (
	SpawnReady    = "ready"
	SpawnFailed   = "failed"
	SpawnTimedOut = "timed_out"
)

// HelloAccepted is the outcome of a Hello that was answered with a backend.
const HelloAccepted = "accepted"

var refusals = [...]string{"unspecified", "version_unsupported", "service_unknown", "backend_spawn_failed",
	"rate_limited", "shutting_down", "peer_rejected", "internal", "version_blocked", "fd_pressure"}

// HelloRefused is the outcome of a Hello that was refused with a code: its name in small letters.
func HelloRefused(code envelope.ErrorCode) string {
	if int(code) < len(refusals) {
		return refusals[code]
	}
	return refusals[0]
}

// Bounds are the upper ends of the buckets of durations, ascending; a last bucket has the rest.
var Bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Store counts what happens. Its methods may be called by many at once; the zero Store is not usable. What it counts
// is kept for its life, in bounded room: a broker should name a service and version only once a definition was found
// for them, since before that they are whatever a client wrote.
type Store struct {
	mu     sync.RWMutex
	sets   map[set]*series
	length map[string]*lengths
	share  map[string]int // sets of each service
}

type family uint8

const (
	hellos family = iota
	spawns
)

// set is one set of labels.
type set struct {
	family                    family
	service, version, outcome string
}

type series struct {
	count   atomic.Uint64
	lengths *lengths // of the service; nil for spawns
}

type lengths struct {
	buckets [len(Bounds) + 1]atomic.Uint64 // each for itself, not cumulative
	sum     atomic.Int64                   // nanoseconds
}

// NewStore makes an empty one.
func NewStore() *Store {
	return &Store{sets: map[set]*series{}, length: map[string]*lengths{}, share: map[string]int{}}
}

// HelloDone counts a Hello that has been answered after d: HelloAccepted, or HelloRefused of the code.
func (s *Store) HelloDone(service, version, outcome string, d time.Duration) {
	r := s.find(set{hellos, label(service), label(version), outcome})
	r.count.Add(1)
	d = max(d, 0)
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	r.lengths.buckets[i].Add(1)
	r.lengths.sum.Add(int64(d))
}

// SpawnAttempt counts a launch that has come to an end: SpawnReady, SpawnFailed or SpawnTimedOut.
func (s *Store) SpawnAttempt(service, version, outcome string) {
	s.find(set{spawns, label(service), label(version), outcome}).count.Add(1)
}

func label(s string) string {
	switch {
	case s == "":
		return Unknown
	case len(s) > longestLabel:
		return Other
	}
	return s
}

// find returns the series of a set, or of the one that stands for it.
func (s *Store) find(want set) *series {
	s.mu.RLock()
	r, room := s.place(&want)
	s.mu.RUnlock()
	if !room {
		return r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, room = s.place(&want); room { // nobody else was quicker
		r = s.add(want)
	}
	return r
}

// place looks where a set is counted, and makes it that one: its series, or that there is room to add it.
func (s *Store) place(want *set) (r *series, room bool) {
	if r = s.sets[*want]; r != nil {
		return r, false
	}
	own := len(s.sets)+len(s.length) < MaxSets-setsOfOthers-1 // a set may bring its service's lengths
	if own && s.share[want.service] < setsOfService {
		return nil, true
	}
	want.version = Other
	if r = s.sets[*want]; r != nil {
		return r, false
	}
	if own && s.share[want.service] < 2*setsOfService {
		return nil, true
	}
	want.service = Other
	if r = s.sets[*want]; r != nil {
		return r, false
	}
	if len(s.sets)+len(s.length) < MaxSets-3 { // two families with outcome Other, and lengths
		return nil, true
	}
	want.outcome = Other
	r = s.sets[*want]
	return r, r == nil
}

// add makes the series of a set. Its strings may be parts of a buffer.
func (s *Store) add(at set) *series {
	at.service, at.version, at.outcome = strings.Clone(at.service), strings.Clone(at.version), strings.Clone(at.outcome)
	r := new(series)
	if at.family == hellos {
		if r.lengths = s.length[at.service]; r.lengths == nil {
			r.lengths = new(lengths)
			s.length[at.service] = r.lengths
		}
	}
	s.sets[at] = r
	s.share[at.service]++
	return r
}

// Counters is what a Store has counted, each list sorted by its labels.
type Counters struct {
	Hellos    []Count
	Spawns    []Count
	Durations []Durations // of Hellos, by service
}

// Count is one counter.
type Count struct {
	Service, Version, Outcome string
	N                         uint64
}

// Durations is how long the Hellos of one service took.
type Durations struct {
	Service string
	Buckets [len(Bounds) + 1]uint64 // how many were at most Bounds[i] and more than Bounds[i-1]; the last: longer than all
	Sum     time.Duration
}

// Read returns what has been counted. What happens meanwhile is in it or not.
func (s *Store) Read() Counters {
	var c Counters
	s.mu.RLock()
	for at, r := range s.sets {
		count := Count{at.service, at.version, at.outcome, r.count.Load()}
		if at.family == hellos {
			c.Hellos = append(c.Hellos, count)
		} else {
			c.Spawns = append(c.Spawns, count)
		}
	}
	for service, l := range s.length {
		d := Durations{Service: service, Sum: time.Duration(l.sum.Load())}
		for i := range l.buckets {
			d.Buckets[i] = l.buckets[i].Load()
		}
		c.Durations = append(c.Durations, d)
	}
	s.mu.RUnlock()
	slices.SortFunc(c.Hellos, Count.compare)
	slices.SortFunc(c.Spawns, Count.compare)
	slices.SortFunc(c.Durations, func(a, b Durations) int { return cmp.Compare(a.Service, b.Service) })
	return c
}

func (c Count) compare(d Count) int {
	return cmp.Or(cmp.Compare(c.Service, d.Service), cmp.Compare(c.Version, d.Version), cmp.Compare(c.Outcome, d.Outcome))
}
