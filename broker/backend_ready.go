// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// readControl takes what the exec shim of a backend says, up to its end: then the program runs, or the shim has failed.
func (b *Broker) readControl(be *backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drainControl(be)
}

func (b *Broker) drainControl(be *backend) {
	d := b.table.entries[be.control]
	if d == nil {
		return
	}
	p := b.packet()
	defer b.putPacket(p)
	for {
		n, err := p.Recv(d.fd.Int())
		if isAgain(err) {
			return
		}
		p.Message.Close()
		if err != nil || n == 0 {
			break
		}
		r, err := order.ParseReport(p.Data[:n])
		switch {
		case err != nil:
			be.failure = err.Error()
		case r.Kind == order.Failed:
			be.failure = r.Error()
		case r.Kind == order.Listening:
			be.listening = true
		case r.Kind == order.Taken && be.connection != nil:
			cookie, err := sys.Cookie(be.connection.Int())
			if err != nil {
				b.log.Error("cannot identify a connection", "err", err)
			}
			be.connection.Close()
			be.connection = nil
			b.handedOver.Add(1)
			b.applyLocked(directory.Accepted{Backend: be.id, Socket: directory.Socket(cookie), Now: b.now()})
		}
	}
	b.drop(be.control)
	be.control = 0
	if be.failure != "" || !be.listening && (be.definition.Accept == directory.Listener || sys.Exited(be.process.PIDFD.Int())) {
		return // its end is on the way
	}
	if err := be.record.Identify(be.process, true); err == nil {
		if err := launch.WriteRecord(b.folder.at(instanceFolder), be.record); err != nil {
			b.log.Error("cannot record a backend", "name", be.key.Name, "err", err)
		}
	}
	b.applyLocked(directory.Executed{Backend: be.id, Now: b.now()})
	if be.definition.Probed {
		b.tasks.Go(func() { b.awaitProbed(be) })
	} else if be.definition.Accept == directory.Path {
		b.probing = append(b.probing, be)
		b.probeAt = b.now()
		b.poller.Wake()
	}
}

// probe looks whether those who bind a path listen there yet.
func (b *Broker) probe(now int64) {
	if len(b.probing) == 0 || now < b.probeAt {
		return
	}
	b.mu.Lock()
	waiting := make(map[*backend]string, len(b.probing))
	for _, be := range b.probing {
		waiting[be] = be.path
	}
	b.mu.Unlock()
	for be, path := range waiting {
		if ok, err := sys.ListeningAt(b.folder.at(path)); err != nil || !ok {
			delete(waiting, be)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for be, path := range waiting {
		if be.path != path { // it was hidden meanwhile
			continue
		}
		be.listens = true
		b.linkNewest(be.key.Name)
		b.applyLocked(directory.Ready{Backend: be.id, Now: b.now()})
	}
	b.probing = slices.DeleteFunc(b.probing, func(be *backend) bool { return be.ended || be.listens })
	b.probeAt = b.now() + int64(probeEvery)
}

const probeEvery = 2 * time.Millisecond

// tellLate says what backends wrote whose time to start is over.
func (b *Broker) tellLate(now int64) {
	b.mu.Lock()
	var late []*backend
	b.directory.Late(now, func(id directory.ID) {
		if be := b.backends[id]; be != nil && be.process != nil {
			b.drainControl(be)
			late = append(late, be)
		}
	})
	b.mu.Unlock()
	for _, be := range late {
		var output []string
		if be.log != nil {
			output = launch.Tail(be.log.Path, be.logFrom, outputLines)
		}
		b.apply(directory.NotReady{Backend: be.id, Output: output, Now: now})
	}
}
