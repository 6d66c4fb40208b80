// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"maps"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// stream is what one watch still has to be sent.
type stream struct {
	ids      []directory.ID // of what existed when it began
	synced   bool
	overflow bool // events were lost: the watch is over as soon as that can be said
}

// chunk is the size beyond which a CHANGE packet is sent.
const chunk = 8192

// watch begins a watch and sends what exists, as far as there is room.
func (s *clientSession) watch(h session.Header, m session.Watch) {
	b := s.b
	b.compareConnections() // so that the numbers of connections are true
	b.mu.Lock()
	if s.replaced {
		b.mu.Unlock()
		return
	}
	watches := b.directory.Watches(s.id)
	b.applyLocked(directory.AddWatch{Session: s.id, Request: h.ID, Pattern: m.Pattern, Kind: directory.Kind(m.Kind)})
	if b.directory.Watches(s.id) > watches {
		if s.streams == nil {
			s.streams = make(map[uint32]*stream)
		}
		s.streams[h.ID] = &stream{ids: b.directory.Matching(s.id, h.ID)}
	}
	for s.feed() {
		// Let others have the lock between two packets.
		b.mu.Unlock()
		b.mu.Lock()
	}
	b.mu.Unlock()
}

func (s *clientSession) unwatch(h session.Header, m session.Unwatch) {
	b := s.b
	if b.trace.endTrace(s, m.Watch) {
		s.reply(nil, h, session.Reply{}.Append)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.replaced {
		return
	}
	delete(s.streams, m.Watch)
	b.applyLocked(directory.RemoveWatch{Session: s.id, Request: h.ID, Watch: m.Watch})
}

// feed sends one packet of what the session's watches are owed, and reports whether to go on. Without room the loop goes on
// when there is. The lock is held.
func (s *clientSession) feed() bool {
	for _, id := range slices.Sorted(maps.Keys(s.streams)) {
		st := s.streams[id]
		switch {
		case st.overflow:
			if !s.event(session.OpOverflow, id, nil) {
				s.wantWritable()
				return false
			}
			delete(s.streams, id)
			return true
		case len(st.ids) > 0:
			payload, n := s.b.appeared(st.ids)
			if len(payload) > 0 && !s.event(session.OpChange, id, payload) {
				s.wantWritable()
				return false
			}
			st.ids = st.ids[n:]
			return true
		case !st.synced:
			if !s.event(session.OpSynced, id, nil) {
				s.wantWritable()
				return false
			}
			st.synced, st.ids = true, nil
			return true
		}
	}
	return false
}

// appeared encodes entries until a packet is full, and returns how many ids that took. Names that
// are gone meanwhile are left out.
func (b *Broker) appeared(ids []directory.ID) (payload []byte, n int) {
	for n < len(ids) && len(payload) < chunk {
		if e, ok := b.directory.Entry(ids[n]); ok {
			c := session.Change{Changed: []session.Changed{{Kind: session.ChangeAppeared, Entry: b.wireEntry(e)}}}
			before := len(payload)
			payload = c.Append(payload) // repeated fields of two messages add up
			if before > 0 && len(payload) > session.MaxPacket-session.HeaderSize {
				return payload[:before], n
			}
		}
		n++
	}
	return payload, n
}

// notify sends one change to one watch, or ends the watch with an overflow. The lock is held.
func (s *clientSession) notify(a directory.Notify) {
	st := s.streams[a.Watch]
	if st == nil || st.overflow {
		return
	}
	if a.Kind == directory.Gone {
		a.Entry.Callers = nil
	}
	c := session.Change{Changed: []session.Changed{{Kind: session.ChangeKind(a.Kind), Entry: s.b.wireEntry(a.Entry), Reason: a.Reason}}}
	if s.event(session.OpChange, a.Watch, c.Append(nil)) {
		return
	}
	st.overflow = true
	s.b.undone = append(s.b.undone, directory.DropWatch{Session: s.id, Watch: a.Watch})
	s.wantWritable()
}

// wantWritable has the loop tell when the session can be sent to again. The lock is held.
func (s *clientSession) wantWritable() {
	if s.awaiting {
		return
	}
	if err := s.b.poller.Add(s.fd, sys.Writable|sys.Once, uint64(s.id)); err != nil {
		s.b.log.Error("cannot wait for a session", "err", err)
		return
	}
	s.awaiting = true
}

// sessionWritable goes on with what had no room.
func (b *Broker) sessionWritable(s *clientSession) {
	b.mu.Lock()
	if d := b.table.entries[s.id]; d == nil || d.session != s {
		b.mu.Unlock()
		return
	}
	if s.awaiting {
		_ = b.poller.Remove(s.fd)
		s.awaiting = false
	}
	for s.feed() {
		b.mu.Unlock()
		b.mu.Lock()
	}
	b.mu.Unlock()
	b.apply(directory.Writable{Session: s.id, Now: b.now()})
}
