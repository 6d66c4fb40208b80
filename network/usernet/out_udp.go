// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// datagramIdle is after how long without a datagram an exchange of them ends.
	datagramIdle = 90 * time.Second
	maxDatagram  = 65507
)

// handleUDP passes guests' datagrams to others than the gateway's own services on.
func (n *Network) handleUDP() {
	forwarder := udp.NewForwarder(n.stack, n.forwardUDP)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		from, to := ends(id)
		if n.isGroup(to.Addr()) {
			return true // for nobody here, and not to be answered
		}
		if !n.allowed(&n.udp, to) || n.owner(from.Addr()) == nil {
			return false // the stack answers "port unreachable"
		}
		return forwarder.HandlePacket(id, pkt)
	})
}

// forwardUDP begins an exchange with its first datagram. Whoever brought that waits for its return.
func (n *Network) forwardUDP(r *udp.ForwarderRequest) {
	from, to := ends(r.ID())
	target, _ := n.route(to)
	g := n.owner(from.Addr())
	if g == nil {
		return
	}
	if !g.udp.take() {
		n.udp.refused.Add(1)
		return
	}
	out, err := n.config.Dial(g.ctx, "udp", target.String())
	if err != nil {
		n.udp.refused.Add(1)
		g.udp.free()
		return
	}
	var queue waiter.Queue
	ep, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		out.Close()
		g.udp.free()
		return
	}
	in := gonet.NewUDPConn(&queue, ep)
	if !n.spawn(func() {
		defer n.udp.begin()()
		defer g.udp.free()
		exchange(g.ctx, in, out)
	}) {
		in.Close()
		out.Close()
		g.udp.free()
	}
}

// exchange passes datagrams both ways until none has come for datagramIdle or ctx is done. It closes both.
func exchange(ctx context.Context, a, b net.Conn) {
	var last atomic.Int64
	begin := time.Now()
	cut := sync.OnceFunc(func() {
		a.Close()
		b.Close()
	})
	stop := whenDone(ctx, cut)
	touch := func() { last.Store(int64(time.Since(begin))) }
	var back sync.WaitGroup
	back.Go(func() {
		defer cut()
		passDatagrams(b, a, touch, nil)
	})
	passDatagrams(a, b, touch, func() time.Duration { return datagramIdle - (time.Since(begin) - time.Duration(last.Load())) })
	cut()
	back.Wait()
	stop()
}

// passDatagrams copies datagrams until reading ends, or until left says that no time is left.
func passDatagrams(to, from net.Conn, touch func(), left func() time.Duration) {
	b := make([]byte, maxDatagram)
	for {
		if left != nil {
			d := left()
			if d <= 0 {
				return
			}
			from.SetReadDeadline(time.Now().Add(d))
		}
		n, err := from.Read(b)
		switch {
		case err == nil:
			touch()
			to.Write(b[:n]) // what cannot be sent is lost, as datagrams are
		case isTimeout(err) && left != nil, errors.Is(err, syscall.ECONNREFUSED):
		default:
			return
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
