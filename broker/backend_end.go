// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// backendExited goes on after the main process of a backend has exited.
func (b *Broker) backendExited(be *backend) {
	b.mu.Lock()
	b.drop(be.exit)
	b.drainControl(be)
	var sessions []*clientSession
	for _, d := range b.table.entries {
		if d.kind == sessionConn && d.session.peer.PID == be.process.PID {
			sessions = append(sessions, d.session)
		}
	}
	b.mu.Unlock()
	for _, s := range sessions {
		b.drain(s) // what it acknowledged counts
	}
	b.tasks.Go(func() {
		status, _ := be.process.Wait()
		text, failed := status.String(), !status.Success()
		if be.failure != "" {
			text, failed = "could not be run: "+be.failure, true
		}
		if err := be.process.KillTree(); err != nil {
			b.log.Error("cannot end all that a backend started", "name", be.key.Name, "err", err)
		}
		b.finishBackend(be, text, failed)
	})
}

// finishBackend tells the directory that a backend is gone, and gives back what it had.
func (b *Broker) finishBackend(be *backend, status string, failed bool) {
	var output []string
	if be.log != nil {
		output = launch.Tail(be.log.Path, be.logFrom, outputLines)
	}
	unserved := false
	if be.socket != nil && !be.hidden {
		if file, err := sys.StatSocket(b.folder.at(be.path)); err == nil {
			if use, err := sys.UseOf([]sys.SocketFile{file}); err == nil {
				unserved = use[0].Waiting > 0
			}
		}
	}
	b.log.Info("backend ended", "name", be.key.Name, "version", be.key.Version, "status", status)
	b.mu.Lock()
	be.ended = true
	delete(b.backends, be.id)
	delete(b.instances, be.instance)
	_ = launch.RemoveRecord(b.folder.at(instanceFolder), be.instance)
	if be.control != 0 {
		b.drop(be.control)
	}
	b.closeNotify(be)
	b.closeHandoffs(be)
	if be.definition.Probed {
		b.folder.unlink(be.aside, handoffPath(be.path))
	}
	be.connection.Close()
	if be.socket == nil || be.hidden {
		if be.path != "" {
			b.folder.unlink(be.path)
		}
	} else if err := sys.Relisten(be.socket.fd.Int(), backlog); err != nil { // callers see the broker again, until the next one
		b.log.Error("cannot listen for a service", "name", be.key.Name, "err", err)
	}
	b.linkNewest(be.key.Name)
	b.applyLocked(directory.Ended{Backend: be.id, Status: status, Failed: failed, Unserved: unserved, Output: output, Now: b.now()})
	b.noteEnd(be)
	b.noteDeath(be, status, failed)
	b.releaseSocket(be)
	if svc := b.portServices[be.key]; svc != nil && be.stopped && !svc.wanted {
		b.refuseStopped(svc)
	}
	b.armKey(be.key)
	b.lookAtReturns()
	b.busyAt = b.now()
	b.mu.Unlock()
	b.finishSlices()
	if be.process != nil {
		be.process.Close()
	}
	b.poller.Wake()
}

// releaseSocket watches the socket of a service that has no process now, or closes it if there is no definition of it. The lock is held.
func (b *Broker) releaseSocket(be *backend) {
	if be.definition.Accept != directory.Listener {
		return
	}
	if be.hidden && be.socket != nil {
		b.table.take(be.socket.id)
		be.socket.fd.Close()
	}
	if b.accepting(be.key) {
		return
	}
	s, defined := b.sockets[be.key], be.definition.Source != "" && be.key.Scope == "" && b.ending == ""
	switch {
	case s != nil && defined:
		b.watchSocket(s, true)
	case s != nil:
		b.flush(be.key)
		b.closeSocket(s)
	case defined: // it had been found again, and had its socket for itself
		b.rescanAt = b.now()
	}
}

// stopBackend tells a backend to end, or kills it. The lock is held.
func (b *Broker) stopBackend(a directory.Stop) {
	be := b.backends[a.Backend]
	if be == nil || be.process == nil || be.ended {
		return
	}
	be.stopped = true
	b.hide(be)
	if a.Kill {
		_ = be.process.Signal(syscall.SIGKILL)
		return
	}
	if err := be.process.Signal(syscall.SIGTERM); err != nil {
		b.log.Error("cannot stop a backend", "name", be.key.Name, "err", err)
	}
}

func (b *Broker) retire(a directory.Retire) {
	be := b.backends[a.Backend]
	if be == nil {
		return
	}
	be.retired = true
	b.hide(be)
	if s := b.sockets[be.key]; s != nil && be.definition.Source != "" && !b.busy(be.key) {
		b.watchSocket(s, true) // who connects from now on has the next one launched
	}
}
