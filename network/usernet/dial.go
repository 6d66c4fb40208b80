// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Dial connects to a guest's port; the network is "tcp" or "udp". The guest sees the gateway as its peer. The connection of "tcp"
// has a method CloseWrite. It is cut when the guest is detached.
func (n *Network) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	conn, err := n.dial(ctx, network, to)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s of network %q: %w", to, n.info.Name, err)
	}
	return conn, nil
}

func (n *Network) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if err := n.checkGuest(to); err != nil {
		return nil, err
	}
	if !n.enter() {
		return nil, ErrClosed
	}
	defer n.leave()
	while := n.ctx // how long the connection may last
	if g := n.owner(to.Addr()); g != nil {
		while = g.ctx
	}
	switch network {
	case "tcp":
		return n.dialTCP(ctx, while, to)
	case "udp":
		remote := fullAddress(to)
		conn, err := gonet.DialUDP(n.stack, nil, &remote, ipv4.ProtocolNumber)
		if err != nil {
			return nil, err
		}
		return &udpToGuest{conn, whenDone(while, func() { conn.Close() })}, nil
	}
	return nil, fmt.Errorf(`the network is %q, and can be "tcp" or "udp"`, network)
}

// checkGuest checks that a guest can be there.
func (n *Network) checkGuest(to netip.AddrPort) error {
	switch {
	case !n.pool.usable(to.Addr()):
		return ErrNotHere
	case to.Port() == 0:
		return errors.New("0 is no port")
	}
	return nil
}

func (n *Network) dialTCP(ctx, while context.Context, to netip.AddrPort) (net.Conn, error) {
	queue := new(waiter.Queue)
	ep, failed := n.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if failed != nil {
		return nil, errors.New(failed.String())
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&entry)
	failed = ep.Connect(fullAddress(to))
	var err error
	if _, started := failed.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ready:
			failed = ep.LastError()
		case <-ctx.Done():
			failed, err = nil, ctx.Err()
		case <-while.Done():
			failed, err = nil, ErrClosed
		}
	}
	queue.EventUnregister(&entry)
	switch {
	case failed != nil && while.Err() != nil: // the network's end aborts the endpoint, too
		err = ErrClosed
	case failed != nil:
		err = errors.New(failed.String())
	}
	if err != nil {
		ep.Abort()
		return nil, err
	}
	return &tcpToGuest{guestEnd{gonet.NewTCPConn(queue, ep), ep}, whenDone(while, ep.Abort)}, nil
}

// tcpToGuest is a connection that ends with its guest.
type tcpToGuest struct {
	guestEnd
	stop func()
}

func (c *tcpToGuest) Close() error {
	c.stop()
	return c.guestEnd.Close()
}

type udpToGuest struct {
	*gonet.UDPConn
	stop func()
}

func (c *udpToGuest) Close() error {
	c.stop()
	return c.UDPConn.Close()
}
