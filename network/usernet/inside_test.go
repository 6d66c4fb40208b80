// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/network/config"
)

func TestMAC(t *testing.T) {
	t.Parallel()
	if got := MAC("vm1").String(); got != "fa:31:ee:59:ff:4d" { // it must never change
		t.Error(got)
	}
	seen := make(map[string]bool)
	for i := range 10000 {
		m := MAC(fmt.Sprint(i))
		if len(m) != 6 || m[0]&1 != 0 || m[0]&2 == 0 || seen[m.String()] {
			t.Fatalf("%d: %s", i, m)
		}
		seen[m.String()] = true
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	subnet := netip.MustParsePrefix("192.168.77.0/24")
	for _, test := range []struct {
		outside, host bool
		to, want      string
	}{
		{true, true, "192.168.77.1:80", "127.0.0.1:80"},
		{true, false, "192.168.77.1:80", ""},
		{false, true, "192.168.77.1:80", "127.0.0.1:80"},
		{false, false, "192.168.77.1:80", ""},
		{true, true, "203.0.113.9:80", "203.0.113.9:80"},
		{true, true, "10.0.0.9:80", "10.0.0.9:80"},
		{false, true, "203.0.113.9:80", ""},
		{true, true, "127.0.0.1:80", ""},
		{true, true, "127.9.9.9:80", ""},
		{true, true, "0.0.0.0:80", ""},
		{true, true, "0.1.2.3:80", ""},
		{true, true, "169.254.169.254:80", ""},
		{true, true, "224.0.0.1:80", ""},
		{true, true, "255.255.255.255:80", ""},
		{true, true, "192.168.77.9:80", ""},
		{true, true, "192.168.77.255:80", ""},
	} {
		n := &Network{config: Config{Outside: test.outside, HostAccess: test.host, Subnet: subnet}}
		n.info = n.config.info()
		got, ok := n.route(netip.MustParseAddrPort(test.to))
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("%+v: %v, %v", test, got, ok)
		}
	}
}

func poolOf(subnet string, reservations ...config.Reservation) *pool {
	c := Config{Subnet: netip.MustParsePrefix(subnet)}
	return newPool(c.info(), reservations)
}

func TestPool(t *testing.T) {
	t.Parallel()
	p := poolOf("10.0.0.0/29", config.Reservation{MAC: [6]byte{2, 9}, Address: netip.MustParseAddr("10.0.0.6")})
	take := func(p *pool, mac byte, want string) (netip.Addr, error) {
		a := netip.Addr{}
		if want != "" {
			a = netip.MustParseAddr(want)
		}
		return p.take(hwaddr{2, mac}, a)
	}
	var got []netip.Addr
	for mac := range byte(4) { // 2 to 5; 6 is reserved
		a, err := take(p, mac, "")
		if err != nil || a.As4()[3] < 2 || a.As4()[3] > 5 {
			t.Fatal(a, err)
		}
		got = append(got, a)
	}
	if _, err := take(p, 4, ""); !errors.Is(err, ErrNoAddress) {
		t.Error(err)
	}
	if _, err := take(p, 4, "10.0.0.6"); !errors.Is(err, ErrAddressInUse) {
		t.Error(err)
	}
	for _, a := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.1.2", "9.9.9.9", "fd00::2"} {
		if _, err := take(p, 4, a); !errors.Is(err, ErrNotHere) {
			t.Error(a, err)
		}
	}
	if a, err := take(p, 9, ""); err != nil || a.String() != "10.0.0.6" {
		t.Error(a, err)
	}
	p.release(got[1])
	p.release(got[2])
	for mac := byte(2); mac > 0; mac-- { // whoever had it gets it
		if a, err := take(p, mac, ""); err != nil || a != got[mac] {
			t.Error(a, err, got)
		}
	}
	p.release(got[1])
	if a, err := take(p, 5, ""); err != nil || a != got[1] { // nothing else is left
		t.Error(a, err)
	}
	if _, err := take(p, 1, ""); !errors.Is(err, ErrNoAddress) {
		t.Error(err)
	}
	// In a network made anew a MAC gets the same, if nobody is in the way.
	a, _ := take(poolOf("10.0.0.0/16"), 1, "")
	b, _ := take(poolOf("10.0.0.0/16"), 1, "")
	if a != b {
		t.Error(a, b)
	}
	// What is remembered has a limit.
	p = poolOf("10.0.0.0/16")
	for i := range maxRemembered + 100 {
		a, err := p.take(hwaddr{2, 0, byte(i >> 8), byte(i)}, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		p.release(a)
	}
	if len(p.remembered) != maxRemembered || len(p.had) != maxRemembered || len(p.taken) != 0 {
		t.Error(len(p.remembered), len(p.had), len(p.taken))
	}
}

func TestPickSubnet(t *testing.T) {
	t.Parallel()
	var used []netip.Prefix
	for i := range 600 {
		p, err := pickSubnet(i%2 == 0, used)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range used {
			if u.Overlaps(p) {
				t.Fatalf("%s and %s", u, p)
			}
		}
		if i == 0 && p.String() != "192.168.64.0/24" || i == 1 && p.String() != "192.168.128.0/24" || !p.Addr().IsPrivate() {
			t.Errorf("%d: %s", i, p)
		}
		used = append(used, p)
	}
	if p, err := pickSubnet(true, []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("10.0.0.0/8")}); err != nil || p.String() != "172.20.0.0/24" {
		t.Error(p, err)
	}
	if _, err := pickSubnet(true, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}); err == nil {
		t.Error("a subnet was found where none is free")
	}
}

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	const routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t0040A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"eth0\tbroken\n"
	if got := fmt.Sprint(parseRoutes(strings.NewReader(routes))); toNative() && got != "[192.168.64.0/24]" {
		t.Error(got)
	}
	if _, err := HostPrefixes(); err != nil {
		t.Error(err)
	}
}

// toNative reports whether the table in the test is in this machine's order.
func toNative() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

func TestConfigOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mode = 'shared'": "",
		"mode = 'host'\nnat44 = false\nnat66 = false\nrouter_advertisement = false": "",
		"mode = 'shared'\nnat44 = false":                                            "x.toml:2: the user driver reaches the outside by address translation only",
		"mode = 'shared'\n\nnat66 = true":                                           "x.toml:3: the user driver has no IPv6",
		"router_advertisement = true\nmode = 'host'":                                "x.toml:1: the user driver has no IPv6",
		"mode = 'host'\nipv6_prefix = 'fd00::'":                                     "x.toml:2: the user driver has no IPv6",
		"mode = 'shared'\nexternal_interface = 'eth0'":                              "x.toml:2: the user driver goes out as the host's programs do",
	} {
		n, err := config.Parse("x.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ConfigOf(n)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (c.Outside != (n.Mode == config.Shared) || c.HostAccess != c.Outside) {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range []Config{
		{MTU: 100}, {MTU: 70000}, {Subnet: netip.MustParsePrefix("10.0.0.0/31")}, {Subnet: netip.MustParsePrefix("fd00::/64")},
		{Subnet: netip.MustParsePrefix("10.0.0.0/24"), Taken: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Forwards: []config.Forward{{Protocol: "icmp"}}, Subnet: netip.MustParsePrefix("10.0.0.0/24")},
	} {
		if n, err := New(c); err == nil {
			n.Close()
			t.Errorf("%+v", c)
		}
	}
}

// A frame whose sender or size is not right is counted and goes nowhere.
func TestSwitchRefuses(t *testing.T) {
	t.Parallel()
	n, err := New(Config{Name: "t", Subnet: netip.MustParsePrefix("10.0.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var ports []*port
	for _, id := range []string{"a", "b"} {
		g, end, err := n.Connect(Seqpacket, GuestConfig{MAC: MAC(id)})
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		ports = append(ports, g.port)
	}
	a, b := ports[0], ports[1]
	frame := func(to, from net.HardwareAddr, size int) []byte {
		return append(append(append([]byte{}, to...), from...), make([]byte, size-12)...)
	}
	gateway := n.Info().GatewayMAC
	for i, f := range [][]byte{
		nil, frame(MAC("b"), MAC("a"), 13), frame(MAC("b"), MAC("a"), 1519), // sizes
		frame(MAC("b"), MAC("b"), 60), frame(MAC("b"), gateway, 60), frame(MAC("b"), net.HardwareAddr{3, 0, 0, 0, 0, 0}, 60), // senders
		frame(gateway, MAC("a"), 12), // completed below
	} {
		before := a.refused.Load()
		if i == 6 { // a packet under the other's address
			f = append(f[:12], 8, 0)
			ip := make([]byte, 20)
			other := b.guest.IP().As4()
			copy(ip[12:], other[:])
			f = append(f, ip...)
		}
		n.fabric.fromGuest(a, f)
		if a.refused.Load() != before+1 {
			t.Errorf("frame %d was not refused", i)
		}
	}
	if b.framesOut.Load() != 0 {
		t.Error("a frame that is refused arrived")
	}
	for i := range maxLearned + 1 {
		before := a.refused.Load()
		n.fabric.fromGuest(a, frame(MAC("b"), MAC(fmt.Sprint("inner", i)), 60))
		if refused := a.refused.Load() != before; refused != (i == maxLearned) {
			t.Errorf("address %d of a guest: refused: %v", i, refused)
		}
	}
	if b.framesOut.Load() != maxLearned {
		t.Errorf("%d frames arrived", b.framesOut.Load())
	}
	for _, m := range []net.HardwareAddr{MAC("a"), gateway, nil, {1, 0, 0, 0, 0, 0}} {
		if _, _, err := n.Connect(Stream, GuestConfig{MAC: m}); err == nil {
			t.Errorf("a guest got the MAC %s", m)
		}
	}
	// An address that was only learned goes to the guest whose own it is.
	g, end, err := n.Connect(Stream, GuestConfig{MAC: MAC("inner1")})
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	<-g.Done()
}
