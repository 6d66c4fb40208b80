// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// caller is a connection to broker.sock: one request, one verdict. Until it is handed over or refused its descriptor is in
// the table.
type caller struct {
	id        directory.ID
	fd        *sys.FD
	namespace directory.ID
	peer      sys.Cred
	line      []byte        // of an incomplete request, what came so far
	deadline  int64         // for the rest of it
	polled    bool          // the loop watches it
	call      *envelopeCall // of the front of the running-process broker; nil: it writes a line
}

// acceptCaller takes one connection from broker.sock; false if there is none.
func (b *Broker) acceptCaller(listener int) bool {
	fd, ok := b.accept(listener)
	if ok {
		b.newCaller(fd, directory.Root)
	}
	return ok
}

// newCaller begins with a connection that was accepted, or came through a door.
func (b *Broker) newCaller(fd *sys.FD, ns directory.ID) {
	c := &caller{id: b.table.id(), fd: fd, namespace: ns}
	var err error
	if c.peer, err = sys.PeerCred(fd.Int()); err != nil {
		fd.Close()
		return
	}
	if r := b.admit(c.peer); r.Reason != directory.OK {
		b.refuseCaller(c, r)
		return
	}
	if r := b.scarce(fd); r.Reason != directory.OK {
		b.refuseCaller(c, r)
		return
	}
	b.readLine(c)
}

// readLine reads a request, exactly to its newline: what is behind it belongs to the service.
func (b *Broker) readLine(c *caller) {
	var room [dial.MaxRequest]byte
	n, err := sys.Peek(c.fd.Int(), room[:dial.MaxRequest-len(c.line)])
	if err != nil {
		if isAgain(err) {
			b.waitForLine(c)
			return
		}
		b.forgetCaller(c)
		return
	}
	if n == 0 {
		b.forgetCaller(c)
		return
	}
	line := append(c.line, room[:n]...)
	end, whole := dial.Complete(line)
	switch {
	case line[0] == envelope.Version:
		c.call = &envelopeCall{began: b.now()}
		b.readFrame(c)
		return
	case !dial.Begins(line):
		b.refuseCaller(c, directory.Refusal{Reason: directory.Malformed, Text: "a request begins with DIAL: send DIAL name and a newline"})
		return
	case !whole && len(line) >= dial.MaxRequest:
		b.refuseCaller(c, directory.Refusal{Reason: directory.Malformed, Text: fmt.Sprintf("the request is longer than %d bytes", dial.MaxRequest)})
		return
	case !whole:
		end = len(line)
	}
	// What is consumed is what was peeked, or a level-triggered loop would spin on the rest of a half line.
	if !b.consume(c, end-len(c.line)) {
		return
	}
	if !whole {
		c.line = line
		b.waitForLine(c)
		return
	}
	b.call(c, line[:end])
}

// consume takes n bytes that were peeked. Descriptors that come with them are refused: they are meant for nobody.
func (b *Broker) consume(c *caller, n int) bool {
	p := b.packet()
	defer b.putPacket(p)
	for n > 0 {
		got, err := p.RecvN(c.fd.Int(), n)
		if err != nil || got == 0 {
			b.forgetCaller(c)
			return false
		}
		if len(p.FDs) > 0 || p.ControlTruncated {
			p.Close()
			b.refuseCaller(c, directory.Refusal{Reason: directory.Malformed, Text: "descriptors came with the request: send them to the service, after its OK"})
			return false
		}
		n -= got
	}
	return true
}

// waitForLine has the loop wait for the rest of a request.
func (b *Broker) waitForLine(c *caller) {
	if c.polled {
		return
	}
	b.mu.Lock()
	err := b.poll(c, sys.Readable)
	if err == nil {
		b.table.put(&descriptor{id: c.id, kind: callerSocket, fd: c.fd, caller: c})
	}
	b.mu.Unlock()
	if err != nil {
		b.log.Error("cannot watch a caller", "err", err)
		b.forgetCaller(c)
		return
	}
	b.reading[c.id] = c
	if c.call == nil {
		c.deadline = b.now() + int64(requestDeadline)
		b.slow = append(b.slow, c)
	} else {
		c.deadline = c.call.began + int64(b.frameDeadline)
		b.slowFrames = append(b.slowFrames, c)
	}
}

// slowest returns the caller whose request is due first, or nil.
func (b *Broker) slowest() *caller {
	line, frame := b.first(&b.slow), b.first(&b.slowFrames)
	if line == nil || frame != nil && frame.deadline < line.deadline {
		return frame
	}
	return line
}

func (b *Broker) first(slow *[]*caller) *caller {
	for len(*slow) > 0 {
		if c := (*slow)[0]; b.reading[c.id] != nil {
			return c
		}
		*slow = (*slow)[1:]
	}
	*slow = nil
	return nil
}

// poll puts a caller into the loop, or changes what it is watched for. The lock is held: nobody else may close or pass on
// the descriptor meanwhile.
func (b *Broker) poll(c *caller, events uint32) error {
	if c.polled {
		return b.poller.Modify(c.fd.Int(), events, uint64(c.id))
	}
	err := b.poller.Add(c.fd.Int(), events, uint64(c.id))
	c.polled = err == nil
	return err
}

// unpoll takes a caller out of the loop. It comes before a close and before a hand-over: the
// registration is the open file's, and others will hold it.
func (b *Broker) unpoll(c *caller) {
	if c.polled {
		_ = b.poller.Remove(c.fd.Int())
		c.polled = false
	}
}

// call reads what the line names.
func (b *Broker) call(c *caller, line []byte) {
	delete(b.reading, c.id)
	c.line = nil
	req, err := dial.ParseRequest(line)
	if err != nil {
		b.refuseCaller(c, directory.Refusal{Reason: directory.Malformed, Text: err.Error()})
		return
	}
	switch {
	case req.Ended != 0:
		b.explain(c, req)
	case !b.hold(c, req):
		b.find(c, req)
	}
}

// maxBeside bounds the threads that a file system which hangs can take.
const maxBeside = 256

// crowded reports whether as much is being done beside the loop as may be.
func (b *Broker) crowded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.besides >= maxBeside
}

// beside does for a caller what may take long, beside the loop. The caller is the work's until that enters or closes it.
func (b *Broker) beside(c *caller, work func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.besides++
	b.unpoll(c) // it would stay readable, or hung up, and nobody would look
	b.tasks.Go(func() {
		work()
		b.mu.Lock()
		b.besides--
		b.mu.Unlock()
		b.finishSlices()
	})
}

// place asks the directory for what a caller wants.
func (b *Broker) place(c *caller, req dial.Request, definitions []directory.Definition, scope string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enter(c, directory.Call{Name: req.Name, Version: req.Version, Scope: scope, Definitions: definitions})
}

// enter makes a caller known to the directory, by its call. The lock is held.
func (b *Broker) enter(c *caller, call directory.Call) {
	call.Connection, call.Namespace, call.Now = c.id, c.namespace, b.now()
	call.Caller = directory.Peer{PID: c.peer.PID, UID: c.peer.UID}
	b.table.put(&descriptor{id: c.id, kind: callerSocket, fd: c.fd, caller: c})
	b.applyLocked(call)
	// One that waits is watched for a hang-up only: a half-close is legal, and early bytes keep it readable.
	if b.directory.Waits(c.id) {
		if err := b.poll(c, 0); err != nil {
			b.log.Error("cannot watch a caller", "err", err)
		}
	}
}

// refuseCaller answers a caller that the directory never knew.
func (b *Broker) refuseCaller(c *caller, r directory.Refusal) {
	b.refuse(c, r, false)
	b.forgetCaller(c)
}

// auditLevel is how loud a refusal is logged: unknown names and malformed requests are everyday, and whoever sends many of them must not
// fill the log.
func auditLevel(r directory.Refusal) slog.Level {
	if r.Reason == directory.Denied {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// refuse writes ERR. Untaken: somebody else may still hold the connection, and must not write another verdict.
func (b *Broker) refuse(c *caller, r directory.Refusal, untaken bool) {
	b.refused.Add(1)
	b.log.Log(context.Background(), auditLevel(r), "caller refused", "pid", c.peer.PID, "uid", c.peer.UID, "code", uint32(code(r.Reason)), "reason", r.Text)
	b.sendVerdict(c, dial.Verdict{Code: code(r.Reason), Text: r.Text})
	if untaken {
		_ = sys.Shutdown(c.fd.Int())
	}
	discard(c)
}

// verdict writes the broker's last word on a connection, which is then closed by the caller of this function.
func (b *Broker) verdict(c *caller, v dial.Verdict) {
	b.sendVerdict(c, v)
	discard(c)
}

func (b *Broker) sendVerdict(c *caller, v dial.Verdict) {
	var room [256]byte
	if _, err := sys.Send(c.fd.Int(), v.Append(room[:0])); err != nil && !isHangUp(err) {
		b.log.Debug("cannot send a verdict", "err", err)
	}
}

// discard reads what a caller sent early: it would turn our close into a reset, which may overtake a verdict.
func discard(c *caller) {
	var room [1024]byte
	for range 64 {
		if n, err := sys.Read(c.fd.Int(), room[:]); n <= 0 || err != nil {
			return
		}
	}
}

// forgetCaller closes our descriptor of a caller that the directory does not know. The loop's.
func (b *Broker) forgetCaller(c *caller) {
	delete(b.reading, c.id)
	if c.call != nil && c.call.large {
		c.call.large = false
		b.largeFrames--
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closeCaller(c)
}

// silent reports whether a caller has sent nothing.
func (c *caller) silent() bool { return len(c.line) == 0 && (c.call == nil || len(c.call.data) == 0) }

// closeCaller closes our descriptor of a caller. The lock is held.
func (b *Broker) closeCaller(c *caller) {
	b.table.take(c.id)
	b.unpoll(c)
	if c.call != nil && c.call.counted {
		c.call.counted = false
		b.connections.Add(-1)
	}
	c.fd.Close()
}
