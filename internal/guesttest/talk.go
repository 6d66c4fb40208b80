// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Network is what a guest's interface was given.
type Network struct {
	// Address has the subnet's length; it is not valid where no DHCP server answered.
	Address netip.Prefix
	// Router and Server are the gateway, if one was told, and who gave the lease.
	Router, Server netip.Addr
	DNS            []netip.Addr
	// MTU is 0 where the lease said none.
	MTU int
	// Lease is how long the address is the guest's.
	Lease time.Duration
	// Booted, Ready: since Start, until the guest's first process ran and until it took commands.
	Booted, Ready time.Duration
}

// Ready waits until the guest takes commands, and returns what its interface was given. The test fails if it does not come to that.
func (g *Guest) Ready(ctx context.Context) Network {
	g.t.Helper()
	var n Network
	g.must(ctx, 0, "@@ booted")
	n.Booted = time.Since(g.started)
	network := g.must(ctx, 0, "@@ network ")
	g.must(ctx, 0, "@@ ready")
	n.Ready = time.Since(g.started)
	if err := n.parse(strings.TrimPrefix(network, "@@ network ")); err != nil {
		g.t.Fatal(err)
	}
	return n
}

// parse reads what the guest's script says: ADDRESS/MASK KEY=VALUE…, or none.
func (n *Network) parse(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return fmt.Errorf("the guest's network is %q", line)
	}
	n.Address, _ = netip.ParsePrefix(words[0])
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if value == "" {
			continue
		}
		switch key {
		case "router":
			n.Router, _ = netip.ParseAddr(strings.Split(value, ",")[0])
		case "server":
			n.Server, _ = netip.ParseAddr(value)
		case "dns":
			for text := range strings.SplitSeq(value, ",") {
				if address, err := netip.ParseAddr(text); err == nil {
					n.DNS = append(n.DNS, address)
				}
			}
		case "mtu":
			n.MTU, _ = strconv.Atoi(value)
		case "seconds":
			seconds, _ := strconv.Atoi(value)
			n.Lease = time.Duration(seconds) * time.Second
		}
	}
	return nil
}

// Run runs a line of shell in the guest and returns its output without the last newline. The test fails if its status is not 0.
func (g *Guest) Run(ctx context.Context, command string) string {
	g.t.Helper()
	out, status := g.Try(ctx, command)
	if status != 0 {
		g.t.Fatalf("in the guest, %q ended with %d:\n%s", command, status, out)
	}
	return out
}

// Try runs a line of shell in the guest, and returns its output and its status. Commands of one
// guest run one after another; what one leaves in the background (give it its own output) stays.
func (g *Guest) Try(ctx context.Context, command string) (out string, status int) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	// The guest's console takes lines, and none that is longer than this.
	if strings.Contains(command, "\n") || len(command) > 4000 {
		g.t.Fatalf("not a line of at most 4000 bytes: %q", command)
	}
	g.must(ctx, 0, "@@ ready")
	g.numbers++
	if _, err := fmt.Fprintf(g.input, "%d %s\n", g.numbers, command); err != nil {
		g.t.Fatalf("cannot talk to the guest: %v\n%s", err, g.tail())
	}
	begin := fmt.Sprintf("@@ begin %d", g.numbers)
	from, err := g.console.find(ctx, 0, func(line string) bool { return line == begin })
	if err != nil {
		g.t.Fatalf("the guest did not begin %q: %v\n%s", command, err, g.tail())
	}
	end := fmt.Sprintf("@@ end %d ", g.numbers)
	to, err := g.console.find(ctx, from, func(line string) bool { return strings.HasPrefix(line, end) })
	if err != nil {
		g.t.Fatalf("the guest did not end %q: %v\n%s", command, err, g.tail())
	}
	lines := g.console.slice(from+1, to+1)
	status, err = strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1], end))
	if err != nil {
		g.t.Fatal(err)
	}
	said := make([]string, 0, len(lines))
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, stderrPrefix) {
			said = append(said, line)
		}
	}
	// The script ends the output with a newline, which the last line may have had.
	return strings.TrimSuffix(strings.Join(said, "\n"), "\n"), status
}

// Expect waits for a line of the console that contains a text, after the one that the last Expect found, and returns it.
// The console has the guest's output, and after "stderr: " what the command and QEMU said.
func (g *Guest) Expect(ctx context.Context, text string) string {
	g.t.Helper()
	n, err := g.console.find(ctx, g.mark, func(line string) bool { return strings.Contains(line, text) })
	if err != nil {
		g.t.Fatalf("the guest did not say %q: %v\n%s", text, err, g.tail())
	}
	g.mark = n + 1
	return g.console.slice(n, n+1)[0]
}

// Console is all that the guest and its command have said.
func (g *Guest) Console() string { return strings.Join(g.console.slice(0, -1), "\n") }

// must waits for a line that begins so.
func (g *Guest) must(ctx context.Context, from int, prefix string) string {
	g.t.Helper()
	n, err := g.console.find(ctx, from, func(line string) bool { return strings.HasPrefix(line, prefix) })
	if err != nil {
		g.t.Fatalf("the guest did not say %q in %v: %v\n%s", prefix, time.Since(g.started).Round(time.Millisecond), err, g.tail())
	}
	return g.console.slice(n, n+1)[0]
}

// tail is the end of the console, for a failure.
func (g *Guest) tail() string {
	lines := g.console.slice(0, -1)
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
