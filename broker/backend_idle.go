// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// count counts the connections of a backend, and stops newcomers before it is ended for having none. The lock is held.
func (b *Broker) count(id directory.ID) {
	be := b.backends[id]
	if be == nil {
		return
	}
	b.tasks.Go(func() {
		open := b.openConnections(be)
		b.mu.Lock()
		hide := open == 0 && be.path != "" && !be.hidden && !be.ended && b.directory.WouldStop(id, b.now())
		if hide {
			b.hide(be)
		}
		b.mu.Unlock()
		if hide {
			open = b.openConnections(be)
		}
		b.mu.Lock()
		if hide && open > 0 && !be.ended {
			b.unhide(be)
		}
		b.applyLocked(directory.Counted{Backend: id, Open: open, Now: b.now()})
		switch {
		case be.stopped:
			be.idle = true
		case hide && open == 0 && !be.retired && !be.ended: // it was called meanwhile
			b.unhide(be)
		}
		b.mu.Unlock()
		b.finishSlices()
		b.poller.Wake()
	})
}

func (b *Broker) openConnections(be *backend) int {
	if be.definition.Accept == directory.HandedOver {
		b.compareConnections() // the directory counts what it knows
		if be.adopted {
			return b.formerConnections()
		}
		return 0
	}
	if be.definition.Probed {
		b.compareConnections() // those that were handed off the directory counts
	}
	b.mu.Lock()
	path := be.path
	b.mu.Unlock()
	file, err := sys.StatSocket(b.folder.at(path))
	if err != nil {
		return 1 // not known: it is not ended for that
	}
	use, err := sys.UseOf([]sys.SocketFile{file})
	if err != nil {
		return 1
	}
	open := use[0].Open + use[0].Waiting
	if be.definition.Probed && be.adopted {
		open += b.formerConnections()
	}
	return open
}
