// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unique"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// machSession is a session of the Mach front: that of a control connection, or of a process that sends requests to a bootstrap port.
// What is asked only, such as a look-up, needs none in the directory: id is 0 then.
type machSession struct {
	b       *Broker
	id      directory.ID // in the directory; 0: none
	peer    sys.Cred
	program string // its executable
	process directory.Process
	pidfd   directory.ID // in the table

	namespace directory.ID
	path      string           // of the namespace
	chain     []directory.Step // the namespace and its parents, for look-ups; they outlive it

	given atomic.Bool // a send right was given to it
	audit *auditBudget

	// Guarded by the broker's lock.
	ended bool
	lost  bool // its namespace had ended before it began: it can look up, and change nothing
}

// openMach opens a session in the directory. The lock is held.
func (b *Broker) openMach(s *machSession) {
	var client [16]byte
	rand.Read(client[:])
	b.applyLocked(directory.OpenSession{
		Now: b.now(), Session: s.id, Client: client, Process: s.process, Peer: directory.Peer{PID: s.peer.PID, UID: s.peer.UID, Exe: s.program},
		Namespace: s.namespace, Backend: b.backendOf(s.peer.PID), Lingers: true,
	})
	_, opened := b.directory.SessionNamespace(s.id)
	s.lost = !opened
}

// endMach ends a session: what it owns goes. Its pidfd is still in the table while the directory is told. The lock is held.
func (b *Broker) endMach(s *machSession, reason string) {
	if s.ended {
		return
	}
	s.ended = true
	if !s.lost {
		b.applyLocked(directory.EndSession{Now: b.now(), Session: s.id, Reason: reason})
	}
	b.sessionOver(s)
}

// backendOf returns the backend that a process was launched as, or belongs to as a child: backends lead a kernel session. 0: none. The
// lock is held.
func (b *Broker) backendOf(pid int) directory.ID {
	if len(b.backends) == 0 {
		return 0
	}
	sid, _ := sys.SessionOf(pid)
	for id, be := range b.backends {
		if be.process != nil && (be.process.PID == pid || be.process.PID == sid) {
			return id
		}
	}
	return 0
}

// ownerOf describes a session as the owner of a port. The lock is held.
func ownerOf(s *machSession) portOwner {
	pgid, _ := syscall.Getpgid(s.peer.PID)
	return portOwner{session: s, pgid: pgid}
}

// programOf returns the executable of a process, kept once for all sessions that run it; "": it is not known.
func programOf(pid, pidfd int) string {
	exe, err := sys.Executable(pid, pidfd)
	if err != nil {
		return ""
	}
	return unique.Make(exe[:min(len(exe), maxExe)]).Value()
}

// base is the last part of a program's path; "": it is not known.
func base(program string) string {
	if program == "" {
		return ""
	}
	return filepath.Base(program)
}

// describe names the process for people.
func (s *machSession) describe() string { return fmt.Sprintf("process %d", s.peer.PID) }
