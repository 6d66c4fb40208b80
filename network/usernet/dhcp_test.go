// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
)

func TestDHCP(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			n := newNetwork(t, nil)
			m := newMachine(t, n, kind, "a")
			info := n.Info()
			l := m.lease
			if got, _ := netip.AddrFromSlice(l.YourIPAddr.To4()); got != m.IP() || !info.Subnet.Contains(got) {
				t.Errorf("address %v, want %v", l.YourIPAddr, m.IP())
			}
			mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, l.Options)
			if l.SubnetMask().String() != info.Mask().String() || len(l.Router()) != 1 || !l.Router()[0].Equal(info.Gateway.AsSlice()) ||
				len(l.DNS()) != 1 || !l.DNS()[0].Equal(info.DNS.AsSlice()) || err != nil || int(mtu) != info.MTU {
				t.Errorf("%s", l.Summary())
			}
		})
	}
}

func TestDHCPReservation(t *testing.T) {
	mac, want := usernet.MAC("reserved"), netip.MustParseAddr("192.168.77.10")
	n := newNetwork(t, func(c *usernet.Config) { c.Reservations = []config.Reservation{{MAC: [6]byte(mac), Address: want}} })
	if m := newMachine(t, n, usernet.Stream, "reserved"); m.IP() != want || !m.lease.YourIPAddr.Equal(want.AsSlice()) {
		t.Errorf("got %v and %v, want %v", m.IP(), m.lease.YourIPAddr, want)
	}
	if _, _, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("other"), IP: want}); err == nil {
		t.Error("another guest got a reserved address")
	}
}

// A request for another address is refused, one for another server ignored; an address is renewed with the server alone.
func TestDHCPRefusal(t *testing.T) {
	n := newNetwork(t, nil)
	g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a")})
	if err != nil {
		t.Fatal(err)
	}
	w := openWire(t, end, usernet.Stream)
	wrong, _ := dhcpv4.New(dhcpv4.WithHwAddr(g.MAC()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 77, 1))))
	if reply := askDHCP(t, w, wrong); reply.MessageType() != dhcpv4.MessageTypeNak || !reply.YourIPAddr.IsUnspecified() {
		t.Errorf("got %s", reply.Summary())
	}
	right, _ := dhcpv4.New(dhcpv4.WithHwAddr(g.MAC()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(g.IP().AsSlice())))
	if reply := askDHCP(t, w, right); reply.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("got %s", reply.Summary())
	}
	inform, _ := dhcpv4.New(dhcpv4.WithHwAddr(g.MAC()), dhcpv4.WithMessageType(dhcpv4.MessageTypeInform))
	if reply := askDHCP(t, w, inform); reply.MessageType() != dhcpv4.MessageTypeAck || !reply.YourIPAddr.IsUnspecified() || len(reply.DNS()) != 1 {
		t.Errorf("got %s", reply.Summary())
	}
	m := newMachine(t, n, usernet.Datagram, "b")
	renewal, _ := dhcpv4.New(dhcpv4.WithHwAddr(m.MAC()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(m.IP().AsSlice()))
	local, remote := full(m.at(68)), full(netip.AddrPortFrom(n.Info().Gateway, 67))
	c, err := gonet.DialUDP(m.stack, &local, &remote, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(renewal.ToBytes())
	b := make([]byte, 1500)
	k, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := dhcpv4.FromBytes(b[:k]); err != nil || reply.MessageType() != dhcpv4.MessageTypeAck || !reply.YourIPAddr.Equal(m.IP().AsSlice()) {
		t.Errorf("%v, %v", reply, err)
	}
	elsewhere, _ := dhcpv4.New(dhcpv4.WithHwAddr(m.MAC()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 77, 2))), dhcpv4.WithClientIP(m.IP().AsSlice()))
	c.Write(elsewhere.ToBytes())
	c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Read(b); err == nil {
		t.Error("a request to another server was answered")
	}
}

// Another MAC address of a guest's, such as one of a machine in it, gets an address that the guest's end frees.
func TestDHCPSecondMAC(t *testing.T) {
	n := newNetwork(t, nil)
	g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a")})
	if err != nil {
		t.Fatal(err)
	}
	w := openWire(t, end, usernet.Stream)
	inner, ok := netip.AddrFromSlice(lease(t, w, usernet.MAC("inner")).YourIPAddr.To4())
	if !ok || inner == g.IP() {
		t.Fatalf("the address is %v", inner)
	}
	if _, _, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("b"), IP: inner}); err == nil {
		t.Error("the address was given away")
	}
	g.Close()
	b, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("inner"), IP: inner})
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	b.Close()
}
