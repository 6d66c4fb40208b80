// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// guest is a TCP/IP stack at the descriptor of a lease, of the kind stream.
type guest struct {
	ip    netip.Addr
	conn  net.Conn
	mu    sync.Mutex // held by who sends
	stack *stack.Stack
}

// DeliverNetworkPacket sends what the stack sends.
func (g *guest) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	frame := pkt.ToView().AsSlice()
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = g.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
}

func newGuest(t testing.TB, a acquired) *guest {
	t.Helper()
	f := os.NewFile(uintptr(a.fd.Take()), "guest")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{ip: netip.MustParseAddr(a.IP), conn: conn}
	link, err := tap.NewLinkEndpoint(false, uint32(a.MTU), a.MAC, a.IP, nil)
	if err != nil {
		t.Fatal(err)
	}
	link.Connect(g)
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := g.stack.CreateNIC(1, link); err != nil {
		t.Fatal(err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(g.ip.As4()), PrefixLen: 24}
	protocol := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}
	if err := g.stack.AddProtocolAddress(1, protocol, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: address.Subnet(), NIC: 1},
		{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFrom4(netip.MustParseAddr(a.Gateway).As4()), NIC: 1},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.read(link)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
		for _, e := range g.stack.CleanupEndpoints() {
			e.Abort()
		}
		g.stack.Destroy()
	})
	return g
}

// read passes what comes to the stack.
func (g *guest) read(link *tap.LinkEndpoint) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(g.conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(g.conn, frame); err != nil {
			return
		}
		if len(frame) < header.EthernetMinimumSize {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[header.EthernetMinimumSize:])})
		link.DeliverNetworkPacket(header.Ethernet(frame).Type(), pkt)
		pkt.DecRef()
	}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func (g *guest) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return gonet.DialContextTCP(ctx, g.stack, full(to), ipv4.ProtocolNumber)
}

// echo answers each connection to a port with what comes on it.
func (g *guest) echo(t testing.TB, port uint16) {
	t.Helper()
	l, err := gonet.ListenTCP(g.stack, full(netip.AddrPortFrom(g.ip, port)), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
}
