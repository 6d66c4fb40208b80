// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxDialing is how many connections of a network may be on the way to be made.
	maxDialing = 512
	// dialTimeout is how long a connection outside may take to be made.
	dialTimeout = 30 * time.Second
	// keepAlive is after how long an idle connection's guest is asked whether it has it still.
	keepAlive  = 2 * time.Minute
	copyBuffer = 32 << 10
)

// handleTCP makes guests' connections to others than the gateway's own services.
func (n *Network) handleTCP() {
	forwarder := tcp.NewForwarder(n.stack, 0, maxDialing, n.forwardTCP)
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		if _, to := ends(id); !n.allowed(&n.tcp, to) {
			return false // the stack answers with a reset
		}
		return forwarder.HandlePacket(id, pkt)
	})
}

func (n *Network) allowed(c *flowCount, to netip.AddrPort) bool {
	_, ok := n.route(to)
	if !ok {
		c.refused.Add(1)
	}
	return ok
}

// forwardTCP makes one connection. The forwarder runs it in a goroutine.
func (n *Network) forwardTCP(r *tcp.ForwarderRequest) {
	from, to := ends(r.ID())
	target, _ := n.route(to)
	g := n.owner(from.Addr())
	if g == nil || !n.enter() {
		r.Complete(false)
		return
	}
	defer n.leave()
	if !g.tcp.take() {
		n.tcp.refused.Add(1)
		r.Complete(true)
		return
	}
	defer g.tcp.free()
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	out, err := n.config.Dial(ctx, "tcp", target.String())
	cancel()
	if err != nil {
		n.tcp.refused.Add(1)
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	ep, failed := r.CreateEndpoint(&queue)
	r.Complete(false)
	if failed != nil {
		out.Close()
		return
	}
	defer n.tcp.begin()()
	ep.SocketOptions().SetKeepAlive(true)
	idle := tcpip.KeepaliveIdleOption(keepAlive)
	ep.SetSockOpt(&idle)
	splice(g.ctx, guestEnd{gonet.NewTCPConn(&queue, ep), ep}, out)
}

// guestEnd is a connection's end in the gateway's stack, and its endpoint, which alone can end it at once.
type guestEnd struct {
	*gonet.TCPConn
	ep tcpip.Endpoint
}

// splice passes bytes both ways between a guest and the host's side until both have ended or ctx is done. It closes both.
func splice(ctx context.Context, in guestEnd, out net.Conn) {
	cut := sync.OnceFunc(func() {
		in.ep.Abort()
		out.Close()
	})
	stop := whenDone(ctx, cut)
	var back sync.WaitGroup
	back.Go(func() { pass(in, out, cut) })
	pass(out, in, cut)
	back.Wait()
	stop()
	in.Close()
	out.Close()
}

var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// pass copies until the end of from, which is then also the end of what to is sent; or else cuts both.
func pass(to, from net.Conn, cut func()) {
	b := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(b)
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, b[:])
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		cut()
	}
}
