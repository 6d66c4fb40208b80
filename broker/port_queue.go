// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// portReturns are receive rights whose owners have ended and whose processes may still hold them. What they wait for is found by looking
// at /proc, in a task beside the loop. The broker's lock guards what is here.
type portReturns struct {
	returns   []*returning
	returning bool          // the task runs
	look      chan struct{} // has it look at once
	leaving   *leaver
}

// returning is one receive right on its way back to the broker.
type returning struct {
	port    *port         // a declared port, or nil
	service directory.Key // its, if it has a definition
	stopped bool          // its owner was told to end
	notice  *notice       // a request to be told when a port is destroyed, or nil
	inode   uint64        // of the receive end
	from    *leaver
	until   int64 // the deadline: after it, who still holds the right loses it
	free    int   // looks in a row that found nobody
}

// leaver is a process that owned ports.
type leaver struct {
	session *machSession
	pid     int
	start   uint64 // as in sys.ProcessStat
	gone    bool   // seen to have exited, or to be about to
	group   int    // that it led, or 0
	backend directory.ID
}

const (
	returnDefault = 5 * time.Second
	returnFirst   = 2 * time.Millisecond // between two looks, doubling
	returnMost    = 50 * time.Millisecond
	returnLooks   = 2 // must find nobody: a descriptor that is passed on, or a process that forks, can be missed once
)

// awaitReturn carries out directory.AwaitReturn. The lock is held.
func (b *Broker) awaitReturn(lease directory.ID) {
	p := b.ports[lease]
	if p == nil || p.receive == nil {
		return
	}
	inode, err := sys.SocketInode(p.receive.Int())
	if err != nil {
		b.log.Error("cannot tell who has a port", "name", p.name, "err", err)
	}
	e, _ := b.directory.Entry(lease)
	r := &returning{port: p, service: e.Service, inode: inode, from: b.leaver(p.owner.session, p.owner.pgid)}
	if be := b.backends[r.from.backend]; be != nil {
		r.stopped = be.stopped
	}
	b.await(r)
}

// await has a receive right looked after until it is the broker's alone. The lock is held.
func (b *Broker) await(r *returning) {
	deadline := b.config.Mach.ReturnTimeout
	if deadline <= 0 {
		deadline = returnDefault
	}
	r.until = b.now() + int64(deadline)
	b.returns = append(b.returns, r)
	if !b.returning {
		b.returning = true
		b.tasks.Go(b.awaitReturns)
	}
	b.lookAtReturns()
}

// lookAtReturns has the task look at once: something has changed.
func (b *Broker) lookAtReturns() {
	select {
	case b.look <- struct{}{}:
	default: // it will
	}
}

// awaitPorts waits until all ports of a service are back from its last process, as they are at the deadline: the next one can check them
// in at once. It blocks.
func (b *Broker) awaitPorts(key directory.Key) {
	for on := true; on; {
		b.mu.Lock()
		on = b.ending == "" && slices.ContainsFunc(b.returns, func(r *returning) bool { return r.service == key })
		b.mu.Unlock()
		if on {
			time.Sleep(returnFirst / 2)
		}
	}
}

// leaver notes who owned ports, once for all of its ports. The lock is held.
func (b *Broker) leaver(s *machSession, group int) *leaver {
	if s == nil {
		return &leaver{gone: true}
	}
	if b.leaving != nil && b.leaving.session == s {
		return b.leaving
	}
	l := &leaver{session: s, pid: s.peer.PID}
	if group == l.pid {
		l.group = group
	}
	for _, be := range b.backends {
		if be.process != nil && be.process.PID == l.pid {
			l.backend = be.id
		}
	}
	stat, err := sys.StatProcess(l.pid)
	d := b.table.entries[s.pidfd]
	if l.gone = err != nil || d == nil || sys.Exited(d.fd.Int()); !l.gone {
		l.start = stat.Start // of that process: it had not exited after it was looked at
	}
	b.leaving = l
	return l
}

// look reports whether the process has exited, or is about to: its descriptors are closed before its pidfd says so.
func (l *leaver) look() bool {
	if !l.gone {
		st, err := sys.StatProcess(l.pid)
		l.gone = err != nil || st.Start != l.start || st.State == 'Z' || st.Exiting
	}
	return l.gone
}

// awaitReturns looks until no receive right is on its way back.
func (b *Broker) awaitReturns() {
	for wait := time.Duration(0); ; {
		b.mu.Lock()
		all := slices.Clone(b.returns)
		if len(all) == 0 || b.ending != "" {
			b.returning, b.leaving = false, nil
			b.mu.Unlock()
			return
		}
		busy := make(map[*leaver]bool)
		for _, r := range all {
			busy[r.from] = r.from.backend != 0 && b.backends[r.from.backend] != nil
		}
		b.mu.Unlock()

		var inodes []uint64
		var groups []int
		for l := range busy {
			if !l.look() {
				busy[l] = false // a process that lives need only give up the right
			} else if l.group != 0 {
				groups = append(groups, l.group)
			}
		}
		for _, r := range all {
			inodes = append(inodes, r.inode)
		}
		held, err := sys.SocketHolders(inodes, groups)
		if err != nil {
			b.log.Error("cannot tell who has a port", "err", err)
		}
		now, again := b.now(), false
		for _, r := range all {
			holders := held.Sockets[r.inode]
			if err != nil || len(holders) > 0 || busy[r.from] || r.from.gone && len(held.Groups[r.from.group]) > 0 {
				r.free = 0
			} else if r.free++; r.free < returnLooks {
				again = true
				continue
			}
			if r.free == 0 && now < r.until {
				continue
			}
			b.returned(r, r.free == 0 && (err != nil || len(holders) > 0), holders)
		}
		if again {
			continue
		}
		wait = min(max(2*wait, returnFirst), returnMost)
		select {
		case <-b.look:
			wait = 0
		case <-time.After(wait):
		}
	}
}

// returned goes on with a receive right that is the broker's alone, or, if it is lost, is still held by others.
func (b *Broker) returned(r *returning, lost bool, holders []int) {
	b.mu.Lock()
	i := slices.Index(b.returns, r)
	if i < 0 {
		b.mu.Unlock()
		return // it ended meanwhile
	}
	b.returns = slices.Delete(b.returns, i, i+1)
	switch {
	case r.notice != nil:
		b.destroyed(r.notice, lost)
	default:
		if lost {
			b.log.Warn("a port is made anew: processes go on holding its receive right after its owner ended", "name", r.port.name, "pids", holders)
		}
		if lost || b.hungUp(r.port) {
			b.resetPort(r.port)
		}
		b.applyLocked(directory.PortReturned{Lease: r.port.lease, Now: b.now()})
		b.wantedFor(r)
	}
	b.mu.Unlock()
	b.finishSlices()
}

// forgetReturn stops looking after a port that has ended. The lock is held.
func (b *Broker) forgetReturn(p *port) {
	b.returns = slices.DeleteFunc(b.returns, func(r *returning) bool { return r.port == p })
}

// hungUp reports whether somebody shut the pair of a declared port down, which any holder of a right can do, also for sending alone.
func (b *Broker) hungUp(p *port) bool { return sys.Ended(p.receive.Int()) }

// resetPort gives a declared port that nobody owns a new pair. Senders to the old one see it die, and who waits for a reply is told
// that there will be none. The lock is held.
func (b *Broker) resetPort(p *port) {
	b.disarm(p)
	b.throwAway(p)
	if err := b.renewPort(p); err != nil {
		b.log.Error("cannot make a port anew", "name", p.name, "err", err)
	}
}

// throwAway ends what lies in the queue of a port that nobody owns: whoever waits for a reply to it gets 71. The lock is held.
func (b *Broker) throwAway(p *port) {
	b.endQueue(p.receive.Int(), p.name)
}

// endQueue shuts a pair down, so that nothing more comes, and reads what had come.
func (b *Broker) endQueue(receive int, name string) {
	_ = sys.Shutdown(receive)
	// An empty message is no end-of-file if it has a control message.
	if err := sys.SetPassCred(receive, true); err != nil {
		b.log.Error("cannot empty a port", "name", name, "err", err)
	}
	p := b.packet()
	defer b.putPacket(p)
	for {
		n, err := p.Recv(receive)
		if err != nil || n == 0 && !p.HasControl {
			return
		}
		if n >= mach.HeaderSize && len(p.FDs) > 0 {
			if local := binary.LittleEndian.Uint32(p.Data[12:]); local != 0 {
				b.sendOnceDied(p.FDs[0], local, name)
			}
		}
		p.Message.Close()
	}
}

// sendOnceDied tells a reply right that there will be no reply. It stays the caller's.
func (b *Broker) sendOnceDied(right int, token uint32, name string) {
	if _, err := sys.CheckSocket(right, sys.Seqpacket); err != nil {
		return
	}
	b.notifyPort(right, mach.Notification{Event: mach.SendOnceDied, Port: token}, nil, name)
}

// renewHungUp makes a port anew whose pair was shut down, unless somebody owns it, who sees that: then it is done when it comes back. The
// lock is held.
func (b *Broker) renewHungUp(p *port) {
	b.disarm(p)
	e, ok := b.directory.Entry(p.lease)
	if !ok || e.State != directory.Inactive {
		return
	}
	b.log.Warn("a port is made anew: somebody shut it down", "name", p.name)
	b.resetPort(p)
	b.publish(e)
}
