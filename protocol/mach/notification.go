// SPDX-License-Identifier: Apache-2.0

package mach

// Event is what a notification tells; its number is the message's id (section 7).
type Event int32

// The events.
const (
	PortDeleted   Event = 65 // Name was deleted
	PortDestroyed Event = 69 // Right, a receive right, comes back
	NoSenders     Event = 70 // nobody holds a send right any more; Count were made
	SendOnceDied  Event = 71 // this reply port will get no reply
	DeadName      Event = 72 // Name died
)

// Notification is a message that needs no reply (section 7).
type Notification struct {
	Event Event
	Port  uint32 // the remote port: whom it tells
	Name  uint32 // PortDeleted, DeadName
	Count uint32 // NoSenders
	Right Right  // PortDestroyed
}

type eventForm struct {
	size    uint32
	complex bool
	fields  func(*Notification, *codec)
}

// form returns how the notification is laid out; nil: there is no such event.
func (e Event) form() *eventForm {
	switch e {
	case PortDeleted, DeadName:
		return &eventForm{36, false, (*Notification).name}
	case PortDestroyed:
		return &eventForm{40, true, (*Notification).right}
	case NoSenders:
		return &eventForm{36, false, (*Notification).count}
	case SendOnceDied:
		return &eventForm{24, false, func(*Notification, *codec) {}}
	}
	return nil
}

// String returns what happened, such as "dead name".
func (e Event) String() string {
	switch e {
	case PortDeleted:
		return "port deleted"
	case PortDestroyed:
		return "port destroyed"
	case NoSenders:
		return "no senders"
	case SendOnceDied:
		return "send-once died"
	case DeadName:
		return "dead name"
	}
	return "no event"
}

// ParseNotification reads a packet with which fds file descriptors came. The error
// is a [*FramingError] or a [*Fault]: BadID if it is no notification, BadArguments
// and TypeError as for requests.
func ParseNotification(packet []byte, fds int) (Notification, error) {
	h, count, _, err := frame(packet, fds, OnControl)
	if err != nil {
		return Notification{}, err
	}
	n := Notification{Event: Event(h.ID), Port: h.Remote}
	f := n.Event.form()
	switch {
	case f == nil:
		return Notification{}, &Fault{h, BadID, "it is no notification"}
	case f.size != h.Size || f.complex != h.Bits.Complex() || f.complex && count != 1:
		return Notification{}, &Fault{h, BadArguments, "the notification has another shape"}
	}
	c := codec{b: packet[HeaderSize:]}
	f.fields(&n, &c)
	if c.code != OK {
		return Notification{}, &Fault{h, c.code, c.why}
	}
	return n, nil
}

// Append appends the packet to b. The error is a [*Fault] if there is no such
// event, or the right is no receive right: then b is returned as it was.
func (n Notification) Append(b []byte) ([]byte, error) {
	f := n.Event.form()
	if f == nil {
		return b, &Fault{Header{}, BadID, "there is no such event"}
	}
	h := Header{Bits: NewBits(f.complex, MoveSendOnce, 0), Size: f.size, Remote: n.Port, ID: int32(n.Event)}
	c := codec{b: h.Append(b), writing: true}
	f.fields(&n, &c)
	if c.code != OK {
		return b, &Fault{h, c.code, c.why}
	}
	return c.b, nil
}

// The layouts, by what follows the header.

func (n *Notification) name(c *codec) {
	c.ndr()
	c.uint32(&n.Name)
}

func (n *Notification) count(c *codec) {
	c.ndr()
	c.uint32(&n.Count)
}

func (n *Notification) right(c *codec) {
	c.count(1)
	c.right(&n.Right, Disposition.Receive)
}
