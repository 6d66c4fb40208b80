// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"
	"os"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// A caller that was sent to a path, and whose connection ends without a byte, asks why: DIAL with ended=, the id of the process that
// listened. The question launches nothing. The broker's lock guards what is here.

// endsKept is how many ends are remembered.
const endsKept = 256

// end is why a backend ended that callers could connect to.
type end struct {
	name string
	pid  int
	why  directory.Refusal // Reason OK: as it liked
}

// endLog remembers the last ends.
type endLog struct {
	ring [endsKept]end
	next int
}

func (l *endLog) add(e end) {
	l.ring[l.next%endsKept] = e
	l.next++
}

// find returns the latest end of a process.
func (l *endLog) find(name string, pid int) (directory.Refusal, bool) {
	for i := range min(l.next, endsKept) {
		if e := &l.ring[(l.next-1-i)%endsKept]; e.pid == pid && e.name == name {
			return e.why, true
		}
	}
	return directory.Refusal{}, false
}

// explain answers the question why a process ended. While it is ending, the answer waits for its end.
func (b *Broker) explain(c *caller, req dial.Request) {
	pid := int(req.Ended)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, be := range b.backends {
		if be.process == nil || be.process.PID != pid || be.key.Name != req.Name {
			continue
		}
		if be.stopped || ending(be) {
			b.unpoll(c) // it would stay hung up, and nobody would look
			b.table.put(&descriptor{id: c.id, kind: callerSocket, fd: c.fd, caller: c})
			be.asking = append(be.asking, c)
			return
		}
		b.answer(c, directory.Refusal{}) // it lives, and closed the connection for reasons of its own
		return
	}
	why, ok := b.ends.find(req.Name, pid)
	if !ok && pid == os.Getpid() { // the broker listened, in between two of them
		why = b.directory.LastFailure(c.namespace, req.Name)
	}
	b.answer(c, why)
}

// ending reports whether a process has begun to end: its connections are closed before its pidfd says so.
func ending(be *backend) bool {
	if sys.Exited(be.process.PIDFD.Int()) {
		return true
	}
	st, err := sys.StatProcess(be.process.PID)
	return err != nil || st.Exiting
}

// answer writes the answer to a question, and closes the connection. The lock is held.
func (b *Broker) answer(c *caller, why directory.Refusal) {
	v := dial.Verdict{Code: session.OK}
	if why.Reason != directory.OK {
		v = dial.Verdict{Code: code(why.Reason), Text: why.Text}
	}
	b.verdict(c, v)
	b.closeCaller(c)
}

// noteEnd remembers why a backend ended, and answers those who ask already. The directory knows of the end. The lock is held.
func (b *Broker) noteEnd(be *backend) {
	e := end{name: be.key.Name}
	if be.process != nil {
		e.pid = be.process.PID
	}
	failed, why := b.directory.Failure(be.key)
	switch {
	case failed == be.id:
		e.why = why
	case be.stopped:
		e.why = directory.Refusal{Reason: directory.OwnerGone, Text: fmt.Sprintf("service %q was stopped: call it again", be.key.Name)}
	}
	b.ends.add(e)
	for _, c := range be.asking {
		b.answer(c, e.why)
	}
	be.asking = nil
}
