// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var (
	hostLoopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	allHosts     = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	reservedEnd  = netip.MustParsePrefix("240.0.0.0/4")
	thisNetwork  = netip.MustParsePrefix("0.0.0.0/8")
)

// route says where packets to an address and port really go, or that they go nowhere.
func (n *Network) route(to netip.AddrPort) (netip.AddrPort, bool) {
	a := to.Addr()
	switch {
	case a == n.info.Gateway:
		return netip.AddrPortFrom(hostLoopback, to.Port()), n.config.HostAccess
	case !n.config.Outside, !a.Is4(), n.info.Subnet.Contains(a), // who is in the subnet is reached by the switch
		a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(), thisNetwork.Contains(a), reservedEnd.Contains(a):
		return netip.AddrPort{}, false
	}
	return to, true
}

// isGroup reports whether an address is that of many; what is sent there is not answered.
func (n *Network) isGroup(a netip.Addr) bool {
	return a == allHosts || a.IsMulticast() || a == n.info.Last.Next()
}

// ends returns a packet's two sides: the guest's, and where it wanted to.
func ends(id stack.TransportEndpointID) (from, to netip.AddrPort) {
	return netip.AddrPortFrom(fromGvisor(id.RemoteAddress), id.RemotePort), netip.AddrPortFrom(fromGvisor(id.LocalAddress), id.LocalPort)
}
