// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// apply applies an event and carries out its actions.
func (b *Broker) apply(ev directory.Event) {
	b.mu.Lock()
	b.applyLocked(ev)
	b.mu.Unlock()
	b.finishSlices()
}

// finishSlices goes on with what the directory does in slices. Each gets the lock anew.
func (b *Broker) finishSlices() {
	b.mu.Lock()
	for b.directory.Unfinished() {
		b.applyLocked(directory.Continue{Now: b.now()})
		b.mu.Unlock()
		b.mu.Lock()
	}
	b.mu.Unlock()
}

// applyLocked is apply for a holder of the lock. It leaves the rest of what is done in slices to the next apply.
func (b *Broker) applyLocked(ev directory.Event) {
	for next := []directory.Event{ev}; len(next) > 0; {
		for _, ev := range next {
			for _, a := range b.directory.Apply(ev) {
				b.act(a)
			}
		}
		// Hand-overs that failed go back last first, so that they keep their order.
		next = b.undone
		slices.Reverse(next)
		b.undone = nil
	}
	if at, ok := b.directory.Deadline(); ok && at < b.wakeAt {
		b.wakeAt = at
		b.poller.Wake()
	}
}

// act carries out one action.
func (b *Broker) act(a directory.Action) {
	switch a := a.(type) {
	case directory.HandOver:
		b.handOver(a)
	case directory.Forget:
		if d := b.table.entries[a.Connection]; d != nil {
			b.closeCaller(d.caller)
		}
	case directory.Refuse:
		if d := b.table.entries[a.Connection]; d != nil {
			if d.caller.call != nil {
				b.refuseHello(d.caller, a.Refusal)
			} else {
				b.refuse(d.caller, a.Refusal, a.Untaken)
			}
			b.closeCaller(d.caller)
		}
	case directory.Redirect:
		if d := b.table.entries[a.Connection]; d != nil {
			if d.caller.call != nil {
				b.negotiate(d.caller, a.Path)
			} else {
				b.verdict(d.caller, dial.Verdict{Path: b.absolute(a.Path)})
			}
			b.closeCaller(d.caller)
		}
	case directory.Answer:
		if s := b.session(a.Session); s != nil {
			s.answer(a)
		}
	case directory.Welcome:
		b.welcome(a)
	case directory.Publish:
		b.publish(a.Entry)
	case directory.Unpublish:
		b.index.remove(a.Namespace, a.Name)
		b.busyAt = b.now()
		b.nameFreed(a.Namespace, a.Name)
	case directory.Notify:
		if s := b.session(a.Session); s != nil {
			s.notify(a)
		}
	case directory.EndLease:
		if p := b.ports[a.Lease]; p != nil {
			b.portGone(p)
		}
		b.drop(a.Lease)
		b.undone = append(b.undone, b.undeclare(a.Lease)...)
		b.busyAt = b.now()
		if s := b.session(a.Session); s != nil && a.Tell {
			s.event(session.OpEnded, 0, session.Ended{Lease: uint64(a.Lease), Reason: a.Reason}.Append(nil))
		}
	case directory.Launch:
		b.launch(a)
	case directory.Proceed:
		b.proceed(a.Backend)
	case directory.Stop:
		b.stopBackend(a)
	case directory.Retire:
		b.retire(a)
	case directory.Count:
		b.count(a.Backend)
	case directory.Flush:
		b.flush(a.Key)
		b.startFailed(a.Key)
	case directory.Tell:
		b.tell(a)
	case directory.CloseSession:
		if s := b.session(a.Session); s != nil {
			b.log.Info("session closed", "pid", s.peer.PID, "uid", s.peer.UID, "code", uint32(code(a.Refusal.Reason)), "reason", a.Refusal.Text)
			b.bye(s, a.Refusal)
		}
		if d := b.table.entries[a.Session]; d != nil && d.kind == controlConnKind {
			_ = sys.Shutdown(d.control.fd) // there is no message for it
		}
	case directory.PortAnswer:
		b.portAnswer = a
	case directory.AwaitReturn:
		b.awaitReturn(a.Lease)
	case directory.EndSubset:
		b.subsetOver(a.Namespace)
		b.busyAt = b.now()
	}
}

// publish makes a name findable without the lock.
func (b *Broker) publish(e directory.Entry) {
	r := &record{namespace: e.Namespace, name: e.Name, kind: e.Kind, version: e.Version, reply: session.LookUpReply{Entry: b.wireEntry(e)}.Append(nil)}
	if e.Kind == directory.Port {
		b.describePort(r, e)
	}
	b.index.put(r)
	if p := b.ports[e.Lease]; p != nil {
		b.arm(p)
	}
}

// session returns the connected session of an id, or nil.
func (b *Broker) session(id directory.ID) *clientSession {
	if d := b.table.entries[id]; d != nil {
		return d.session
	}
	return nil
}

var preamble = []byte("OK\n")

// handOver passes a caller's connection to the owner of the name. Our descriptor stays open until the owner says
// that it has it.
func (b *Broker) handOver(a directory.HandOver) {
	d, s := b.table.entries[a.Connection], b.session(a.Session)
	if d == nil {
		return
	}
	err := error(syscall.EPIPE)
	if s != nil && (s.awaiting || slices.Contains(b.retry, s.id)) {
		err = syscall.EAGAIN // one of its hand-overs found no room, so this one must not overtake it
	} else if s != nil {
		var room [64]byte
		packet := session.Header{Kind: session.KindEvent, Op: session.OpHandOver, Descriptors: 1}.Append(room[:0])
		packet = session.HandOver{Connection: uint64(a.Connection), Lease: uint64(a.Lease), Preamble: preamble}.Append(packet)
		_, err = sys.Send(s.fd, packet, d.fd.Int())
	}
	if err == nil {
		b.unpoll(d.caller)
		return
	}
	b.undone = append(b.undone, directory.NotDelivered{Connection: a.Connection})
	switch {
	case s == nil: // its end is on the way, and refuses them
	case isAgain(err) && !slices.Contains(b.retry, s.id):
		s.wantWritable()
	case !isAgain(err) && err != syscall.ETOOMANYREFS && !sys.IsTemporary(err):
		_ = sys.Shutdown(s.fd) // it can never be sent to again: its end refuses them
	case !slices.Contains(b.retry, s.id):
		// ETOOMANYREFS: this user has too many descriptors on the way, perhaps not by us. That passes without a sign.
		b.log.Warn("cannot hand over a connection yet", "pid", s.peer.PID, "err", err)
		b.retry = append(b.retry, s.id)
		b.retryAt = b.now() + int64(retryAfter)
		b.wakeAt = min(b.wakeAt, b.retryAt)
		b.poller.Wake()
	}
}

const retryAfter = 20 * time.Millisecond

// retryHandOvers tries again what failed for want of descriptors.
func (b *Broker) retryHandOvers(now int64) {
	b.mu.Lock()
	var due []directory.ID
	if len(b.retry) > 0 && b.retryAt <= now {
		due, b.retry = b.retry, nil
	}
	b.mu.Unlock()
	for _, id := range due {
		b.apply(directory.Writable{Session: id, Now: now})
	}
}

// wireEntry is an entry as the session protocol shows it.
func (b *Broker) wireEntry(e directory.Entry) session.Entry {
	w := session.Entry{
		Lease: uint64(e.Lease), Name: e.Name, Namespace: b.directory.NamespacePath(e.Namespace), Kind: session.EntryKind(e.Kind),
		State: session.State(e.State), PID: uint32(e.Owner.PID), UID: uint32(e.Owner.UID), Exe: e.Owner.Exe, Version: e.Version,
		Scope: e.Scope, Since: uint64(e.Since), Connections: uint32(len(e.Callers)),
	}
	if e.Path != "" {
		w.Path = b.absolute(e.Path)
	}
	if be := b.backends[e.Backend]; be != nil {
		w.Instance, w.Command = be.instance, be.definition.Summary
	}
	for _, c := range e.Callers[:min(len(e.Callers), maxCallersShown)] {
		w.Callers = append(w.Callers, session.Caller{PID: uint32(c.PID), UID: uint32(c.UID)})
	}
	return w
}

// maxCallersShown keeps an entry well below the size of a packet.
const maxCallersShown = 256
