// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// outgoing is a packet that has no room yet.
type outgoing struct {
	packet []byte
	fds    []*sys.FD
}

func (o outgoing) close() {
	for _, fd := range o.fds {
		fd.Close()
	}
}

// clear reports whether the client may go on: it reads its replies. If not, drain goes on.
func (c *connection) clear() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) == 0
}

// send sends a message, with descriptors, which become its own. What there is no room for waits. The result is why the connection is to
// be ended, or "".
func (c *connection) send(m xpc.Message, fds ...*sys.FD) (why string) {
	o := outgoing{fds: fds}
	var err error
	if o.packet, _, err = m.Append(nil, nil); err != nil {
		o.close()
		c.service.log.Error("cannot write a reply", "err", err)
		return "its reply cannot be written"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		if err = c.transmit(o); err == nil {
			return ""
		}
		if errors.Is(err, syscall.ETOOMANYREFS) && m.Kind == xpc.KindReply && len(fds) > 0 {
			// Descriptors of this user that nobody has received yet are in the way; the lease stays, so it can be asked for again.
			full := vmnet.Refuse(vmnet.InternalError, "too many descriptors are on the way")
			c.service.log.Warn("a reply was refused by the kernel", "conn", c.id, "err", err)
			if o.packet, _, err = (xpc.Message{Kind: m.Kind, Token: m.Token, Magic: m.Magic, Root: full.Reply(0)}).Append(nil, nil); err == nil {
				o.fds = nil
				err = c.transmit(o)
			}
			if err == nil {
				return ""
			}
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return err.Error()
		}
		if err := c.service.poller.Modify(c.out.Int(), sys.Writable|sys.Once, c.id*tokens+tokenOut); err != nil {
			o.close()
			return err.Error()
		}
	}
	c.queue = append(c.queue, o)
	return ""
}

// transmit sends a packet, and closes its descriptors unless there is no room.
func (c *connection) transmit(o outgoing) error {
	numbers := make([]int, 0, 2)
	for _, fd := range o.fds {
		numbers = append(numbers, fd.Int())
	}
	_, err := sys.Send(c.out.Int(), o.packet, numbers...)
	if !errors.Is(err, syscall.EAGAIN) {
		o.close()
	}
	return err
}

// drain sends what waits, when there is room or the client is gone.
func (c *connection) drain(events uint32) {
	if !c.enter() {
		return
	}
	defer c.leave()
	if events&sys.HangUp != 0 {
		c.end("the client has closed it")
		return
	}
	if why := c.drainQueue(); why != "" {
		c.end(why)
	}
}

func (c *connection) drainQueue() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		err := c.transmit(c.queue[0])
		if errors.Is(err, syscall.EAGAIN) {
			return c.watchOut(sys.Writable)
		}
		c.queue = c.queue[1:]
		if err != nil {
			return err.Error()
		}
	}
	if why := c.watchOut(0); why != "" {
		return why
	}
	return c.rearm()
}

func (c *connection) watchOut(events uint32) string {
	if err := c.service.poller.Modify(c.out.Int(), events|sys.Once, c.id*tokens+tokenOut); err != nil {
		return err.Error()
	}
	return ""
}

// tell sends a client that knows of it what happens.
func (c *connection) tell(e vmnet.Event) {
	if !c.enter() {
		return
	}
	defer c.leave()
	c.mu.Lock()
	extended := c.extended
	c.mu.Unlock()
	if extended {
		_ = c.send(xpc.Message{Kind: xpc.KindMessage, Root: e.Dict()})
	}
}

// tell tells a connection, if it is still there.
func (s *Service) tell(id uint64, e vmnet.Event) {
	if c := s.connection(id); c != nil {
		c.tell(e)
	}
}
