// SPDX-License-Identifier: Apache-2.0

// Package usernet makes virtual networks that need no privilege: all of a network
// is in this process, and a guest is the other end of a Unix socket.
//
//	n, err := usernet.New(usernet.Config{Name: "shared", Outside: true, HostAccess: true})
//	guest, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("vm1")})
//	// end is for qemu-system -netdev stream,addr.type=fd,addr.str=…; guest.IP() is what DHCP will say
//	conn, err := n.Dial(ctx, "tcp", netip.AddrPortFrom(guest.IP(), 22))
//	guest.Close()
//	n.Close()
//
// A network is a switch, to which guests are attached, and a gateway: a TCP/IP stack
// (gVisor's) at the second address of the subnet, with DHCP, DNS, and the way out. It stands on
// gvisor-tap-vsock's link endpoint and DNS service. The other parts of that module keep goroutines and
// descriptors after their network is gone, let one guest that does not read stop all others, or always
// offer a router, so the switch, the DHCP server and the forwarders are this package's.
//
// # Who reaches whom
//
// Guests reach each other by any protocol over Ethernet. A frame whose source is the address of another guest or of
// the gateway is dropped, as is a packet to the gateway whose source address is another guest's.
//
// With Config.Outside, a TCP connection or UDP datagram to an address outside of the subnet is made anew by this process, from the
// host's own sockets. Loopback, link-local, group and broadcast addresses are refused. With Config.HostAccess, the gateway's address
// stands for the host's 127.0.0.1. What is refused is answered as a host without such a port does: a reset, or
// "port unreachable".
//
// The host reaches guests by [Network.Dial] and [Network.Forward]; they see the gateway's address.
//
// # What it does not do
//
// IPv6 and ICMP end at the gateway, which itself answers a ping of any address. Frames of IPv6 pass between guests.
package usernet
