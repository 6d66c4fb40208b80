// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"strconv"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Names of services that are one process' own are NAME~PID in the directory.
const ofProcess = '~'

func appendOfProcess(b []byte, pid int) []byte {
	return strconv.AppendInt(append(b, ofProcess), int64(pid), 10)
}

// isOfProcess reports whether a name is one process' own.
func isOfProcess(n string) bool {
	i := strings.LastIndexByte(n, ofProcess)
	return i >= 0 && i+1 < len(n) && strings.Trim(n[i+1:], "0123456789") == ""
}

// plainName says what is wrong with a name that a request has, or nothing.
func plainName(n string) string {
	if err := name.Check(n); err != nil {
		return err.Error()
	}
	if isOfProcess(n) {
		return `a name that ends with "~" and a number is one process' own: ask for it by the flag for that`
	}
	return ""
}

// ownName returns the directory's name of what a session checks in or registers, or refuses the request.
func (c *machCall) ownName() (string, bool) {
	n, fault := c.req.Service, plainName(c.req.Service)
	if fault == "" && c.req.Flags&mach.PerPID != 0 {
		if n = string(appendOfProcess([]byte(n), c.s.peer.PID)); len(n) > name.Max {
			fault = "the name is too long for one process' own"
		}
	}
	if fault != "" {
		c.refuse(mach.BadArguments, fault)
		return "", false
	}
	return n, true
}

// askPort applies an event that has a PortAnswer. The lock is held.
func (b *Broker) askPort(ev directory.Event) directory.PortAnswer {
	for b.directory.Unfinished() { // an owner that ended may still have the name
		b.applyLocked(directory.Continue{Now: b.now()})
	}
	b.portAnswer = directory.PortAnswer{Refusal: directory.Refusal{Reason: directory.Denied, Text: "the session has ended"}}
	b.applyLocked(ev)
	return b.portAnswer
}

// buryPort ends a port whose receive right is gone already, where the loop has not been told yet: who closes it and then asks for the name
// gets it. The lock is held.
func (b *Broker) buryPort(ns directory.ID, n string) {
	if r := b.index.find(ns, []byte(n)); r != nil && r.port != nil && !r.port.declared() && sys.HungUp(r.port.send.Int()) {
		r.port.rightDied(b)
	}
}

// keepPort drops what was prepared under a lease that the directory did not give. The lock is held.
func (b *Broker) keepPort(lease directory.ID) {
	if _, ok := b.directory.Entry(lease); !ok {
		b.drop(lease)
	}
}

// taken reports whether a namespace has a name. The lock is held.
func (b *Broker) taken(ns directory.ID, n string) bool { return b.index.find(ns, []byte(n)) != nil }

// decline refuses a request as the directory does.
func (c *machCall) decline(r directory.Refusal) {
	c.refuse(machCode(c.req.Routine.Op(), r.Reason), r.Text)
}

// noRoom refuses a request for want of descriptors or memory.
func (c *machCall) noRoom(err error) { c.refuse(mach.NoMemory, err.Error()) }

// makePortFor is makePort, unless descriptors are scarce. The lock is held.
func (b *Broker) makePortFor(lease directory.ID, ns directory.ID, n string, declared bool) (*sys.FD, directory.Refusal) {
	receive, err := b.makePort(lease, ns, n, declared)
	if err != nil {
		return nil, directory.Refusal{Reason: directory.LimitHit, Text: err.Error()}
	}
	if r := b.scarce(b.table.entries[lease].fd); r.Reason != directory.OK {
		b.drop(lease)
		receive.Close()
		return nil, r
	}
	return receive, directory.Refusal{}
}

// checkIn gives a session the receive right of a name. The right is sent under the lock: once the session has ended, it must not arrive.
func (c *machCall) checkIn() {
	n, ok := c.ownName()
	if !ok {
		return
	}
	s := c.session()
	if s == nil {
		return
	}
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	ev := directory.CheckIn{Session: s.id, Lease: b.table.id(), Name: n, Strict: c.req.Flags&mach.StrictCheckIn != 0, Since: time.Now().UnixMilli(), Now: b.now()}
	var receive *sys.FD
	b.buryPort(s.namespace, n)
	if !ev.Strict && !b.taken(s.namespace, n) {
		var r directory.Refusal
		if receive, r = b.makePortFor(ev.Lease, s.namespace, n, false); r.Reason != directory.OK {
			c.decline(r)
			return
		}
		defer receive.Close()
	}
	a := b.askPort(ev)
	b.keepPort(ev.Lease)
	if a.Refusal.Reason != directory.OK {
		c.decline(a.Refusal)
		return
	}
	p := b.ports[a.Lease]
	p.owner = ownerOf(s)
	reply := c.req.Granted()
	reply.UUID = p.uuid
	if b.config.Mach.ShortCheckIn && reply.Shape == mach.InstanceReply {
		reply.Shape = mach.PortReply
	}
	right := receive.Int()
	if p.receive != nil {
		right = p.receive.Int()
	}
	if err := c.answer(reply, right); err != nil && c.conn != nil {
		_ = sys.Shutdown(c.conn.fd) // or the name would be owned by somebody who cannot serve it
	}
}

// takeRight takes the socket behind a right out of the packet, or refuses the request.
func (c *machCall) takeRight(r mach.Right) *sys.FD {
	n := c.p.FDs[r.Fd-1]
	if _, err := sys.CheckSocket(n, sys.Seqpacket); err != nil {
		c.refuse(mach.InvalidRight, err.Error())
		return nil
	}
	c.p.FDs[r.Fd-1] = -1
	return sys.NewFD(n)
}

// register gives a name to a send right. A null right takes a created service back; one that is dead is gone again at once.
func (c *machCall) register() {
	n, ok := c.ownName()
	if !ok {
		return
	}
	var send *sys.FD
	dead := c.req.Right.Fd == mach.Dead
	if c.req.Right.Fd.Carried() {
		if send = c.takeRight(c.req.Right); send == nil {
			return
		}
		defer send.Close() // unless the table has it
		dead = sys.HungUp(send.Int())
	}
	s := c.session()
	if s == nil {
		return
	}
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buryPort(s.namespace, n)
	if c.req.Right.Fd == mach.Null {
		c.conclude(b.askPort(directory.UndeclarePort{Session: s.id, Name: n, Now: b.now()}))
		return
	}
	if !dead && b.leadsHere(send) {
		c.refuse(mach.InvalidRight, "a bootstrap port, or one's own connection, is no port of a service")
		return
	}
	if dead { // a pair of which one end is closed stands for it
		send.Close()
		receive, other, err := sys.PortPair()
		if err != nil {
			c.noRoom(err)
			return
		}
		receive.Close()
		send = other
	}
	if r := b.scarce(send); r.Reason != directory.OK {
		send.Close()
		c.decline(r)
		return
	}
	ev := directory.RegisterPort{Session: s.id, Lease: b.table.id(), Name: n, Since: time.Now().UnixMilli(), Now: b.now()}
	p := &port{lease: ev.Lease, name: n, namespace: s.namespace, uuid: newUUID(), owner: ownerOf(s)}
	if err := b.putPort(p, sys.NewFD(send.Take()), true); err != nil {
		c.noRoom(err)
		return
	}
	a := b.askPort(ev)
	b.keepPort(ev.Lease)
	if a.Refusal.Reason == directory.OK && dead {
		b.applyLocked(directory.PortDied{Lease: ev.Lease, Reason: "its port was dead already", Now: b.now()})
	}
	c.conclude(a)
}

// conclude answers a request without results as the directory does.
func (c *machCall) conclude(a directory.PortAnswer) {
	if a.Refusal.Reason != directory.OK {
		c.decline(a.Refusal)
		return
	}
	c.succeed()
}

// createService declares a name: the namespace's, until somebody checks it in. The reply has a send right.
func (c *machCall) createService() {
	n, ok := c.ownName()
	if !ok {
		return
	}
	s := c.session()
	if s == nil {
		return
	}
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.tooMany(b.created[s.process], "created services") {
		return
	}
	if b.declared >= b.maxFD/4 { // each takes two descriptors, and outlives whoever made it
		c.refuse(mach.NoMemory, "half of the broker's descriptors are those of created services")
		return
	}
	b.buryPort(s.namespace, n)
	ev := directory.CreatePort{Session: s.id, Lease: b.table.id(), Name: n, Since: time.Now().UnixMilli(), Now: b.now()}
	if !b.taken(s.namespace, n) {
		if _, r := b.makePortFor(ev.Lease, s.namespace, n, true); r.Reason != directory.OK {
			c.decline(r)
			return
		}
	}
	a := b.askPort(ev)
	b.keepPort(ev.Lease)
	if a.Refusal.Reason != directory.OK {
		c.decline(a.Refusal)
		return
	}
	p := b.ports[a.Lease]
	p.creator = s.process
	b.created[s.process]++
	p.given.Add(1)
	s.given.Store(true)
	_ = c.answer(c.req.Granted(), p.send.Int())
}
