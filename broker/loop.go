// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// loop waits for everything but the sessions' packets, until the broker has ended.
func (b *Broker) loop() error {
	var ready []sys.Ready
	for {
		until, stop := b.sleep()
		if stop {
			return nil
		}
		var err error
		if ready, err = b.poller.Wait(until, ready[:0]); err != nil {
			return err
		}
		b.mu.Lock()
		b.wakeAt = 0 // awake: sleep looks at the deadlines, so nobody need wake us
		b.mu.Unlock()
		for _, r := range ready {
			b.handle(r)
		}
		b.tick()
	}
}

// sleep decides until when the loop may wait (zero: for ever), and whether it ends.
func (b *Broker) sleep() (until time.Time, stop bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, next := b.now(), b.trimAt
	if at, ok := b.directory.Deadline(); ok {
		next = at
	}
	if c := b.slowest(); c != nil {
		next = min(next, c.deadline)
	}
	if len(b.held) > 0 {
		next = min(next, now+int64(graceStep))
	}
	if b.paused != 0 {
		next = min(next, b.paused)
	}
	if len(b.probing) > 0 {
		next = min(next, b.probeAt)
	}
	if len(b.backends) > 0 {
		next = min(next, b.rotateAt)
	}
	for _, be := range b.passing {
		next = min(next, be.handoffs.due)
	}
	next = min(next, b.rescanAt, b.portsAt)
	if !b.looking {
		next = min(next, b.sendersAt)
	}
	if len(b.retry) > 0 {
		next = min(next, b.retryAt)
	}
	if b.config.IdleExit > 0 && b.ending == "" {
		next = min(next, b.busyAt+int64(b.config.IdleExit))
	}
	if b.ending != "" {
		next = now // tick goes on with the end
		if b.directory.Callers() > 0 || b.directory.Backends() > 0 || len(b.reading)+len(b.held)+b.besides > 0 {
			next = now + int64(10*time.Millisecond)
		}
	}
	b.wakeAt = next
	if b.stop {
		return until, true
	}
	if next == never {
		return until, false
	}
	return b.started.Add(time.Duration(next - b.epoch)), false
}

// handle dispatches one readiness by what the descriptor is for.
func (b *Broker) handle(r sys.Ready) {
	b.mu.Lock()
	d := b.table.entries[directory.ID(r.Token)]
	b.mu.Unlock()
	if d == nil {
		return // dropped by an earlier event of the same round
	}
	switch d.kind {
	case envelopeListener:
		b.acceptFrame(d.fd.Int())
	case brokerListener:
		b.acceptCaller(d.fd.Int()) // one: if there are more, the queue is still readable, and others have their turn
	case sessionListener:
		b.acceptSession(d.fd.Int())
	case folderWatch:
		sys.DrainWatch(d.fd.Int())
		b.checkFolder()
	case callerSocket:
		if b.reading[d.id] != nil && d.caller.call != nil {
			b.readFrame(d.caller)
		} else if b.reading[d.id] != nil {
			b.readLine(d.caller)
		} else if r.Events&sys.HangUp != 0 {
			b.apply(directory.HangUp{Connection: d.id})
		}
	case processWatch:
		b.processExited(d)
	case doorSocket:
		b.readDoor(d, r.Events&sys.HangUp != 0)
	case sessionConn:
		b.sessionWritable(d.session)
	case backendControl:
		b.readControl(d.backend)
	case backendExit:
		b.backendExited(d.backend)
	case activationSocket:
		b.knock(d.service)
	case notifySocket:
		b.readNotify(d)
	case definitionWatch:
		b.definitionsChanged()
	case handoffSocket:
		b.readAck(d.backend)
	case bootstrapListener:
		b.acceptControl(d.fd.Int())
	case controlWatch:
		b.controlExited(d)
	case portReceive:
		b.portReadable(d.port)
	case spawnedWatch:
		b.spawnedExited(d)
	case watchedRight:
		b.rightDied(d.watch)
	case bootstrapPortKind:
		b.readDoor(d, r.Events&sys.HangUp != 0)
	case bootstrapUserWatch:
		b.bootstrapUserExited(d)
	}
}

// tick does what is due by time.
func (b *Broker) tick() {
	now := b.now()
	b.probe(now)
	b.rotateLogs(now)
	b.rescan(now)
	b.endClosedWays()
	b.retryPorts(now)
	b.lookForSenders(now)
	if at, ok := b.deadline(); ok && at <= now {
		b.tellLate(now)
		// What was acknowledged in time, and is still queued, counts.
		for _, s := range b.overdue(now) {
			b.drain(s)
		}
		b.apply(directory.Tick{Now: now})
	}
	for c := b.slowest(); c != nil && c.deadline <= now; c = b.slowest() {
		if c.call != nil {
			b.forgetCaller(c) // without a word, as the original does
			continue
		}
		b.refuseCaller(c, directory.Refusal{Reason: directory.Malformed, Text: "no complete request came within 10 s: send DIAL name and a newline"})
	}
	b.lateHandoffs(now)
	b.releaseHeld(now)
	if b.paused != 0 && b.paused <= now {
		b.resumeAccepting()
	}
	b.retryHandOvers(now)
	b.trim(now)
	b.mu.Lock()
	if b.config.IdleExit > 0 && b.ending == "" {
		if b.directory.Leases() > 0 {
			b.busyAt = now
		} else if now >= b.busyAt+int64(b.config.IdleExit) {
			b.ending = "the broker ends, because nobody has held a lease for " + b.config.IdleExit.String()
		}
	}
	ending := b.ending
	b.mu.Unlock()
	if ending != "" {
		b.finish(ending)
	}
}

func (b *Broker) deadline() (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.directory.Deadline()
}

func (b *Broker) overdue(now int64) (late []*clientSession) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.directory.Overdue(now, func(id directory.ID) {
		if d := b.table.entries[id]; d != nil {
			late = append(late, d.session)
		}
	})
	return late
}

// finish goes one step towards the end: no newcomers, then nobody who waits, then BYE.
func (b *Broker) finish(reason string) {
	b.mu.Lock()
	var listeners []*descriptor
	for _, d := range b.table.entries {
		if d.kind.accepts() {
			listeners = append(listeners, d)
		}
	}
	if len(listeners) > 0 {
		b.drainUntil = b.now() + int64(drainTime)
	}
	b.mu.Unlock()
	if len(listeners) > 0 {
		b.log.Info("ending", "reason", reason)
		b.apply(directory.Close{Reason: reason, Keep: b.keep, Now: b.now()})
		// Unlinked first, under the folder's lock: who comes later finds no broker and starts one, which waits for the lock;
		// who has connected is in the queue and is served.
		if b.config.Listeners == nil {
			b.keepFormer()
		}
		slices.Reverse(b.bound) // broker.sock first
		b.folder.unlink(b.bound...)
		for _, d := range listeners {
			accept := b.acceptCaller
			switch d.kind {
			case sessionListener:
				accept = b.acceptSession
			case bootstrapListener:
				accept = b.acceptControl
			case envelopeListener:
				accept = b.acceptFrame
				b.unlinkAddress(d.path)
			}
			for accept(d.fd.Int()) {
			}
			b.mu.Lock()
			b.drop(d.id)
			b.mu.Unlock()
		}
	}
	// Who has connected and says nothing is not waited for; half a request is, for a moment.
	for _, c := range slices.Collect(maps.Values(b.reading)) {
		if c.silent() || b.now() >= b.drainUntil-int64(drainTime)+int64(halfTime) {
			b.forgetCaller(c)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if (b.directory.Callers() > 0 || len(b.reading)+len(b.held)+b.besides > 0) && b.now() < b.drainUntil {
		return
	}
	if b.directory.Backends() > 0 && !b.keep || b.starting() {
		return // each is killed when its time to stop is over
	}
	for _, id := range slices.Sorted(maps.Keys(b.table.entries)) {
		if d := b.table.entries[id]; d != nil && d.kind == sessionConn {
			b.bye(d.session, directory.Refusal{Reason: directory.OwnerGone, Text: reason})
		} else if d != nil && d.kind == controlConnKind {
			_ = sys.Shutdown(d.control.fd)
		}
	}
	b.stop = true
}

// checkFolder ends a broker that nobody can find any more: its folder or a socket in it was removed or replaced.
// Its sessions are told BYE and go to the broker that takes its place.
func (b *Broker) checkFolder() {
	b.mu.Lock()
	ending := b.ending != ""
	b.mu.Unlock()
	if ending { // the sockets are removed by us
		return
	}
	gone := !b.folder.current()
	for _, name := range b.bound {
		if !exists(filepath.Join(b.folder.path, name)) {
			gone = true
		}
	}
	if gone {
		b.log.Warn("the runtime folder was removed or replaced", "folder", b.folder.path)
		b.end("the broker's folder was removed")
	}
}

func exists(path string) bool {
	_, err := sys.LstatFolder(path)
	return err == nil
}

// accept takes one connection, or says that there is none to take now.
func (b *Broker) accept(listener int) (*sys.FD, bool) {
	n, err := sys.Accept(listener)
	if err == nil {
		return sys.NewFD(n), true
	}
	if sys.IsTemporary(err) {
		b.pressure.Exhausted()
		// The queue stays readable: leave it alone for a moment instead of spinning.
		b.pauseAccepting()
		b.log.Warn("cannot accept: no descriptors or memory left", "err", err)
	} else if err != syscall.EAGAIN {
		b.log.Error("cannot accept", "err", err)
	}
	return nil, false
}

func (b *Broker) pauseAccepting() {
	b.setAccepting(0)
	b.paused = b.now() + int64(50*time.Millisecond)
}

func (b *Broker) resumeAccepting() {
	b.setAccepting(sys.Readable)
	b.paused = 0
}

func (b *Broker) setAccepting(events uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, d := range b.table.entries {
		if d.kind.accepts() {
			if err := b.poller.Modify(d.fd.Int(), events, uint64(id)); err != nil {
				b.log.Error("cannot change what the loop waits for", "err", err)
			}
		}
	}
}
