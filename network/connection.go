// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// connection is one client's: two pairs, of which in is where it sends, and out is where its replies go. Nobody waits at either: the
// service's loop tells when there is something to do, which then is done in a goroutine, and one at a time.
type connection struct {
	service   *Service
	id        uint64
	in, out   *sys.FD
	maker     sys.Cred // of the first pair
	process   *sys.FD  // of the maker
	processID sys.ProcessID
	excess    string        // why it gets nothing but an error; "": it is one of those that there may be
	ended     chan struct{} // of one too many: closed when it ends

	turn     sync.Mutex // held by who reads
	refusals budget     // of lines about requests

	// mu guards the rest.
	mu       sync.Mutex
	users    int  // who uses the descriptors
	over     bool // no more users
	lasting  bool // it does not end with its maker
	extended bool // it knows of what is not in the original
	dialling int
	queue    []outgoing
}

// What a token of the poller means.
const (
	tokenIn = iota
	tokenOut
	tokenProcess
	tokens = 4
)

const maxPacket = xpc.MaxPayload + 512 // header and descriptors

var buffers = sync.Pool{New: func() any { return sys.NewBuffer(maxPacket) }}

// watch has the loop tell of the connection. What is told of at once is served at once: that needs what is before it in this list.
func (c *connection) watch() error {
	p := c.service.poller
	return errors.Join(
		p.Add(c.out.Int(), sys.Once, c.id*tokens+tokenOut),
		p.Add(c.in.Int(), sys.Readable|sys.Once, c.id*tokens+tokenIn),
		p.Add(c.process.Int(), sys.Readable|sys.Once, c.id*tokens+tokenProcess),
	)
}

// enter keeps the descriptors open until leave; false: the connection has ended.
func (c *connection) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.users++
	return true
}

func (c *connection) leave() {
	c.mu.Lock()
	c.users--
	last := c.over && c.users == 0
	c.mu.Unlock()
	if last {
		c.dispose()
	}
}

// end ends the connection and its leases. It waits for these.
func (c *connection) end(why string) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	c.over = true
	last := c.users == 0
	c.mu.Unlock()
	if c.ended != nil {
		close(c.ended)
	}
	c.service.log.Debug("connection ended", "conn", c.id, "pid", c.maker.PID, "why", why)
	c.service.networks.leave(c.id)
	if last {
		c.dispose()
	}
}

// dispose closes what nobody uses any more.
func (c *connection) dispose() {
	p := c.service.poller
	_, _, _ = p.Remove(c.in.Int()), p.Remove(c.out.Int()), p.Remove(c.process.Int())
	c.service.delist(c)
	c.closeAll()
	for _, o := range c.queue {
		o.close()
	}
	c.queue = nil
}

func (c *connection) closeAll() {
	for _, fd := range []*sys.FD{c.in, c.out, c.process} {
		if fd != nil {
			fd.Close()
		}
	}
}

// serve answers what the client has sent.
func (c *connection) serve(ctx context.Context) {
	if !c.enter() {
		return
	}
	defer c.leave()
	c.turn.Lock()
	defer c.turn.Unlock()
	for ctx.Err() == nil {
		why, more := c.serveOne(ctx)
		if why != "" {
			c.end(why)
			return
		}
		if !more {
			return
		}
	}
}

// serveOne reads and answers one message. why: the connection is to be ended. more: there may be another.
func (c *connection) serveOne(ctx context.Context) (why string, more bool) {
	b := buffers.Get().(*sys.Buffer)
	defer buffers.Put(b)
	n, err := b.Recv(c.in.Int())
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return c.rearm(), false
	case err != nil:
		return err.Error(), false
	case n == 0:
		b.Message.Close()
		return "the client has closed it", false
	}
	defer b.Message.Close()
	switch {
	case b.Truncated:
		return c.fault("a message is longer than a message can be"), false
	case b.ControlTruncated:
		return c.fault("descriptors of a message were lost"), false
	}
	m, err := xpc.ParseMessage(b.Data[:n], len(b.FDs), nil)
	var refused *xpc.Fault
	switch {
	case errors.As(err, &refused):
		if c.refusals.allow(time.Now()) {
			c.service.log.Warn("request refused", "conn", c.id, "pid", c.maker.PID, "err", refused)
		}
		if refused.Silent() {
			return "", true
		}
		return c.send(refused.Reply()), c.clear()
	case err != nil:
		return c.fault(err.Error()), false
	case m.Kind != xpc.KindMessage:
		return c.fault("what it sent is neither request nor message"), false
	}
	if c.excess != "" {
		return c.refuse(m, c.sender(b)), false
	}
	return c.answer(ctx, m, c.sender(b)), c.clear()
}

func (c *connection) fault(why string) string {
	c.service.log.Warn("connection refused", "conn", c.id, "pid", c.maker.PID, "err", why)
	return why
}

// sender says who sent a message: who the kernel says, or, before it was asked to, who made the connection.
func (c *connection) sender(b *sys.Buffer) *Client {
	if !b.HasCred || b.Cred.PID == 0 && b.PIDFD < 0 {
		return &Client{PID: c.maker.PID, UID: c.maker.UID, GID: c.maker.GID, pidfd: c.process.Int()}
	}
	who := &Client{PID: b.Cred.PID, UID: b.Cred.UID, GID: b.Cred.GID, pidfd: b.PIDFD}
	if who.pidfd < 0 && who.PID == c.maker.PID {
		who.pidfd = c.process.Int()
	}
	return who
}

// rearm has the loop tell of the next message.
func (c *connection) rearm() string {
	if err := c.service.poller.Modify(c.in.Int(), sys.Readable|sys.Once, c.id*tokens+tokenIn); err != nil {
		return err.Error()
	}
	return ""
}

// last has the connection end with its descriptors, which others may have too, instead of with the process that made it.
func (c *connection) last() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lasting = true
}

func (c *connection) lasts() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lasting
}

// bereaved is called when the process that made the connection has ended. What it sent before is looked at first: it may say that the connection lasts.
func (c *connection) bereaved(ctx context.Context) {
	if !c.lasts() {
		c.serve(ctx)
	}
	if !c.lasts() {
		c.end("its process has ended")
	}
}
