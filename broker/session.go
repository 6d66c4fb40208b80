// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unique"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// clientSession is the broker's side of one session: its connection, read by a goroutine of its own.
type clientSession struct {
	b    *Broker
	id   directory.ID // changes once, when HELLO continues an older session
	file *os.File     // registered with the runtime's poller
	raw  syscall.RawConn
	fd   int // of file; may be sent to by whoever holds the broker's lock while the session is in the table
	peer sys.Cred

	namespace directory.ID
	chain     []directory.Step // the namespace and its parents, for look-ups
	process   directory.Process
	pidfd     directory.ID // in the table

	// read orders what takes packets off the connection: its goroutine, and the loop when it wants what is
	// queued. It comes before the broker's lock.
	read    sync.Mutex
	greeted bool
	closed  bool
	request session.Header // the one being answered
	unsent  []unsent       // replies for which there was no room; nothing is read until they are gone

	// Guarded by the broker's lock.
	streams   map[uint32]*stream // watches
	awaiting  bool               // the loop tells when it is writable
	replaced  bool               // another connection goes on with this session
	dismissed bool               // BYE was said
}

func isAgain(err error) bool { return err == syscall.EAGAIN }

// acceptSession takes one connection from session.sock; false if there is none.
func (b *Broker) acceptSession(listener int) bool {
	fd, ok := b.accept(listener)
	if ok {
		b.newSession(fd, directory.Root)
	}
	return ok
}

// newSession begins with a connection that was accepted, or came through a door. Who it is, is settled now.
func (b *Broker) newSession(fd *sys.FD, ns directory.ID) {
	peer, refusal, pidfd, process := b.identify(fd)
	if refusal.Reason != directory.OK {
		b.log.Log(context.Background(), auditLevel(refusal), "session refused", "pid", peer.PID, "uid", peer.UID, "reason", refusal.Text)
		_, _ = sys.Send(fd.Int(), byePacket(refusal))
		fd.Close()
		return
	}
	n := fd.Take()
	s := &clientSession{b: b, id: b.table.id(), file: os.NewFile(uintptr(n), "session"), fd: n, peer: peer, namespace: ns, process: process}
	raw, err := s.file.SyscallConn()
	if err != nil {
		s.file.Close()
		pidfd.Close()
		return
	}
	s.raw = raw
	b.mu.Lock()
	s.chain = b.directory.Chain(ns)
	s.pidfd = b.table.id()
	err = b.watch(&descriptor{id: s.pidfd, kind: processWatch, fd: pidfd, session: s})
	if err == nil {
		b.table.put(&descriptor{id: s.id, kind: sessionConn, session: s})
		b.sessions.Go(s.run)
		b.noteSession()
	}
	b.mu.Unlock()
	if err != nil {
		b.log.Error("cannot watch a process", "pid", peer.PID, "err", err)
		s.file.Close()
	}
}

// identify asks the kernel who is at the other end.
func (b *Broker) identify(fd *sys.FD) (peer sys.Cred, r directory.Refusal, pidfd *sys.FD, process directory.Process) {
	peer, err := sys.PeerCred(fd.Int())
	if err != nil {
		return peer, directory.Refusal{Reason: directory.Denied, Text: err.Error()}, nil, 0
	}
	if r := b.admit(peer); r.Reason != directory.OK {
		return peer, r, nil, 0
	}
	if r := b.scarce(fd); r.Reason != directory.OK {
		return peer, r, nil, 0
	}
	if pidfd, err = sys.PeerPIDFD(fd.Int()); err != nil {
		return peer, directory.Refusal{Reason: directory.Denied, Text: "your process cannot be identified: " + err.Error()}, nil, 0
	}
	id, err := sys.ProcessIDOf(pidfd.Int())
	if err != nil {
		pidfd.Close()
		return peer, directory.Refusal{Reason: directory.Denied, Text: "your process cannot be identified: " + err.Error()}, nil, 0
	}
	return peer, directory.Refusal{}, pidfd, directory.Process(max(id.Inode, uint64(id.PID)))
}

// run reads the session until it ends.
func (s *clientSession) run() {
	receive := func(uintptr) bool { return s.receive() }
	flush := func(uintptr) bool { return s.flush() }
	for {
		if err := s.raw.Read(receive); err != nil {
			break
		}
		if len(s.unsent) == 0 {
			break
		}
		if err := s.raw.Write(flush); err != nil {
			break
		}
	}
	s.close()
}

// close ends the session in the directory and gives back what it had here.
func (s *clientSession) close() {
	b := s.b
	b.mu.Lock()
	if !s.replaced { // looked at and acted on under one lock: another connection may be taking over
		reason := fmt.Sprintf("process %d ended its session", s.peer.PID)
		if d := b.table.entries[s.pidfd]; d != nil && sys.Exited(d.fd.Int()) {
			reason = fmt.Sprintf("process %d exited", s.peer.PID)
		}
		b.applyLocked(directory.EndSession{Now: b.now(), Session: s.id, Reason: reason})
	}
	b.mu.Unlock()
	b.finishSlices()
	s.read.Lock()
	defer s.read.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.closed = true
	b.trace.endTraces(s)
	for _, u := range s.unsent {
		u.fd.Close()
	}
	if d := b.table.entries[s.id]; d != nil && d.session == s {
		b.table.take(s.id)
	}
	b.drop(s.pidfd)
	b.noteSession()
	if s.awaiting {
		_ = b.poller.Remove(s.fd)
	}
	s.file.Close()
}

// processExited ends the session of a process that is gone, also where a child of it still holds the
// descriptor. What it acknowledged before counts.
func (b *Broker) processExited(d *descriptor) {
	s := d.session
	b.mu.Lock()
	_ = b.poller.Remove(d.fd.Int())
	b.mu.Unlock()
	b.drain(s)
	b.mu.Lock()
	id := s.id
	b.mu.Unlock()
	b.apply(directory.EndSession{Now: b.now(), Session: id, Reason: fmt.Sprintf("process %d exited", s.peer.PID)})
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.table.entries[s.id]; t != nil && t.session == s {
		_ = sys.Shutdown(s.fd)
	}
}

// maxExe keeps an entry below the size of a packet.
const maxExe = 1024

// executable is the session's program, kept once for all sessions that run it.
func (s *clientSession) executable() string {
	s.b.mu.Lock()
	d := s.b.table.entries[s.pidfd]
	s.b.mu.Unlock()
	if d == nil {
		return ""
	}
	exe, err := sys.Executable(s.peer.PID, d.fd.Int())
	if err != nil {
		return ""
	}
	return unique.Make(exe[:min(len(exe), maxExe)]).Value()
}
