// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// compareEvery bounds the record of connections that may be over: nobody tells the broker that one which it handed
// over has ended.
const compareEvery = 4096

// compareConnections forgets connections that the kernel does not list any more.
func (b *Broker) compareConnections() {
	recorded := make(map[uint64]directory.ID)
	b.mu.Lock()
	b.directory.Handed(func(c directory.Caller) { recorded[uint64(c.Socket)] = c.Connection })
	b.mu.Unlock()
	if len(recorded) == 0 {
		return
	}
	all := len(recorded)
	err := sys.Connected(func(cookie uint64) { delete(recorded, cookie) })
	if err != nil {
		b.log.Warn("cannot list sockets", "err", err)
		return
	}
	over := make([]directory.ID, 0, len(recorded))
	for _, id := range recorded {
		over = append(over, id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handedNow, b.handedLive = 0, all-len(over)
	b.applyLocked(directory.Disconnected{Connections: over})
}

func pid() int { return os.Getpid() }

// failuresShown and failureText keep the answer to STATUS well below the size of a packet.
const (
	failuresShown = 16
	failureText   = 300
	failurePorts  = 8
)

// failures tells of services of the root whose last start failed. The lock is held.
func (b *Broker) failures() (all []session.Failure) {
	for _, f := range b.directory.Failures(directory.Root, failuresShown, b.now()) {
		wait := (f.Wait + int64(time.Millisecond) - 1) / int64(time.Millisecond)
		reason := f.Reason[:min(len(f.Reason), failureText)]
		all = append(all, session.Failure{
			Name: f.Key.Name, Version: f.Key.Version, Scope: f.Key.Scope, Reason: reason, Wait: uint64(wait), Ports: f.Ports[:min(len(f.Ports), failurePorts)],
		})
	}
	return all
}

// status is what STATUS answers to a session in a namespace.
func (b *Broker) status(in directory.ID) session.StatusReply {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.directory.Counts()
	var failures []session.Failure
	if in == directory.Root {
		failures = b.failures()
	}
	return session.StatusReply{
		Failures: failures,
		PID:      uint32(pid()), Version: b.config.Version, Started: uint64(b.started.UnixMilli()), UID: uint32(b.uid), Folder: b.folder.path,
		Sessions: uint64(c.Sessions), Names: uint64(c.Names), Namespaces: uint64(c.Namespaces), Watches: uint64(c.Watches),
		Waiting: uint64(c.Waiting), HandedOver: b.handedOver.Load(), Refused: b.refused.Load(), Descriptors: uint64(len(b.table.entries)),
		Services: b.catalogue.folders, Backends: uint64(c.Backends), Launches: b.launches, Ports: uint64(len(b.ports)),
	}
}
