// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/guesttest"
)

// TestGuests boots virtual machines as an ordinary user whom nobody has set anything up for: with acquire and QEMU's own command
// they get an address, reach the gateway, each other, and this machine where their network lets them; this machine reaches them; and when
// one is killed, its lease is gone.
func TestGuests(t *testing.T) {
	guesttest.Require(t)
	t.Parallel()
	l := newLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	at := []place{{"the gateway's address", serveOn(t, netip.MustParseAddr("127.0.0.1")), netip.Addr{}}}
	if a := outside(t); a.IsValid() {
		at = append(at, place{"an address outside", serveOn(t, a), a})
	} else {
		t.Log("SKIPPED: the way out to this machine's own address, as it has none but the loopback's")
	}

	one, two := l.boot(t, "shared", "one"), l.boot(t, "shared", "two")
	first, second := one.Ready(ctx), two.Ready(ctx)
	t.Logf("ready after %v and %v", first.Ready, second.Ready)
	held := l.leases(t, ctx)
	for id, n := range map[string]guesttest.Network{"one": first, "two": second} {
		if n.Address.Addr() != held[id].IP || held[id].Network != "shared" || !n.Address.Masked().Contains(n.Router) || n.Router != n.Server {
			t.Errorf("%s has %+v, and its lease says %+v", id, n, held[id])
		}
		if user := guesttest.Credential(); user != nil && held[id].UID != int(user.Uid) {
			t.Errorf("the lease of %s is that of user %d", id, held[id].UID)
		}
	}
	if mac := one.Run(ctx, "cat /sys/class/net/eth0/address"); mac != held["one"].MAC {
		t.Errorf("the interface's address is %s, and the lease's %s", mac, held["one"].MAC)
	}
	one.Run(ctx, "ping -c 1 -W 5 "+first.Router.String())

	const token = "this is two"
	two.Run(ctx, fmt.Sprintf("echo %s >/token; (nc -ll -p 7000 -e cat /token >/dev/null 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10; do "+
		"netstat -ltn | grep -q :7000 && exit; sleep 0.2; done; exit 1", token))
	if said := one.Run(ctx, fmt.Sprintf("timeout 20 nc %v 7000", second.Address.Addr())); said != token {
		t.Errorf("one hears from two %q", said)
	}
	for _, p := range at {
		p.wantAnswers(t, ctx, one, first.Router)
	}

	// This machine reaches a guest.
	c, err := net.Dial("tcp", l.forward(t, ctx, "shared", "two:7000"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if said, err := io.ReadAll(c); err != nil || string(said) != token+"\n" {
		t.Errorf("by a forward two says %q, %v", said, err)
	}
	if said := l.output(t, ctx, "dial", "--to", "network:shared/two:7000"); said != token+"\n" {
		t.Errorf("by dial two says %q", said)
	}

	l.awaitEnd(t, ctx, one, "one")
	if _, held := l.leases(t, ctx)["two"]; !held {
		t.Error("the lease of two went with that of one")
	}

	// On host there is no way out, to where two still has one.
	three := l.boot(t, "host", "three")
	third := three.Ready(ctx)
	if third.Router.IsValid() {
		t.Errorf("DHCP tells a router on host: %+v", third)
	}
	three.Run(ctx, "ping -c 1 -W 5 "+third.Server.String())
	three.Run(ctx, fmt.Sprintf("ip route add default via %v", third.Server)) // it tries all the same
	for _, p := range at {
		p.wantAnswers(t, ctx, two, second.Router)
		p.wantRefusals(t, ctx, three, third.Server)
	}
	l.awaitEnd(t, ctx, three, "three")
	l.awaitEnd(t, ctx, two, "two")
	if text := l.output(t, ctx, "network", "leases", "--json"); strings.TrimSpace(text) != "[]" {
		t.Errorf("with all guests gone the leases are %s", text)
	}
}

// place is where guests reach this machine: at an address, or their gateway's if it is not valid.
type place struct {
	name string
	*servers
	address netip.Addr
}

func (p *place) from(gateway netip.Addr) netip.Addr {
	if p.address.IsValid() {
		return p.address
	}
	return gateway
}

// wantAnswers wants this machine's servers to answer a guest.
func (p *place) wantAnswers(t *testing.T, ctx context.Context, g *guesttest.Guest, gateway netip.Addr) {
	t.Helper()
	a := p.from(gateway)
	if said := g.Run(ctx, p.askTCP(a)); said != hostToken {
		t.Errorf("TCP to %s: %q", p.name, said)
	}
	if said, status := g.Try(ctx, p.askUDP(a)); !strings.Contains(said, hostAnswer) {
		t.Errorf("UDP to %s: status %d, %q", p.name, status, said)
	}
}

// wantRefusals wants a guest to be told that there is nobody, and nothing to come to this machine's servers.
func (p *place) wantRefusals(t *testing.T, ctx context.Context, g *guesttest.Guest, gateway netip.Addr) {
	t.Helper()
	a, asked := p.from(gateway), p.asked.Load()
	if said, status := g.Try(ctx, p.askTCP(a)); status == 0 || !strings.Contains(said, "Connection refused") {
		t.Errorf("TCP to %s is not refused: status %d, %q", p.name, status, said)
	}
	if said, status := g.Try(ctx, p.askUDP(a)); strings.Contains(said, hostAnswer) {
		t.Errorf("UDP to %s is not refused: status %d, %q", p.name, status, said)
	}
	if n := p.asked.Load() - asked; n != 0 {
		t.Errorf("%d questions from host came to %s", n, p.name)
	}
}
