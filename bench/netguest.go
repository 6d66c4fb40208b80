// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/switchboard-ipc/switchboard"
)

// netGuest is a guest without a machine: a TCP/IP stack on a stream descriptor, which sends frames as QEMU does, each after its length and by
// one call.
type netGuest struct {
	ip     netip.Addr
	conn   net.Conn
	stack  *stack.Stack
	link   *channel.Endpoint
	cancel context.CancelFunc
	work   sync.WaitGroup
}

const guestNIC = 1

// newNetGuest makes a guest, which has the connection from then on.
func newNetGuest(conn net.Conn, mac net.HardwareAddr, at netip.Prefix, mtu int) (*netGuest, error) {
	g := &netGuest{ip: at.Addr(), conn: conn, link: channel.New(1024, uint32(mtu+header.EthernetMinimumSize), tcpip.LinkAddress(mac))}
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.work.Go(func() { g.send(ctx) })
	g.work.Go(g.receive)
	if err := g.configure(at); err != nil {
		g.close()
		return nil, fmt.Errorf("cannot make a guest's stack: %s", err)
	}
	return g, nil
}

func (g *netGuest) configure(at netip.Prefix) tcpip.Error {
	if err := g.stack.CreateNIC(guestNIC, ethernet.New(g.link)); err != nil {
		return err
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return err
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(at.Addr().As4()), PrefixLen: at.Bits()}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: address.Subnet(), NIC: guestNIC}})
	return g.stack.AddProtocolAddress(guestNIC, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{})
}

// acquireGuest makes a guest on a network of ours; closing the lease ends it, too.
func acquireGuest(ctx context.Context, c *switchboard.Client, network, id string) (*netGuest, *switchboard.Lease, error) {
	lease, err := c.Acquire(ctx, network, switchboard.AcquireID(id))
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.FileConn(lease.Interface)
	if err == nil {
		var g *netGuest
		if g, err = newNetGuest(conn, lease.MAC, netip.PrefixFrom(lease.IP, lease.Subnet.Bits()), lease.MTU); err == nil {
			return g, lease, nil
		}
	}
	lease.Close()
	return nil, nil, err
}

func (g *netGuest) send(ctx context.Context) {
	var b []byte
	for {
		pkt := g.link.ReadContext(ctx)
		if pkt == nil {
			return
		}
		b = binary.BigEndian.AppendUint32(b[:0], uint32(pkt.Size()))
		for _, part := range pkt.AsSlices() {
			b = append(b, part...)
		}
		pkt.DecRef()
		if _, err := g.conn.Write(b); err != nil {
			return
		}
	}
}

func (g *netGuest) receive() {
	in := bufio.NewReaderSize(g.conn, 1<<17)
	var size [4]byte
	for {
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
		g.link.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

// close ends the guest, and whoever waits at its connections.
func (g *netGuest) close() {
	g.cancel()
	g.conn.Close()
	g.work.Wait()
	g.stack.Destroy()
}

func (g *netGuest) full(port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: guestNIC, Addr: tcpip.AddrFrom4(g.ip.As4()), Port: port}
}

// connection connects two guests by TCP.
func connection(ctx context.Context, from, to *netGuest, port uint16) (client, server net.Conn, err error) {
	l, err := gonet.ListenTCP(to.stack, to.full(port), ipv4.ProtocolNumber)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if client, err = gonet.DialContextTCP(ctx, from.stack, to.full(port), ipv4.ProtocolNumber); err != nil {
		return nil, nil, fmt.Errorf("cannot connect two guests: %w", err)
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = l.Accept()
		accepted <- err
	}()
	select {
	case err = <-accepted:
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), l.Close(), <-accepted)
	}
	return client, server, err
}
