// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"encoding/binary"

	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Message is what programs send each other through ports. What a stub puts into Body, and which ID it gives a message, is between the two;
// a reply usually has the request's and 100 more.
//
// A message that was sent has been given away with all that is in it; keep a Copy of what is needed further. If sending fails,
// everything is still the sender's. One that was received is its receiver's to Close.
type Message struct {
	ID   int32
	Body []byte

	// Rights are the ports in the message, in order; nil: none in this place, or one that had died. A message is sent with its rights
	// before its memory, and both before its array.
	Rights []Right
	Memory []*Memory
	Ports  []Right // an out-of-line array of ports, like Rights, all that are there of one type, 253 at most; nil: there is no array

	Reply *SendOnceRight // where the reply goes; nil: none is wanted
}

// Close gives up what is in the message: rights, memory, and the Reply, whereupon who sent the message is told that there will be none.
// Take out (set to nil) what is to be kept.
func (m *Message) Close() error {
	for _, rights := range [][]Right{m.Rights, m.Ports} {
		for _, r := range rights {
			if !absent(r) {
				r.Close()
			}
		}
	}
	for _, memory := range m.Memory {
		if memory != nil {
			memory.Close()
		}
	}
	if m.Reply != nil {
		m.Reply.Close()
	}
	m.Rights, m.Memory, m.Ports, m.Reply = nil, nil, nil, nil
	return nil
}

// Event is what a notification tells: its number is the ID of the message that does.
type Event = wire.Event

// The events.
const (
	PortDestroyed = wire.PortDestroyed // 69: a receive right comes back
	NoSenders     = wire.NoSenders     // 70: nobody has a send right any more
	SendOnceDied  = wire.SendOnceDied  // 71: this reply port will get no reply
	DeadName      = wire.DeadName      // 72: a port died
)

// Notification is a message of the system's, about ports.
type Notification struct {
	Event Event
	Name  uint32        // DeadName: what NotifyDead returned
	Count uint32        // NoSenders: how many send rights were given out
	Right *ReceiveRight // PortDestroyed: also in Rights of the message
}

// Notification returns what the message tells if it is one. Anybody who can send to a port can send it one.
func (m *Message) Notification() (n Notification, ok bool) {
	n.Event = Event(m.ID)
	number := func() uint32 {
		if ok = len(m.Body) == 12 && len(m.Rights)+len(m.Memory)+len(m.Ports) == 0; !ok {
			return 0
		}
		return binary.LittleEndian.Uint32(m.Body[8:])
	}
	switch n.Event {
	case SendOnceDied:
		ok = len(m.Body)+len(m.Rights)+len(m.Memory)+len(m.Ports) == 0
	case DeadName:
		n.Name = number()
	case NoSenders:
		n.Count = number()
	case PortDestroyed:
		if len(m.Rights) == 1 {
			n.Right, ok = m.Rights[0].(*ReceiveRight)
		}
	}
	if !ok {
		return Notification{}, false
	}
	return n, true
}
