// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// subset makes a namespace below the session's own, which lasts as long as the requestor port, and answers with a bootstrap port of it.
func (c *machCall) subset() {
	switch c.req.Right.Fd {
	case mach.Null:
		c.refuse(mach.NotPrivileged, "a subset needs a requestor port: it lasts as long as that")
		return
	case mach.Dead:
		c.refuse(mach.InvalidRight, "the requestor port is dead")
		return
	}
	requestor := c.takeRight(c.req.Right)
	if requestor == nil {
		return
	}
	defer requestor.Close() // unless the table has it
	if sys.HungUp(requestor.Int()) {
		c.refuse(mach.InvalidRight, "the requestor port is dead")
		return
	}
	s := c.session()
	if s == nil {
		return
	}
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	// One whose other end is here would never be seen to die.
	other := otherEnd(requestor)
	if b.isOwnEnd(other) {
		c.refuse(mach.InvalidRight, "a bootstrap port, or one's own connection, cannot be a requestor port")
		return
	}
	if b.requestorEnds[other] > 0 { // the two would keep each other alive, here
		c.refuse(mach.InvalidRight, "the other end of the pair is a requestor port: one of the two is no send right")
		return
	}
	if r := b.scarce(requestor); r.Reason != directory.OK {
		c.decline(r)
		return
	}
	if c.tooMany(b.ways[c.s.process], "bootstrap ports") || c.tooMany(b.requestors[c.s.process], "subsets") {
		return
	}
	id := b.table.id()
	a := b.askPort(directory.MakeSubset{Session: s.id, New: id, Now: b.now()})
	if a.Refusal.Reason != directory.OK {
		c.decline(a.Refusal)
		return
	}
	sub := &subset{namespace: id, maker: c.s.process, end: b.inodeOf(requestor.Int())}
	if err := b.watchRight(sys.NewFD(requestor.Take()), sub); err != nil {
		b.applyLocked(directory.EndNamespace{Namespace: id, Reason: "its requestor cannot be watched", Now: b.now()})
		c.noRoom(err)
		return
	}
	b.subsets[id] = sub
	b.requestors[sub.maker]++
	if sub.end != 0 {
		b.requestorEnds[sub.end]++
	}
	if c.grantWay(b.wayInto(id)) != nil {
		b.applyLocked(directory.EndNamespace{Namespace: id, Reason: "its bootstrap port cannot be given away", Now: b.now()})
	}
}

// subset is a namespace that lasts as long as its requestor port.
type subset struct {
	concern   // in the requestor port's death
	namespace directory.ID
	maker     directory.Process
	end       uint64 // the requestor's inode, as otherEnd has it
}

func (s *subset) rightDied(b *Broker) {
	b.applyLocked(directory.EndNamespace{Namespace: s.namespace, Reason: "its requestor port died", Now: b.now()})
	b.subsetOver(s.namespace) // if the directory did not say so already
}

// subsetOver forgets a subset that has ended, or is about to. The lock is held.
func (b *Broker) subsetOver(ns directory.ID) {
	if s := b.subsets[ns]; s != nil {
		delete(b.subsets, ns)
		uncount(b.requestors, s.maker)
		uncount(b.requestorEnds, s.end)
		b.unwatchRight(s)
	}
}

// sealed reports whether a session is inside a sealed namespace, from which no way leads out.
func (s *machSession) sealed() bool {
	return slices.ContainsFunc(s.chain, func(step directory.Step) bool { return step.Only != nil })
}

// parent answers with a bootstrap port of the enclosing namespace; that of the root is the root.
func (c *machCall) parent() { c.outward(c.s.chain[min(1, len(c.s.chain)-1):]) }

// root answers with a bootstrap port of the root namespace.
func (c *machCall) root() { c.outward(c.s.chain[len(c.s.chain)-1:]) }

func (c *machCall) outward(chain []directory.Step) {
	if c.s.sealed() {
		c.refuse(mach.NotPrivileged, "the namespace is sealed: no way leads out of it")
		return
	}
	c.leadTo(chain)
}

// leadTo answers with a bootstrap port of the first namespace of a chain. That of the session's own is what unprivileged asks for: no port
// has more rights than its namespace.
func (c *machCall) leadTo(chain []directory.Step) {
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.tooMany(b.ways[c.s.process], "bootstrap ports") {
		return
	}
	_ = c.grantWay(way{namespace: chain[0].Namespace, path: b.directory.NamespacePath(chain[0].Namespace), chain: chain})
}

// lookUpChildren would list the bootstrap ports below the root, which are for root; there are none to be listed.
func (c *machCall) lookUpChildren() {
	if c.s.peer.UID != 0 {
		c.refuse(mach.NotPrivileged, "children are listed for root only")
		return
	}
	c.refuse(mach.NoChildren, "no children are listed")
}
