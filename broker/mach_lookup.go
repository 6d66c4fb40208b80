// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// lookUp answers from the index, without the broker's lock.
func (c *machCall) lookUp() {
	var room [2 * name.Max]byte
	r := c.find(room[:0], c.req.Service)
	if r == nil {
		return
	}
	right := c.b().rightOf(r)
	if right == nil {
		c.refuse(mach.UnknownService, "the port has just died")
		return
	}
	c.give(r)
	_ = c.answer(c.req.Granted(), right.Int())
	right.release()
	if r.onLookUp {
		c.b().lookedUp(r.port.lease)
	}
}

// give counts a send right that is about to be given away.
func (c *machCall) give(r *record) {
	r.port.given.Add(1)
	if r.byLookUps {
		r.port.lookedUp.Store(c.b().now())
	}
	c.s.given.Store(true)
}

// rightOf returns the send right of a record's port with a reference, or nil: the port is gone.
func (b *Broker) rightOf(r *record) *sharedRight {
	if r.right.acquire() {
		return r.right
	}
	b.mu.Lock() // it was reset, and is about to be published again
	defer b.mu.Unlock()
	if p := b.ports[r.port.lease]; p != nil && p.send.acquire() {
		return p.send
	}
	return nil
}

// find returns the port that a request names, by its flags, or refuses the request. key is room for the name.
func (c *machCall) find(key []byte, service string) *record {
	req := &c.req
	key = append(key, service...)
	if req.Flags&mach.PerPID != 0 {
		pid := int(req.PID)
		if pid == 0 {
			pid = c.s.peer.PID
		}
		key = appendOfProcess(key, pid)
	}
	chain := c.s.chain
	if req.Flags&(mach.StrictLookup|mach.ForceLocal) != 0 {
		chain = chain[:min(1, len(chain))]
	}
	r := c.b().index.resolve(chain, key)
	switch {
	case r == nil || r.port == nil || r.ofProcess != (req.Flags&mach.PerPID != 0):
		if fault := plainName(service); fault != "" {
			c.refuse(mach.BadArguments, fault)
		} else {
			c.refuse(mach.UnknownService, missing(r, service))
		}
		return nil
	case req.Flags&mach.SpecificInstance != 0 && req.UUID != r.uuid:
		c.refuse(mach.UnknownService, "this instance of it is no more")
		return nil
	case req.Flags&mach.PrivilegedServer != 0 && r.uid != 0:
		c.refuse(mach.NotPrivileged, "it is not a process of root's that has the name")
		return nil
	}
	return r
}

// missing says why a look-up found no port.
func missing(r *record, service string) string {
	if r != nil && r.port == nil {
		return "the name is not a port's"
	}
	return directory.UnknownName(service).Text
}

// States of a port, as status and info tell them.
const (
	portInactive = 0
	portActive   = 1
	portOnDemand = 2 // inactive, and launched when it is wanted
)

func (c *machCall) status() {
	var room [2 * name.Max]byte
	if r := c.find(room[:0], c.req.Service); r != nil {
		reply := c.req.Granted()
		reply.Value = r.status
		_ = c.answer(reply)
	}
}

// lookUpArray looks up to 20 names up. Those that are unknown come back as null ports.
func (c *machCall) lookUpArray() {
	req := &c.req
	switch {
	case req.Count > mach.MaxLookUps:
		c.refuse(mach.BadCount, "at most 20 names can be looked up at once")
		return
	case uint64(req.Names.Length) != uint64(req.Count)*mach.NameSize || req.Names.Fd == mach.Dead || req.Count > 0 && !req.Names.Fd.Carried():
		c.refuse(mach.BadArguments, "the memory does not hold that many names")
		return
	}
	var names []string
	if req.Count > 0 {
		b, err := sys.ReadSealed(c.p.FDs[req.Names.Fd-1], int(req.Names.Length))
		if err == nil {
			names, err = mach.ParseNames(b, req.Count)
		}
		if err != nil {
			c.refuse(mach.BadArguments, err.Error())
			return
		}
	}
	for _, n := range names {
		if fault := plainName(n); fault != "" {
			c.refuse(mach.BadArguments, fault)
			return
		}
	}
	c.names = names
	req.Service = strings.Join(names, " ") // for the log
	c.answerArray(names)
}

func (c *machCall) answerArray(names []string) {
	b, reply := c.b(), c.req.Granted()
	var (
		at     []mach.Fd
		rights []*sharedRight
		found  []*record
		fds    = []int{-1} // of the memory
	)
	defer func() {
		for _, right := range rights {
			right.release()
		}
	}()
	reply.AllKnown = true
	for _, n := range names {
		r := b.index.resolve(c.s.chain, []byte(n))
		var right *sharedRight
		if r != nil && r.port != nil {
			right = b.rightOf(r)
		}
		if right == nil {
			at, reply.AllKnown = append(at, mach.Null), false
			continue
		}
		c.give(r)
		rights, found, fds = append(rights, right), append(found, r), append(fds, right.Int())
		at = append(at, mach.Fd(len(fds)))
	}
	reply.Count = uint32(len(names))
	if len(names) == 0 {
		_ = c.answer(reply)
		return
	}
	memory, err := sys.SealedMemory("ports", mach.AppendPorts(nil, at...))
	if err != nil {
		c.noRoom(err)
		return
	}
	defer memory.Close()
	fds[0] = memory.Int()
	reply.Ports = mach.Memory{Fd: 1, Length: uint32(len(names))}
	_ = c.answer(reply, fds...)
	for _, r := range found {
		if r.onLookUp {
			b.lookedUp(r.port.lease)
		}
	}
}
