// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
)

var kinds = []usernet.Kind{usernet.Stream, usernet.Seqpacket, usernet.Datagram}

func TestGuests(t *testing.T) {
	for i, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			n := newNetwork(t, func(c *usernet.Config) { c.Outside, c.HostAccess = false, false })
			a, b := newMachine(t, n, kind, "a"), newMachine(t, n, kinds[(i+1)%len(kinds)], "b")
			b.serveTCP(t, 80)
			b.serveUDP(t, 53)
			c, err := a.dial(t, b.at(80))
			if err != nil {
				t.Fatal(err)
			}
			checkStream(t, c)
			checkDatagram(t, a.dialUDP(t, b.at(53)), 1000)
			checkDatagram(t, a.dialUDP(t, b.at(53)), 10000) // in fragments
			s := n.Stats()
			if s.Guests != 2 || s.BytesIn < 2<<20 || s.BytesOut < 2<<20 || s.FramesIn < 1000 || s.Refused != 0 || a.Traffic().BytesIn < 1<<20 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Large packets need larger buffers everywhere.
func TestLargeMTU(t *testing.T) {
	tcp, _ := onHost(t)
	for _, kind := range kinds {
		n := newNetwork(t, func(c *usernet.Config) { c.MTU = config.MaxMTU })
		a, b := newMachine(t, n, kind, "a"), newMachine(t, n, kind, "b")
		b.serveTCP(t, 80)
		b.serveUDP(t, 53)
		for _, to := range []netip.AddrPort{b.at(80), netip.AddrPortFrom(n.Info().Gateway, tcp)} {
			c, err := a.dial(t, to)
			if err != nil {
				t.Fatal(err)
			}
			checkStream(t, c)
		}
		checkDatagram(t, a.dialUDP(t, b.at(53)), config.MaxMTU-28)
	}
}

// A guest may give itself a free address; it is its own then, until its end.
func TestStaticAddress(t *testing.T) {
	tcp, _ := onHost(t)
	n := newNetwork(t, func(c *usernet.Config) { c.NoDHCP = true })
	own := netip.MustParseAddr("192.168.77.200")
	g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a"), IP: netip.MustParseAddr("192.168.77.9")})
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Guest: g, wire: openWire(t, end, usernet.Stream)}
	m.start(t, n.Info(), own)
	c, err := m.dial(t, netip.AddrPortFrom(n.Info().Gateway, tcp))
	if err != nil {
		t.Fatal(err)
	}
	checkStream(t, c)
	b := usernet.GuestConfig{MAC: usernet.MAC("b"), IP: own}
	if _, _, err := n.Connect(usernet.Stream, b); !errors.Is(err, usernet.ErrAddressInUse) {
		t.Errorf("another guest gets the address: %v", err)
	}
	g.Close()
	other, end, err := n.Connect(usernet.Stream, b)
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	other.Close()
}

// The gateway is the host, and there is a way out.
func TestOutside(t *testing.T) {
	tcp, udp := onHost(t)
	outside := netip.MustParseAddr("203.0.113.9")
	n := newNetwork(t, func(c *usernet.Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if to := netip.MustParseAddrPort(address); to.Addr() == outside {
				address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port()).String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	m := newMachine(t, n, usernet.Stream, "a")
	for _, to := range []netip.Addr{n.Info().Gateway, outside} {
		c, err := m.dial(t, netip.AddrPortFrom(to, tcp))
		if err != nil {
			t.Fatal(err)
		}
		checkStream(t, c)
		u := m.dialUDP(t, netip.AddrPortFrom(to, udp))
		checkDatagram(t, u, 1000)
		checkDatagram(t, u, 10000)
	}
	if s := n.Stats(); s.TCP.All != 2 || s.UDP.All != 2 || s.UDP.Now != 2 {
		t.Errorf("%+v", s)
	}
	if _, err := m.dial(t, netip.AddrPortFrom(outside, 1)); err == nil {
		t.Error("a connection to where nobody listens was made")
	}
	for _, to := range []string{"169.254.169.254", "240.0.0.1"} {
		if c, err := m.dial(t, netip.AddrPortFrom(netip.MustParseAddr(to), tcp)); err == nil {
			c.Close()
			t.Errorf("%s was reached", to)
		}
	}
}

// On a host network nothing is reached, by TCP or UDP, and nothing is asked to be: not outside, not the host by any of its addresses.
func TestHostMode(t *testing.T) {
	tcp, udp := onHost(t)
	n := newNetwork(t, func(c *usernet.Config) {
		c.Outside, c.HostAccess = false, false
		c.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
			t.Errorf("%s %s is dialled", network, address)
			return nil, net.ErrClosed
		}
	})
	m := newMachine(t, n, usernet.Stream, "a")
	if len(m.lease.Router()) != 0 {
		t.Errorf("a router is offered: %s", m.lease.Summary())
	}
	targets := []netip.Addr{n.Info().Gateway, netip.MustParseAddr("203.0.113.9")}
	all, err := usernet.HostPrefixes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if !p.Addr().IsLoopback() { // the guest's own stack would keep that to itself
			targets = append(targets, p.Addr().Next())
		}
	}
	for _, to := range targets {
		if c, err := m.dial(t, netip.AddrPortFrom(to, tcp)); err == nil {
			c.Close()
			t.Errorf("%s was reached by TCP", to)
		}
		u := m.dialUDP(t, netip.AddrPortFrom(to, udp))
		u.Write([]byte("x"))
		err := os.ErrDeadlineExceeded
		for deadline := time.Now().Add(patience); isTimeout(err) && time.Now().Before(deadline); { // an error does not wake this reader
			u.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err = u.Read(make([]byte, 10))
		}
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s by UDP: %v", to, err)
		}
	}
	if s := n.Stats(); s.TCP.All != 0 || s.UDP.All != 0 || s.TCP.Refused == 0 || s.UDP.Refused == 0 {
		t.Errorf("%+v", s)
	}
	// The same with the host let in, and no more than it.
	n2 := newNetwork(t, func(c *usernet.Config) { c.Outside = false })
	m2 := newMachine(t, n2, usernet.Stream, "a")
	c, err := m2.dial(t, netip.AddrPortFrom(n2.Info().Gateway, tcp))
	if err != nil {
		t.Fatal(err)
	}
	checkStream(t, c)
}

func TestDialAndForward(t *testing.T) {
	n := newNetwork(t, nil)
	m := newMachine(t, n, usernet.Stream, "a")
	m.serveTCP(t, 80)
	m.serveUDP(t, 53)
	ctx := testContext(t)
	c, err := n.Dial(ctx, "tcp", m.at(80))
	if err != nil {
		t.Fatal(err)
	}
	checkStream(t, c)
	u, err := n.Dial(ctx, "udp", m.at(53))
	if err != nil {
		t.Fatal(err)
	}
	checkDatagram(t, u, 500)
	u.Close()
	for _, to := range []string{"192.168.77.1:80", "10.0.0.1:80", "192.168.77.255:80", "192.168.77.9:0"} {
		if _, err := n.Dial(ctx, "tcp", netip.MustParseAddrPort(to)); err == nil {
			t.Errorf("%s was dialled", to)
		}
	}
	if _, err := n.Dial(ctx, "tcp", m.at(81)); err == nil {
		t.Error("a port where nobody listens was reached")
	}

	for _, protocol := range []string{"tcp", "udp"} {
		f, err := n.Forward(protocol, netip.MustParseAddrPort("127.0.0.1:0"), m.at(map[string]uint16{"tcp": 80, "udp": 53}[protocol]))
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial(protocol, f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		if protocol == "tcp" {
			checkStream(t, c)
		} else {
			checkDatagram(t, c, 500)
			checkDatagram(t, c, 5000)
			c.Close()
		}
		if len(n.Forwards()) != 1 {
			t.Errorf("forwards: %v", n.Forwards())
		}
		f.Close()
		if len(n.Forwards()) != 0 {
			t.Errorf("forwards: %v", n.Forwards())
		}
		if c, err := net.Dial("tcp", f.Addr().String()); err == nil {
			c.Close()
			t.Error("the forward is there still")
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
