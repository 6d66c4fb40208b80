// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nic is the one interface of a gateway's stack.
const nic tcpip.NICID = 1

// newStack makes the gateway's TCP/IP stack on a link.
func newStack(info Info, link stack.LinkEndpoint) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := setUp(s, info, link); err != nil {
		s.Destroy()
		return nil, errors.New(err.String())
	}
	return s, nil
}

func setUp(s *stack.Stack, info Info, link stack.LinkEndpoint) tcpip.Error {
	if err := s.CreateNIC(nic, link); err != nil {
		return err
	}
	address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: toGvisor(info.Gateway).WithPrefix()}
	if err := s.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return err
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return err
	}
	// Packets to any address are the stack's, and it answers in the name of any: that is how guests are led outside.
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return err
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return err
	}
	subnet := tcpip.AddressWithPrefix{Address: toGvisor(info.Subnet.Addr()), PrefixLen: info.Subnet.Bits()}.Subnet()
	s.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}})
	return nil
}

// closeStack ends a stack and all its endpoints. An endpoint that is made while it looks is ended by its
// maker, whose context is done; so are those of work, for which it waits.
func closeStack(s *stack.Stack, work *sync.WaitGroup) {
	abort := func() {
		for _, e := range s.RegisteredEndpoints() {
			e.Abort()
		}
		for _, e := range s.CleanupEndpoints() { // closed, and waiting for an answer or for time
			e.Abort()
		}
	}
	done := make(chan struct{})
	go func() {
		work.Wait()
		close(done)
	}()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		abort()
		select {
		case <-done:
			abort()
			s.Destroy()
			return
		case <-time.After(wait): // a handshake that began meanwhile
		}
	}
}

func toGvisor(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

func fromGvisor(a tcpip.Address) netip.Addr {
	if a.Len() != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4(a.As4())
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: toGvisor(a.Addr()), Port: a.Port()}
}
