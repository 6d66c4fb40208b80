// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Header fields that nobody looks at, where there is nothing better to say.
const (
	replyToken = 1 // the local port of a message with a reply right
	thePort    = 1 // the remote port of a message to a port
)

// Send sends a message. It waits while the port's queue is full (some hundred short messages), until ctx ends. On success everything in
// the message is the receiver's; on failure it all stays the caller's. A dead port is ServerDied.
func (s *SendRight) Send(ctx context.Context, m *Message) error {
	if m == nil {
		return noMessage("send")
	}
	fd, err := s.end.enter()
	if err != nil {
		return during("send", "", err)
	}
	defer s.end.leave()
	return m.send(ctx, s.end, fd, wire.Header{Remote: thePort}, wire.CopySend)
}

// Send sends the reply, as [SendRight.Send] does, and uses the right up.
func (o *SendOnceRight) Send(ctx context.Context, m *Message) error {
	if m == nil {
		return noMessage("reply")
	}
	fd, err := o.end.reserve()
	if err != nil {
		return during("reply", "", err)
	}
	if m.Reply == o {
		o.end.settle(false)
		return &Error{Code: InvalidArgument, Op: "reply", Text: "the message has the right that it is sent to for its own Reply"}
	}
	err = m.send(ctx, o.end, fd, wire.Header{Remote: o.token}, wire.MoveSendOnce)
	o.end.settle(err == nil)
	return err
}

func noMessage(op string) error {
	return &Error{Code: InvalidArgument, Op: op, Text: "there is no message: it is nil"}
}

// cargo is what a message gives away: reserved, until it is settled.
type cargo struct {
	fds         []int
	descriptors []wire.Descriptor
	settled     []interface{ settle(given bool) }
}

func (c *cargo) settle(given bool) {
	for _, s := range c.settled {
		s.settle(given)
	}
}

func (c *cargo) add(fd int) wire.Fd {
	c.fds = append(c.fds, fd)
	return wire.Fd(len(c.fds))
}

// load reserves everything that is in the message.
func (m *Message) load() (c cargo, reply uint32, err error) {
	defer func() {
		if err != nil {
			c.settle(false)
		}
	}()
	right := func(r Right) error {
		e, disposition := r.right()
		fd, err := e.reserve()
		if err != nil {
			return err
		}
		c.settled = append(c.settled, e)
		at := c.add(fd)
		if r != Right(m.Reply) {
			c.descriptors = append(c.descriptors, wire.Descriptor{Kind: wire.PortKind, Disposition: disposition, Fd: at})
		}
		return nil
	}
	if m.Reply != nil {
		if err := right(m.Reply); err != nil {
			return c, 0, fmt.Errorf("the reply right: %w", err)
		}
		reply = m.Reply.token
	}
	for i, r := range m.Rights {
		switch {
		case absent(r):
			c.descriptors = append(c.descriptors, wire.Descriptor{Kind: wire.PortKind, Disposition: wire.MoveSend})
		case m.Reply != nil && r == Right(m.Reply):
			return c, 0, fmt.Errorf("right %d: %w: it is the reply right as well", i, ErrClosed)
		default:
			if err := right(r); err != nil {
				return c, 0, fmt.Errorf("right %d: %w", i, err)
			}
		}
	}
	for i, memory := range m.Memory {
		d := wire.Descriptor{Kind: wire.MemoryKind, Copy: 1}
		if memory != nil {
			fd, err := memory.reserve()
			if err != nil {
				return c, 0, fmt.Errorf("memory %d: %w", i, err)
			}
			c.settled = append(c.settled, memory)
			if d.Length = uint32(memory.length); fd >= 0 {
				d.Fd = c.add(fd)
			}
		}
		c.descriptors = append(c.descriptors, d)
	}
	if len(c.fds) > sys.MaxFDs {
		text := fmt.Sprintf("a message can have %d rights and memories at most", sys.MaxFDs)
		return c, 0, &Error{Code: InvalidArgument, Op: "send", Text: text}
	}
	return c, reply, nil
}

// send sends the message to an end whose user the caller is.
func (m *Message) send(ctx context.Context, to *end, fd int, h wire.Header, disposition wire.Disposition) error {
	c, reply, err := m.load()
	if err != nil {
		return during("send", "", err)
	}
	local := wire.Disposition(0)
	if m.Reply != nil {
		local = wire.MakeSendOnce
	}
	h.Bits, h.Local, h.ID = wire.NewBits(false, disposition, local), reply, m.ID
	packet := wire.Message{Header: h, Descriptors: c.descriptors, Body: m.Body}.Append(nil)
	err = transmit(ctx, to, fd, packet, c.fds)
	c.settle(err == nil)
	if err == nil {
		m.Rights, m.Memory, m.Reply = nil, nil, nil
	}
	return during("send", "", err)
}

// shortage is how long to wait for memory that the kernel has not got.
const shortage = 5 * time.Millisecond

// transmit sends a packet when there is room.
func transmit(ctx context.Context, to *end, fd int, packet []byte, fds []int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := sys.Send(fd, packet, fds...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EAGAIN):
			err = to.wait(ctx, fd, sys.Writable)
		case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			err = pause(ctx, shortage)
		default:
			return os.NewSyscallError("sendmsg", err)
		}
		if err != nil {
			return err
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
