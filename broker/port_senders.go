// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// lookAtSenders has the loop look soon who holds send rights. The lock is held.
func (b *Broker) lookAtSenders(at int64) {
	b.sendersAt = at
	if at < b.wakeAt {
		b.wakeAt = at
		b.poller.Wake()
	}
}

// lookForSenders finds ports without senders, if it is time to look. The loop's.
func (b *Broker) lookForSenders(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unsent == 0 || now < b.sendersAt || b.looking || b.ending != "" {
		return
	}
	b.looking, b.sendersAt = true, now+int64(sendersEvery)
	b.tasks.Go(func() {
		candidates := b.sendersWanted()
		for range returnLooks { // for what one look can miss
			candidates = b.withoutSenders(candidates)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.looking = false
		b.tellNoSenders(candidates)
		b.poller.Wake()
	})
}

// wanted is a request of NoSenders as it was when a look began.
type wanted struct {
	notice *notice
	inode  uint64 // of the send end
	given  uint64
}

// sendersWanted returns the ports of which somebody wants to know whether they have senders, and of which rights were given away.
func (b *Broker) sendersWanted() (all []wanted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, notices := range b.notices {
		for n := range notices {
			if n.event != mach.NoSenders || n.port.given.Load() == 0 {
				continue
			}
			if inode, err := sys.SocketInode(n.port.send.Int()); err == nil {
				all = append(all, wanted{n, inode, n.port.given.Load()})
			}
		}
	}
	return all
}

// withoutSenders looks who holds the send ends, and returns those that only their owners hold.
func (b *Broker) withoutSenders(all []wanted) (none []wanted) {
	inodes := make([]uint64, len(all))
	for i, w := range all {
		inodes[i] = w.inode
	}
	held, err := sys.SocketHolders(inodes, nil)
	if err != nil {
		return nil
	}
	for _, w := range all {
		owner := w.notice.session.peer.PID
		if !slices.ContainsFunc(held.Sockets[w.inode], func(pid int) bool { return pid != owner }) {
			none = append(none, w)
		}
	}
	return none
}

// tellNoSenders tells of ports that nobody was seen to hold, unless a right to one may be on the way: somebody has not read its replies.
// The lock is held.
func (b *Broker) tellNoSenders(none []wanted) {
	if len(none) == 0 || b.unreadReplies() {
		return
	}
	for _, w := range none {
		n := w.notice
		d := b.table.entries[n.to]
		if d == nil || b.ports[n.port.lease] != n.port || n.port.given.Load() != w.given {
			continue
		}
		b.tell711(n, d.fd.Int(), mach.Notification{Event: mach.NoSenders, Count: uint32(w.given)})
		b.dropNotice(n)
	}
}

// unreadReplies reports whether a client that was given a send right has not read all of what it was sent. The lock is held.
func (b *Broker) unreadReplies() bool {
	for _, d := range b.table.entries {
		if d.kind != controlConnKind || !d.control.given.Load() {
			continue
		}
		if n, err := sys.Unread(d.control.fd); err != nil || n > 0 {
			return true
		}
	}
	return false
}
