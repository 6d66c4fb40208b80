// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"

	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// NotifyDead asks to be told once at a port when another one dies: by a [DeadName] with the name that is returned. If it is dead, that is
// at once. The caller keeps port, and to, unless that is a send-once right, which is used up. The request ends with the connection.
func (b *Bootstrap) NotifyDead(ctx context.Context, port *SendRight, to Right) (name uint32, err error) {
	return b.notify(ctx, DeadName, port, wire.CopySend, to)
}

// NotifyNoSenders asks to be told once when nobody holds a send right to a port any more, outside this program, with [NoSenders]. It is
// about a name that was got by CheckIn through this very connection: port is a send right to it.
func (b *Bootstrap) NotifyNoSenders(ctx context.Context, port *SendRight, to Right) error {
	_, err := b.notify(ctx, NoSenders, port, wire.CopySend, to)
	return err
}

// NotifyDestroyed asks for a receive right to be sent to a port, with [PortDestroyed], when this program has ended: with what it had not
// read. The caller keeps port.
func (b *Bootstrap) NotifyDestroyed(ctx context.Context, port *ReceiveRight, to Right) error {
	_, err := b.notify(ctx, PortDestroyed, port, wire.MoveReceive, to)
	return err
}

func (b *Bootstrap) notify(ctx context.Context, event Event, about Right, disposition wire.Disposition, to Right) (token uint32, err error) {
	const op = "ask to be told of"
	switch {
	case absent(about):
		return 0, &Error{Code: InvalidRight, Op: op, Name: event.String(), Text: "there is no port that it is about: it is nil"}
	case absent(to):
		return 0, &Error{Code: InvalidRight, Op: op, Name: event.String(), Text: "there is nobody to be told: the right is nil"}
	}
	port, _ := about.right()
	fd, err := port.enter()
	if err != nil {
		return 0, during(op, event.String(), err)
	}
	defer port.leave()
	told, how := to.right()
	if how == wire.MoveReceive {
		return 0, &Error{Code: TypeError, Op: op, Name: event.String(), Text: "who is to be told must be given as a send right"}
	}
	use, done := told.enter, func(bool) { told.leave() }
	if how == wire.MoveSendOnce {
		use, done = told.reserve, told.settle
	} else {
		how = wire.CopySend
	}
	toFD, err := use()
	if err != nil {
		return 0, during(op, event.String(), err)
	}
	reply, got, err := b.do(ctx, op, event.String(), wire.Request{
		Routine: wire.Notify, Event: event, Right: wire.Right{Fd: 1, Disposition: disposition}, To: wire.Right{Fd: 2, Disposition: how},
	}, fd, toFD)
	done(err == nil)
	if err == nil && reply.Shape != wire.StatusReply {
		err = unexpected(op, event.String(), reply, got)
	}
	return reply.Token, err
}
