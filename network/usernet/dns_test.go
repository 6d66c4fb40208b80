// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// nameServer is a server on this machine's loopback that knows one name; the resolver asks it alone.
func nameServer(t *testing.T, answer netip.Addr) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || !answer.IsValid() {
				continue // a server that does not answer
			}
			m.Response = true
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA && q.Name.String() == "there.example." {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type},
					Body:   &dnsmessage.AResource{A: answer.As4()},
				}}
			}
			m.Additionals = nil
			reply, _ := m.Pack()
			c.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func ask(t *testing.T, c net.Conn, stream bool, name string) (dnsmessage.RCode, []netip.Addr) {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	question, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 512)
	if stream {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...))
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			t.Fatal(err)
		}
		b = b[:binary.BigEndian.Uint16(b)]
		_, err = io.ReadFull(c, b)
	} else {
		c.Write(question)
		var n int
		n, err = c.Read(b)
		b = b[:n]
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unpack(b); err != nil || m.ID != 7 {
		t.Fatal(m.ID, err)
	}
	var all []netip.Addr
	for _, a := range m.Answers {
		if a, ok := a.Body.(*dnsmessage.AResource); ok {
			all = append(all, netip.AddrFrom4(a.A))
		}
	}
	return m.RCode, all
}

func TestDNS(t *testing.T) {
	there := netip.MustParseAddr("203.0.113.9")
	for _, outside := range []bool{true, false} {
		n := newNetwork(t, func(c *usernet.Config) { c.Outside, c.Resolver = outside, nameServer(t, there) })
		m := newMachine(t, n, usernet.Stream, "a")
		at := netip.AddrPortFrom(n.Info().DNS, 53)
		for _, stream := range []bool{false, true} {
			c := m.dialUDP(t, at)
			if stream { // not before it is used: the server closes one that asks nothing for two seconds
				var err error
				if c, err = m.dial(t, at); err != nil {
					t.Fatal(err)
				}
			}
			if code, got := ask(t, c, stream, "gateway.switchboard.internal."); code != 0 || len(got) != 1 || got[0] != n.Info().Gateway {
				t.Errorf("the gateway's name: %v, %v", code, got)
			}
			code, got := ask(t, c, stream, "there.example.")
			if outside && (code != 0 || len(got) != 1 || got[0] != there) || !outside && code != dnsmessage.RCodeNameError {
				t.Errorf("a name outside: %v, %v", code, got)
			}
			if code, got := ask(t, c, stream, "nowhere.example."); code != dnsmessage.RCodeNameError {
				t.Errorf("a name that nobody has: %v, %v", code, got)
			}
			c.Close()
		}
	}
}

// A question that is not answered does not hold a network's end up.
func TestDNSClose(t *testing.T) {
	n := newNetwork(t, func(c *usernet.Config) { c.Resolver = nameServer(t, netip.Addr{}) })
	m := newMachine(t, n, usernet.Stream, "a")
	c := m.dialUDP(t, netip.AddrPortFrom(n.Info().DNS, 53))
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("x.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	question, _ := q.Pack()
	for range 10 {
		c.Write(question)
	}
	begin := time.Now()
	n.Close()
	if d := time.Since(begin); d > 8*time.Second { // a question may take ten
		t.Errorf("Close took %v", d)
	}
}

func TestNoServices(t *testing.T) {
	n := newNetwork(t, func(c *usernet.Config) { c.NoDHCP, c.NoDNS, c.HostAccess = true, true, false })
	if n.Info().DNS.IsValid() {
		t.Errorf("%+v", n.Info())
	}
	g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a")})
	if err != nil {
		t.Fatal(err)
	}
	w := openWire(t, end, usernet.Stream)
	w.send(udpFrame(g.MAC(), everybody, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), make([]byte, 300)))
	w.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if frame, err := w.receive(); err == nil {
		t.Errorf("%d bytes came back", len(frame))
	}
}
