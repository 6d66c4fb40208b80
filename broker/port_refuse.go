// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/binary"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// startFailed tells those who wait for a service that could not be started, and checked no port in, that they get no reply. What a process
// had checked in is left alone: its queue is the next one's. The lock is held.
func (b *Broker) startFailed(key directory.Key) {
	svc := b.portServices[key]
	if svc == nil {
		return
	}
	svc.failing = true
	for _, lease := range svc.ports {
		if e, ok := b.directory.Entry(lease); ok && e.State != directory.Inactive {
			svc.failing = false
		}
	}
	b.refuseWaiting(svc)
}

// refuseWaiting is refuseQueued for all ports of a service that nobody has. The lock is held.
func (b *Broker) refuseWaiting(svc *machService) {
	for _, lease := range svc.ports {
		if e, ok := b.directory.Entry(lease); ok && e.State == directory.Inactive && b.ports[lease] != nil {
			b.refuseQueued(b.ports[lease])
		}
	}
}

// refuseStopped is refuseWaiting for a service whose process was stopped, where nothing but a look-up launches the next. The lock is held.
func (b *Broker) refuseStopped(svc *machService) {
	for _, lease := range svc.ports {
		if e, ok := b.directory.Entry(lease); !ok || e.OnMessage {
			return
		}
	}
	if !b.underWay(svc) {
		b.refuseWaiting(svc)
	}
}

// underWay reports whether a service runs, or it is being decided whether it does. The lock is held.
func (b *Broker) underWay(svc *machService) bool { return svc.knocking || b.busy(svc.key) }

// refusing reports whether who sends to a service that runs not gets 71: its last start failed, and the next is not due. The lock is held.
func (b *Broker) refusing(svc *machService) bool {
	return svc.failing && !b.underWay(svc) && !b.launchable(svc)
}

// refuseQueued takes those messages out of the queue of a port that nobody owns whose senders wait for a reply, and tells them that there
// will be none. The lock is held.
func (b *Broker) refuseQueued(p *port) {
	if p.receive == nil || b.hungUp(p) {
		return
	}
	waits := func(head []byte) bool { return wantsReply(head) || isHandshake(head) }
	lost, mixed, err := takeOut(p.receive.Int(), p.send.Int(), waits, func(packet []byte, fds []int) {
		if len(fds) > 0 && !isHandshake(packet) { // of that its ends hang up
			b.sendOnceDied(fds[0], binary.LittleEndian.Uint32(packet[12:]), p.name)
		}
	})
	if err != nil {
		b.log.Error("cannot tell who waits at a port", "name", p.name, "err", err)
	}
	if lost > 0 {
		b.log.Error("messages to a service that does not start are lost: there is no room for them", "name", p.name, "messages", lost)
	}
	if mixed {
		b.log.Warn("messages came without pause while others were taken out of a port: they may stand before older ones", "name", p.name)
	}
}

// wantsReply reports whether a message to a port has a reply right, by its header.
func wantsReply(head []byte) bool {
	return len(head) >= mach.HeaderSize && binary.LittleEndian.Uint32(head[12:]) != 0
}

// isHandshake reports whether a message opens an XPC connection: who sent it waits for what comes on that, or for its end.
func isHandshake(head []byte) bool {
	return len(head) >= mach.HeaderSize && xpc.Kind(binary.LittleEndian.Uint32(head[20:])) == xpc.KindHandshake
}
