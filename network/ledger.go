// SPDX-License-Identifier: Apache-2.0

package network

import (
	"maps"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/network/config"
)

// ledger says who holds what, and until when networks stay. It only decides: whoever asks it makes and removes networks, and tells it
// so. Networks are names to it, connections and leases numbers; time comes in.
type ledger struct {
	limit       int // networks of one connection
	networks    map[string]*record
	connections map[uint64]map[string]*lease // what each holds, by network
	leases      map[uint64]*lease
	last        uint64    // lease
	idleSince   time.Time // when there was nothing any more; zero: there is something
}

// phase is where a network is in its life.
type phase int

const (
	making   phase = iota // somebody makes it, others wait
	active                // it can be held
	removing              // somebody removes it, others wait
)

// record is one network.
type record struct {
	name   string
	phase  phase
	delay  time.Duration // config.Never or how long it stays unused
	leases int
	remove time.Time // when it is to be removed; zero: not
}

// lease is one connection's hold on a network.
type lease struct {
	id         uint64
	connection uint64
	network    string
}

// answer is what a ledger says to who wants a network.
type answer int

const (
	held   answer = iota // the connection has a lease already
	attach               // it has one now: attach it
	create               // there is no such network: make it, then tell, then ask again
	wait                 // ask again when the network's phase has changed
	full                 // the connection holds as many as it may
	gone                 // there is no such connection
)

func newLedger(limit int, now time.Time) *ledger {
	return &ledger{
		limit: limit, networks: make(map[string]*record), connections: make(map[uint64]map[string]*lease),
		leases: make(map[uint64]*lease), idleSince: now,
	}
}

// open adds a connection.
func (l *ledger) open(connection uint64) {
	l.connections[connection] = make(map[string]*lease)
	l.idleSince = time.Time{}
}

// close ends a connection and returns the leases that ended with it, in their order.
func (l *ledger) close(connection uint64, now time.Time) []*lease {
	ended := slices.SortedFunc(maps.Values(l.connections[connection]), func(a, b *lease) int { return int(a.id) - int(b.id) })
	for _, held := range ended {
		l.release(held, now)
	}
	delete(l.connections, connection)
	l.noteIdle(now)
	return ended
}

// acquire asks for a network on behalf of a connection. The lease is there with held and attach.
func (l *ledger) acquire(connection uint64, name string, now time.Time) (answer, *lease) {
	holds, ok := l.connections[connection]
	if !ok {
		return gone, nil
	}
	if have := holds[name]; have != nil {
		return held, have
	}
	if len(holds) >= l.limit {
		return full, nil
	}
	n := l.networks[name]
	switch {
	case n == nil:
		l.networks[name] = &record{name: name, phase: making}
		l.idleSince = time.Time{}
		return create, nil
	case n.phase != active:
		return wait, nil
	}
	l.last++
	made := &lease{id: l.last, connection: connection, network: name}
	holds[name], l.leases[made.id] = made, made
	n.leases++
	n.remove = time.Time{}
	return attach, made
}

// made tells that a network is there. Unless somebody acquires it, it goes after its delay.
func (l *ledger) made(name string, delay time.Duration, now time.Time) {
	n := l.networks[name]
	n.phase, n.delay = active, delay
	l.arm(n, now)
}

// removed tells that a network is gone, or could not be made.
func (l *ledger) removed(name string, now time.Time) {
	delete(l.networks, name)
	l.noteIdle(now)
}

// release ends a lease.
func (l *ledger) release(ended *lease, now time.Time) {
	if l.leases[ended.id] != ended {
		return
	}
	delete(l.leases, ended.id)
	delete(l.connections[ended.connection], ended.network)
	n := l.networks[ended.network]
	if n.leases--; n.leases == 0 {
		l.arm(n, now)
	}
}

func (l *ledger) arm(n *record, now time.Time) {
	if n.delay != config.Never {
		n.remove = now.Add(n.delay)
	}
}

// due returns the networks whose time is over, by name. Whoever asks removes them, and tells when that is done.
func (l *ledger) due(now time.Time) []string {
	var names []string
	for _, n := range l.networks {
		if n.phase == active && !n.remove.IsZero() && !n.remove.After(now) {
			n.phase = removing
			names = append(names, n.name)
		}
	}
	slices.Sort(names)
	return names
}

// next returns when something will be due; zero: nothing.
func (l *ledger) next() time.Time {
	var first time.Time
	for _, n := range l.networks {
		if n.phase == active && !n.remove.IsZero() && (first.IsZero() || n.remove.Before(first)) {
			first = n.remove
		}
	}
	return first
}

// noteIdle notes since when there is neither a network nor a connection.
func (l *ledger) noteIdle(now time.Time) {
	if len(l.networks) == 0 && len(l.connections) == 0 && l.idleSince.IsZero() {
		l.idleSince = now
	}
}
