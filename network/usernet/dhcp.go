// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	leaseTime      = time.Hour
)

// serveDHCP starts the DHCP server.
func (n *Network) serveDHCP() error {
	var queue waiter.Queue
	ep, failed := n.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if failed != nil {
		return errors.New(failed.String())
	}
	ep.SocketOptions().SetBroadcast(true)
	if failed := ep.Bind(tcpip.FullAddress{NIC: nic, Port: dhcpServerPort}); failed != nil {
		ep.Close()
		return errors.New(failed.String())
	}
	conn := gonet.NewUDPConn(&queue, ep)
	n.addService(conn)
	n.spawn(func() {
		b := make([]byte, n.info.MTU)
		for {
			size, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, to := n.answerDHCP(b[:size], from.(*net.UDPAddr).AddrPort()); reply != nil {
				conn.WriteTo(reply.ToBytes(), net.UDPAddrFromAddrPort(to))
			}
		}
	})
	return nil
}

// answerDHCP returns the reply to a packet and where it goes, or nil.
func (n *Network) answerDHCP(packet []byte, from netip.AddrPort) (*dhcpv4.DHCPv4, netip.AddrPort) {
	m, err := dhcpv4.FromBytes(packet)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != len(hwaddr{}) || m.GatewayIPAddr != nil && !m.GatewayIPAddr.IsUnspecified() {
		return nil, netip.AddrPort{}
	}
	mac := hwaddr(m.ClientHWAddr)
	p := n.fabric.at(mac) // the switch saw the request come from there, unless it speaks for another
	if p == nil {
		return nil, netip.AddrPort{}
	}
	address, ok := p.guest.addressOf(mac)
	if !ok {
		return nil, netip.AddrPort{}
	}
	server := m.ServerIdentifier()
	if server != nil && !server.IsUnspecified() && !server.Equal(n.info.Gateway.AsSlice()) {
		return nil, netip.AddrPort{} // it is for another server
	}
	kind, leased := dhcpv4.MessageTypeNone, true
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		if !asksFor(m, address) {
			kind = dhcpv4.MessageTypeNak
		}
	case dhcpv4.MessageTypeInform:
		kind, leased = dhcpv4.MessageTypeAck, false
	default: // releases and refusals change nothing: the address is the guest's while it is attached
		return nil, netip.AddrPort{}
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(n.info.Gateway.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(n.info.Gateway.AsSlice())))
	if err != nil {
		return nil, netip.AddrPort{}
	}
	to := netip.AddrPortFrom(allHosts, dhcpClientPort)
	if kind == dhcpv4.MessageTypeNak {
		return reply, to
	}
	if leased {
		reply.YourIPAddr = address.AsSlice()
		reply.UpdateOption(dhcpv4.OptIPAddressLeaseTime(leaseTime))
	}
	n.addOptions(reply)
	if m.ClientIPAddr != nil && m.ClientIPAddr.Equal(address.AsSlice()) && from.Addr() == address {
		to = netip.AddrPortFrom(address, dhcpClientPort)
		reply.ClientIPAddr = m.ClientIPAddr
	}
	return reply, to
}

// asksFor reports whether a request is for an address.
func asksFor(m *dhcpv4.DHCPv4, a netip.Addr) bool {
	asked := m.RequestedIPAddress()
	if asked == nil || asked.IsUnspecified() {
		asked = m.ClientIPAddr
	}
	return asked.Equal(a.AsSlice())
}

// addOptions says what the network is like. There is no router where there is no way out.
func (n *Network) addOptions(m *dhcpv4.DHCPv4) {
	m.UpdateOption(dhcpv4.OptSubnetMask(n.info.Mask()))
	m.UpdateOption(dhcpv4.OptBroadcastAddress(n.info.Last.Next().AsSlice()))
	m.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(n.info.MTU)})
	if n.config.Outside {
		m.UpdateOption(dhcpv4.OptRouter(n.info.Gateway.AsSlice()))
	}
	if n.info.DNS.IsValid() {
		m.UpdateOption(dhcpv4.OptDNS(n.info.DNS.AsSlice()))
	}
}
