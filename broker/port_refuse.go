// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/binary"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
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

// keptMessage is a message that is on its way back into its queue.
type keptMessage struct {
	data []byte
	fds  []int
}

// refuseQueued takes those messages out of the queue of a port that nobody owns whose senders wait for a reply, and tells them that there
// will be none. The others go behind, in their order: a queue gives nothing but its first. The lock is held.
func (b *Broker) refuseQueued(p *port) {
	if p.receive == nil || b.hungUp(p) {
		return
	}
	queued, wanting, longest := 0, 0, mach.HeaderSize
	var head [mach.HeaderSize]byte
	err := sys.PeekEach(p.receive.Int(), head[:], func(head []byte, size int) {
		if queued++; wantsReply(head) || isHandshake(head) {
			wanting++
		}
		longest = max(longest, size)
	})
	if err != nil {
		b.log.Error("cannot tell who waits at a port", "name", p.name, "err", err)
		return
	}
	if wanting == 0 {
		return
	}
	buffer := sys.NewBuffer(longest)
	var kept []keptMessage
	back, lost := 0, 0
	for ; queued > 0; queued-- {
		n, err := buffer.Recv(p.receive.Int())
		if err != nil {
			break
		}
		switch {
		case isHandshake(buffer.Data[:n]): // its ends hang up
		case len(buffer.FDs) > 0 && wantsReply(buffer.Data[:n]):
			b.sendOnceDied(buffer.FDs[0], binary.LittleEndian.Uint32(buffer.Data[12:]), p.name)
		case buffer.Truncated || buffer.ControlTruncated:
			lost++
		case n > 0:
			kept = append(kept, keptMessage{append([]byte(nil), buffer.Data[:n]...), append([]int(nil), buffer.FDs...)})
			buffer.FDs = nil
		}
		buffer.Message.Close()
		back += putBack(p, &kept)
	}
	for _, m := range kept { // senders took the room
		lost++
		sys.CloseAll(m.fds)
	}
	if lost > 0 {
		b.log.Error("messages to a service that does not start are lost: there is no room for them", "name", p.name, "messages", lost)
	}
	if back == 0 {
		return
	}
	now := 0
	if sys.PeekEach(p.receive.Int(), head[:], func([]byte, int) { now++ }) == nil && now > back {
		b.log.Warn("messages came while others were taken out of a port: they may stand between older ones", "name", p.name, "messages", now-back)
	}
}

// putBack sends the first of kept into the queue of a port, as many as there is room for, and returns how many.
func putBack(p *port, kept *[]keptMessage) (n int) {
	for ; n < len(*kept); n++ {
		m := (*kept)[n]
		if _, err := sys.Send(p.send.Int(), m.data, m.fds...); err != nil {
			break
		}
		sys.CloseAll(m.fds)
	}
	*kept = (*kept)[n:]
	return n
}

// wantsReply reports whether a message to a port has a reply right, by its header.
func wantsReply(head []byte) bool {
	return len(head) >= mach.HeaderSize && binary.LittleEndian.Uint32(head[12:]) != 0
}

// isHandshake reports whether a message opens an XPC connection: who sent it waits for what comes on that, or for its end.
func isHandshake(head []byte) bool {
	return len(head) >= mach.HeaderSize && xpc.Kind(binary.LittleEndian.Uint32(head[20:])) == xpc.KindHandshake
}
