// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"errors"
	"os"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Right is what can be in a message: a [*ReceiveRight], a [*SendRight] or a [*SendOnceRight]. Each owns a descriptor
// until it is closed or given away.
type Right interface {
	// Close gives the right up. After the first time it does nothing.
	Close() error

	right() (*end, wire.Disposition) // that with which it is given away
}

// ReceiveRight is where a port's messages arrive. It is one end of a SEQPACKET pair.
type ReceiveRight struct {
	end      *end
	instance [16]byte
}

// SendRight lets send to a port. It is a duplicate of the other end, so who has one can do with the port what the others can.
type SendRight struct{ end *end }

// SendOnceRight lets send one message: a reply. Whoever waits for it is told if there will be none: when the right is
// closed, and when the process that has it ends.
type SendOnceRight struct {
	end   *end
	token uint32 // what the reply has for its remote port
}

// absent reports whether there is no right, which a nil pointer to one is as well.
func absent(r Right) bool {
	switch r := r.(type) {
	case *ReceiveRight:
		return r == nil
	case *SendRight:
		return r == nil
	case *SendOnceRight:
		return r == nil
	}
	return r == nil
}

func (r *ReceiveRight) right() (*end, wire.Disposition)  { return r.end, wire.MoveReceive }
func (s *SendRight) right() (*end, wire.Disposition)     { return s.end, wire.MoveSend }
func (o *SendOnceRight) right() (*end, wire.Disposition) { return o.end, wire.MoveSendOnce }

// NewPort makes a port of the program's own. Who is to send to it gets a Copy of the send right.
func NewPort() (*ReceiveRight, *SendRight, error) {
	a, b, err := sys.PortPair()
	if err != nil {
		return nil, nil, during("make a port", "", err)
	}
	return &ReceiveRight{end: newEnd(a)}, &SendRight{newEnd(b)}, nil
}

// NewReplyPort makes a port that gets one message: the reply to a message with this Reply, that a [SendOnceDied] tells that there
// will be none, or the end with [ErrNoSenders]. [SendRight.Call] does all of it.
func NewReplyPort() (*ReceiveRight, *SendOnceRight, error) {
	a, b, err := sys.PortPair()
	if err != nil {
		return nil, nil, during("make a port", "", err)
	}
	return &ReceiveRight{end: newEnd(a)}, &SendOnceRight{newEnd(b), replyToken}, nil
}

// AdoptReceive makes a receive right of an inherited descriptor, of which it has a duplicate: f stays the caller's.
func AdoptReceive(f *os.File) (*ReceiveRight, error) {
	fd, err := adopt(f)
	if err != nil {
		return nil, err
	}
	return &ReceiveRight{end: newEnd(fd)}, nil
}

// AdoptSend makes a send right of an inherited descriptor, of which it has a duplicate: f stays the caller's.
func AdoptSend(f *os.File) (*SendRight, error) {
	fd, err := adopt(f)
	if err != nil {
		return nil, err
	}
	return &SendRight{newEnd(fd)}, nil
}

func adopt(f *os.File) (dup *sys.FD, err error) {
	if f == nil {
		return nil, &Error{Code: InvalidRight, Op: "adopt", Text: "there is no file: it is nil"}
	}
	raw, err := f.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) {
			if _, err = sys.CheckSocket(int(fd), sys.Seqpacket); err == nil {
				dup, err = sys.Dup(int(fd))
			}
		})
		err = errors.Join(err, cerr)
	}
	if err != nil {
		return nil, &Error{Code: InvalidRight, Op: "adopt", Name: f.Name(), Err: err}
	}
	return dup, nil
}

// Instance returns the number of the port's instance, which a declared name's port keeps from owner to owner until the port is
// reset; see [Bootstrap.LookUpInstance]. It is zero for a right that was not got by CheckIn.
func (r *ReceiveRight) Instance() [16]byte { return r.instance }

// File returns a duplicate of the descriptor, for a child. Two that receive at the same time each get some of the messages.
func (r *ReceiveRight) File() (*os.File, error) { return r.end.file("receive right") }

// File returns a duplicate of the descriptor, for a child: of a bootstrap port, the child finds its number in SWITCHBOARD_BOOTSTRAP_FD.
func (s *SendRight) File() (*os.File, error) { return s.end.file("send right") }

// Copy returns another right to the same port.
func (s *SendRight) Copy() (*SendRight, error) {
	fd, err := s.end.dup()
	if err != nil {
		return nil, during("copy a send right", "", err)
	}
	return &SendRight{newEnd(fd)}, nil
}

// Dead reports whether the port is: its receive right is gone, or this right is closed.
func (s *SendRight) Dead() bool {
	fd, err := s.end.enter()
	if err != nil {
		return true
	}
	defer s.end.leave()
	return sys.HungUp(fd)
}

// Close ends receiving. Unless somebody else holds the receive right (of a declared name the broker does), senders see the port dead.
func (r *ReceiveRight) Close() error {
	r.end.end(ErrClosed)
	return nil
}

// Close gives the right up.
func (s *SendRight) Close() error {
	s.end.end(ErrClosed)
	return nil
}

// Close gives the right up, unused: whoever waits for the reply is told that there will be none.
func (o *SendOnceRight) Close() error {
	fd, err := o.end.reserve()
	if err != nil {
		return nil
	}
	sendDied(fd, o.token)
	o.end.end(ErrClosed)
	o.end.settle(false)
	return nil
}

// sendDied says at a reply right that it will get no reply. Nobody waits for room: who fills his own reply port sees it
// hang up.
func sendDied(fd int, token uint32) {
	var room [wire.HeaderSize]byte
	if packet, err := (wire.Notification{Event: wire.SendOnceDied, Port: token}).Append(room[:0]); err == nil {
		_, _ = sys.Send(fd, packet)
	}
}
