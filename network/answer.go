// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// maxDialling is how many guests a connection may be waiting for.
const maxDialling = 16

// answer does what a message asks for. The result is why the connection is to be ended, or "".
func (c *connection) answer(ctx context.Context, m xpc.Message, who *Client) (why string) {
	r, err := vmnet.ParseRequest(m.Root)
	if err != nil {
		return c.reply(m, r, who, nil, nil, err)
	}
	if r.Version != 0 {
		c.mu.Lock()
		c.extended = true
		c.mu.Unlock()
	}
	if r.Lasting {
		c.last()
	}
	if r.Command == vmnet.Dial {
		return c.dial(ctx, m, r, who)
	}
	root, fd, err := c.do(ctx, r, who)
	return c.reply(m, r, who, root, fd, err)
}

// do carries a request out. The descriptor is the reply's.
func (c *connection) do(ctx context.Context, r vmnet.Request, who *Client) (xpc.Dict, *sys.FD, error) {
	n := c.service.networks
	switch r.Command {
	case vmnet.Acquire:
		details, fd, err := n.acquire(ctx, c.id, r, who)
		return details.Reply(), fd, err
	case vmnet.Release:
		return vmnet.ReleasedReply(r.Lease), nil, n.release(c.id, r.Lease)
	case vmnet.List:
		return vmnet.NetworksReply(n.list(who, r.After)), nil, nil
	case vmnet.Status:
		all, err := n.status(who, r.Network, r.After)
		return vmnet.NetworksReply(all), nil, err
	case vmnet.Leases:
		all, err := n.leases(who, r.Network, r.After)
		return vmnet.LeasesReply(all), nil, err
	}
	f, err := n.forward(c.id, r, who)
	return f.Reply(), nil, err
}

// reply sends what came of a request.
func (c *connection) reply(m xpc.Message, r vmnet.Request, who *Client, root xpc.Dict, fd *sys.FD, err error) (why string) {
	var refusal *vmnet.Refusal
	switch {
	case errors.As(err, &refusal):
		if c.refusals.allow(time.Now()) {
			c.service.log.Warn("request refused", "command", r.Command, "network", r.Network, "code", int64(refusal.Code), "err", refusal.Why,
				"conn", c.id, "pid", who.PID, "uid", who.UID)
		}
		version := r.Version
		if !who.ours() { // whose business files are not
			version = 0
		}
		root = refusal.Reply(version)
	case err != nil:
		return err.Error()
	}
	var fds []*sys.FD
	if fd != nil {
		fds = append(fds, fd)
	}
	if !m.WantsReply() {
		outgoing{fds: fds}.close()
		return ""
	}
	return c.send(m.Reply(root), fds...)
}

// dial connects to a guest. The client need not wait for that before its next request is answered.
func (c *connection) dial(ctx context.Context, m xpc.Message, r vmnet.Request, who *Client) (why string) {
	if r.Protocol == "udp" {
		return c.reply(m, r, who, nil, nil, vmnet.Refuse(vmnet.InvalidRequest, "connections are by tcp only"))
	}
	on, guest, err := c.service.networks.find(r, who)
	if err == nil {
		err = c.beginDial()
	}
	if err != nil {
		return c.reply(m, r, who, nil, nil, err)
	}
	who = &Client{PID: who.PID, UID: who.UID, GID: who.GID, pidfd: -1} // its descriptor is not good for longer
	c.service.work.Go(func() {
		fd, err := c.service.dial(ctx, func(ctx context.Context) (net.Conn, error) { return on.Dial(ctx, "tcp", guest) })
		why := c.reply(m, r, who, vmnet.ConnectionReply(), fd, err)
		c.endDial()
		if why != "" {
			c.end(why)
		}
	})
	return ""
}

func (c *connection) beginDial() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialling == maxDialling {
		return vmnet.Refuse(vmnet.InternalError, "the connection waits for %d guests, and may not wait for more", maxDialling)
	}
	c.dialling++
	c.users++
	return nil
}

func (c *connection) endDial() {
	c.mu.Lock()
	c.dialling--
	c.mu.Unlock()
	c.leave()
}
