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
	list        *sys.FD // the positions of an array's ports; nil: there are none
}

func (c *cargo) settle(given bool) {
	for _, s := range c.settled {
		s.settle(given)
	}
	c.list.Close()
}

func (c *cargo) add(fd int) wire.Fd {
	c.fds = append(c.fds, fd)
	return wire.Fd(len(c.fds))
}

// take reserves a right and gives its descriptor a position.
func (c *cargo) take(r Right) (wire.Descriptor, error) {
	e, disposition := r.right()
	fd, err := e.reserve()
	if err != nil {
		return wire.Descriptor{}, err
	}
	c.settled = append(c.settled, e)
	return wire.Descriptor{Kind: wire.PortKind, Disposition: disposition, Fd: c.add(fd)}, nil
}

// right is take for one of the message's rights, which may be none.
func (c *cargo) right(m *Message, r Right) (wire.Descriptor, error) {
	switch {
	case absent(r):
		return wire.Descriptor{Kind: wire.PortKind, Disposition: wire.MoveSend}, nil
	case m.Reply != nil && r == Right(m.Reply):
		return wire.Descriptor{}, fmt.Errorf("%w: it is the reply right as well", ErrClosed)
	}
	return c.take(r)
}

// array reserves the ports of the message's array, behind the memory that has their positions.
func (c *cargo) array(m *Message) error {
	all := wire.Descriptor{Kind: wire.PortsKind, Length: uint32(len(m.Ports)), Copy: 1}
	if len(m.Ports) > 0 {
		all.Fd = c.add(-1)
	}
	var positions []wire.Fd
	for i, r := range m.Ports {
		d, err := c.right(m, r)
		switch {
		case err != nil:
			return fmt.Errorf("port %d: %w", i, err)
		case d.Fd.Carried() && all.Disposition != 0 && d.Disposition != all.Disposition:
			return &Error{Code: InvalidArgument, Op: "send", Text: fmt.Sprintf("port %d of the array is of another type than those before it", i)}
		case d.Fd.Carried():
			all.Disposition = d.Disposition
		}
		positions = append(positions, d.Fd)
	}
	if all.Disposition == 0 {
		all.Disposition = wire.MoveSend
	}
	if all.Fd.Carried() {
		var err error
		if c.list, err = sys.SealedMemory("ports", wire.AppendPorts(nil, positions...)); err != nil {
			return err
		}
		c.fds[all.Fd-1] = c.list.Int()
	}
	c.descriptors = append(c.descriptors, all)
	return nil
}

// load reserves everything that is in the message.
func (m *Message) load() (c cargo, reply uint32, err error) {
	defer func() {
		if err != nil {
			c.settle(false)
		}
	}()
	if m.Reply != nil {
		if _, err := c.take(m.Reply); err != nil {
			return c, 0, fmt.Errorf("the reply right: %w", err)
		}
		reply = m.Reply.token
	}
	for i, r := range m.Rights {
		d, err := c.right(m, r)
		if err != nil {
			return c, 0, fmt.Errorf("right %d: %w", i, err)
		}
		c.descriptors = append(c.descriptors, d)
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
	if m.Ports != nil {
		if err := c.array(m); err != nil {
			return c, 0, err
		}
	}
	if len(c.fds) > sys.MaxFDs || len(m.Ports) > wire.MaxFds {
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
		m.Rights, m.Memory, m.Ports, m.Reply = nil, nil, nil, nil
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
