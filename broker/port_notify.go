// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// notice is a request to be told once what becomes of a port (711). It ends with the session that made it.
type notice struct {
	concern // of DeadName: in the right's death
	session *machSession
	event   mach.Event
	token   uint32       // of the request
	group   int          // of PortDestroyed: the process group of who made it
	to      directory.ID // in the table: whom to tell
	right   directory.ID // of PortDestroyed: in the table, the receive right that is kept
	port    *port        // of NoSenders
}

type notices map[*notice]struct{}

// portNotices are the requests that were not told yet. The broker's lock guards it.
type portNotices struct {
	notices   map[*machSession]notices
	unsent    int   // of NoSenders
	sendersAt int64 // when it is looked next who holds send rights; never: nobody wants to know
	looking   bool  // a task does
}

const (
	noticesPerSession = 1024
	sendersEvery      = time.Second
)

// notifyRequest answers 711. Called with the session's read lock, not the broker's.
func (s *machSession) notifyRequest(c *machCall) {
	req, b := &c.req, s.b
	if !req.To.Fd.Carried() || !req.Right.Fd.Carried() && (req.Right.Fd != mach.Dead || req.Event != mach.DeadName) {
		c.refuse(mach.InvalidRight, "a right is missing")
		return
	}
	to := c.takeRight(req.To)
	if to == nil {
		return
	}
	defer to.Close() // unless the table has it
	var right *sys.FD
	if req.Right.Fd.Carried() {
		if right = c.takeRight(req.Right); right == nil {
			return
		}
		defer right.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r := b.scarce(to); {
	case s.ended:
		c.refuse(mach.NotPrivileged, "the session has ended")
		return
	case r.Reason != directory.OK:
		c.refuse(mach.NoMemory, r.Text)
		return
	case len(b.notices[s]) >= noticesPerSession:
		c.refuse(mach.NoMemory, "a session may have 1,024 notifications to come")
		return
	}
	n := &notice{session: s, event: req.Event, token: req.Token}
	switch req.Event {
	case mach.NoSenders:
		if n.port = b.owned(s, right); n.port == nil {
			c.refuse(mach.NotPrivileged, "the right is not one to a port that this session owns")
			return
		}
	case mach.PortDestroyed:
		n.group = ownerOf(s).pgid
	case mach.DeadName:
		if right == nil || sys.HungUp(right.Int()) {
			c.succeed()
			b.tell711(n, to.Int(), mach.Notification{Event: mach.DeadName, Name: n.token})
			return
		}
	}
	if err := b.keepNotice(n, to, right); err != nil {
		c.refuse(mach.NoMemory, err.Error())
		return
	}
	c.succeed()
}

// owned returns the port that a send right leads to, if the session is its owner. The lock is held.
func (b *Broker) owned(s *machSession, right *sys.FD) *port {
	cookie, err := sys.Cookie(right.Int())
	if err != nil {
		return nil
	}
	for _, p := range b.ports {
		if p.owner.session != s || p.cookie != cookie {
			continue
		}
		if e, ok := b.directory.Entry(p.lease); ok && (e.State == directory.Active || e.State == directory.Registered) {
			return p
		}
	}
	return nil
}

// keepNotice puts a request and its descriptors where they belong. The lock is held.
func (b *Broker) keepNotice(n *notice, to, right *sys.FD) error {
	switch n.event {
	case mach.DeadName:
		if err := b.watchRight(sys.NewFD(right.Take()), n); err != nil {
			return err
		}
	case mach.PortDestroyed:
		n.right = b.table.id()
		b.table.put(&descriptor{id: n.right, kind: notifyWatch, fd: sys.NewFD(right.Take()), notice: n})
	}
	n.to = b.table.id()
	b.table.put(&descriptor{id: n.to, kind: notifyWatch, fd: sys.NewFD(to.Take()), notice: n})
	if b.notices == nil {
		b.notices = make(map[*machSession]notices)
	}
	if b.notices[n.session] == nil {
		b.notices[n.session] = make(notices)
	}
	b.notices[n.session][n] = struct{}{}
	if n.event == mach.NoSenders {
		if b.unsent++; b.unsent == 1 {
			b.lookAtSenders(b.now())
		}
	}
	return nil
}

// dropNotice forgets a request and closes its descriptors. The lock is held.
func (b *Broker) dropNotice(n *notice) {
	b.unlinkNotice(n)
	b.unwatchRight(n)
	b.drop(n.right)
	b.drop(n.to)
}

// unlinkNotice takes a request from its session. The lock is held.
func (b *Broker) unlinkNotice(n *notice) {
	all := b.notices[n.session]
	if _, ok := all[n]; !ok {
		return
	}
	if delete(all, n); len(all) == 0 {
		delete(b.notices, n.session)
	}
	if n.event == mach.NoSenders {
		if b.unsent--; b.unsent == 0 {
			b.sendersAt = never
		}
	}
}

// rightDied tells who asked that a send right has become a dead name.
func (n *notice) rightDied(b *Broker) {
	b.tell711(n, b.table.entries[n.to].fd.Int(), mach.Notification{Event: mach.DeadName, Name: n.token})
	b.dropNotice(n)
}

// destroyed tells whose request was left by an ended session that the receive right has come back, with it. If it was lost to
// processes that go on holding it, it is dead. The lock is held.
func (b *Broker) destroyed(n *notice, lost bool) {
	right, to := b.table.entries[n.right], b.table.entries[n.to]
	if right != nil && to != nil {
		if lost {
			b.endQueue(right.fd.Int(), "")
		}
		told := b.tell711(n, to.fd.Int(), mach.Notification{Event: mach.PortDestroyed, Right: mach.Right{Fd: 1, Disposition: mach.MoveReceive}}, right.fd.Int())
		if !told {
			b.endQueue(right.fd.Int(), "") // nobody has it any more
		}
	}
	b.drop(n.right)
	b.drop(n.to)
}

// sessionOver ends the requests of a session, but for those to be told by its end. The lock is held.
func (b *Broker) sessionOver(s *machSession) {
	for n := range b.notices[s] {
		if n.event != mach.PortDestroyed {
			b.dropNotice(n)
			continue
		}
		b.unlinkNotice(n)
		d := b.table.entries[n.right]
		inode, err := sys.SocketInode(d.fd.Int())
		if err != nil {
			b.log.Error("cannot tell who has a port", "err", err)
		}
		b.await(&returning{notice: n, inode: inode, from: b.leaver(s, n.group)})
	}
	if b.unsent > 0 && s.given.Load() {
		b.lookAtSenders(b.now())
	}
}

// portGone throws away what is queued in a port that has ended and that nobody owns. Its descriptors are still in the table. The lock is
// held.
func (b *Broker) portGone(p *port) {
	b.forgetReturn(p)
	for n := range b.notices[p.owner.session] {
		if n.port == p {
			b.dropNotice(n)
		}
	}
	if p.receive != nil && (p.owner.session == nil || p.owner.session.ended) {
		b.disarm(p)
		b.throwAway(p)
	}
}

// tell711 sends what a request asked for; false if nobody can have got it.
func (b *Broker) tell711(n *notice, to int, m mach.Notification, fds ...int) bool {
	m.Port = n.token
	name := ""
	if n.port != nil {
		name = n.port.name
	}
	return b.notifyPort(to, m, n.session, name, fds...)
}

// notifyPort sends a notification to the send end of a port; false if nobody can have got it. It is for the session, if that is known, and about a name.
func (b *Broker) notifyPort(to int, m mach.Notification, s *machSession, name string, fds ...int) bool {
	packet, err := m.Append(nil)
	if err == nil {
		_, err = sys.Send(to, packet, fds...)
	}
	if err != nil && !isHangUp(err) {
		b.log.Warn("cannot send a notification", "event", m.Event.String(), "err", err)
	}
	if b.trace.on() {
		t := traced{protocol: "mach", id: int32(m.Event), routine: m.Event.String(), namespace: "/", outcome: "sent"}
		if name != "" {
			t.names = []string{name}
		}
		if s != nil {
			t.peer, t.program, t.namespace = s.peer, s.program, s.path
		}
		if err != nil {
			t.code, t.outcome = int32(mach.Failure), err.Error()
		}
		b.trace.emit(t)
	}
	return err == nil
}
