// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// resources counts goroutines and descriptors.
func resources(t *testing.T) (goroutines, descriptors int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	return runtime.NumGoroutine(), len(entries)
}

// checkResources waits until there are no more than before: what the runtime ends takes a moment.
func checkResources(t *testing.T, goroutines, descriptors int) {
	t.Helper()
	var g, d int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if g, d = resources(t); g <= goroutines && d <= descriptors {
			return
		}
	}
	t.Errorf("%d goroutines and %d descriptors, and before %d and %d", g, d, goroutines, descriptors)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		t.Log(e.Name(), to)
	}
	if g > goroutines {
		stacks := make([]byte, 1<<16)
		t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
	}
}

// Networks with guests and all that goes on in one are made, and closed while it goes on; nothing of them stays.
func TestManyNetworks(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 20
	}
	tcp, udp := onHost(t)
	warm := newNetwork(t, nil)
	warm.Close()
	goroutines, descriptors := resources(t)
	var all []*usernet.Network
	var taken []netip.Prefix
	for i := range count {
		n, err := usernet.New(usernet.Config{Name: fmt.Sprint("n", i), Outside: true, HostAccess: true, Taken: taken})
		if err != nil {
			t.Fatal(err)
		}
		all, taken = append(all, n), append(taken, n.Info().Subnet)
	}
	t.Run("busy", func(t *testing.T) {
		for _, n := range all[:20] {
			m := newMachine(t, n, usernet.Stream, "a")
			m.serveTCP(t, 80)
			f, err := n.Forward("tcp", netip.MustParseAddrPort("127.0.0.1:0"), m.at(80))
			if err != nil {
				t.Fatal(err)
			}
			through, err := net.Dial("tcp", f.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer through.Close()
			into, err := n.Dial(testContext(t), "tcp", m.at(80))
			if err != nil {
				t.Fatal(err)
			}
			out, err := m.dial(t, netip.AddrPortFrom(n.Info().Gateway, tcp))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []net.Conn{through, into, out, m.dialUDP(t, netip.AddrPortFrom(n.Info().Gateway, udp))} {
				c.SetDeadline(time.Now().Add(patience))
				checkDatagram(t, c, 100)
			}
			question, err := m.dial(t, netip.AddrPortFrom(n.Info().Gateway, 53))
			if err != nil {
				t.Fatal(err)
			}
			question.Write([]byte{0})
			n.Close()
			for _, c := range []net.Conn{through, into} {
				if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a connection was not cut: %v", err)
				}
			}
			into.Close()
			out.Close()
			question.Close()
			<-m.Done()
		}
	})
	for _, n := range all {
		n.Close()
		n.Close()
	}
	checkResources(t, goroutines, descriptors)
	n := all[0]
	if _, _, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a")}); !errors.Is(err, usernet.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Forward("tcp", netip.MustParseAddrPort("127.0.0.1:0"), netip.AddrPortFrom(n.Info().First, 1)); !errors.Is(err, usernet.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Dial(testContext(t), "tcp", netip.AddrPortFrom(n.Info().First, 1)); !errors.Is(err, usernet.ErrClosed) {
		t.Error(err)
	}
}

// Guests come and go, some by themselves; each gets the address that it had, and nothing stays.
func TestManyGuests(t *testing.T) {
	count := 1000
	if testing.Short() {
		count = 100
	}
	n := newNetwork(t, nil)
	goroutines, descriptors := resources(t)
	had := make(map[int]netip.Addr)
	for i := range count {
		id := i % 200
		kind := kinds[i%len(kinds)]
		g, end, err := n.Connect(kind, usernet.GuestConfig{MAC: usernet.MAC(fmt.Sprint(id))})
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := had[id]; ok && g.IP() != before {
			t.Errorf("guest %d gets %s, and had %s", id, g.IP(), before)
		}
		had[id] = g.IP()
		if i%2 == 0 || kind == usernet.Datagram {
			g.Close()
			end.Close()
		} else {
			end.Close()
			<-g.Done()
		}
		if err := g.Err(); err != nil {
			t.Error(err)
		}
	}
	if len(n.Guests()) != 0 {
		t.Errorf("%d guests are left", len(n.Guests()))
	}
	checkResources(t, goroutines, descriptors)
}

// A guest's end cuts what it had through the gateway, and frees its address at once.
func TestDetachCuts(t *testing.T) {
	tcp, udp := onHost(t)
	n := newNetwork(t, nil)
	m := newMachine(t, n, usernet.Stream, "a")
	m.serveTCP(t, 80)
	goroutines, descriptors := resources(t)
	var open []net.Conn
	for range 10 {
		c, err := m.dial(t, netip.AddrPortFrom(n.Info().Gateway, tcp))
		if err != nil {
			t.Fatal(err)
		}
		checkDatagram(t, c, 10)
		checkDatagram(t, m.dialUDP(t, netip.AddrPortFrom(n.Info().Gateway, udp)), 10)
		into, err := n.Dial(testContext(t), "tcp", m.at(80))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c, into)
	}
	if s := n.Stats(); s.TCP.Now != 10 || s.UDP.Now != 10 {
		t.Errorf("%+v", s)
	}
	m.wire.Close() // as if it was killed
	<-m.Done()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if s := n.Stats(); s.TCP.Now == 0 && s.UDP.Now == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%+v", s)
		}
	}
	for i, c := range open {
		if i%2 == 1 {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a connection to the guest was not cut")
			}
		}
		c.Close()
	}
	b, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("b"), IP: m.IP()})
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	<-b.Done()
	checkResources(t, goroutines+10, descriptors) // the guest's own servers do not know of its end
}

// Who dials a guest while the network is closed is told that it is, however that shows.
func TestCloseUnderDials(t *testing.T) {
	for i := range 20 {
		n := newNetwork(t, nil)
		g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("silent")})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := n.Dial(testContext(t), "tcp", netip.AddrPortFrom(g.IP(), 1)); !errors.Is(err, usernet.ErrClosed) {
					t.Error(err)
				}
			})
		}
		if i%2 == 0 { // when the gateway asks where the guest is
			if _, err := end.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}
		n.Close()
		all.Wait()
		end.Close()
	}
}

// Close while guests come, dial and go.
func TestCloseRace(t *testing.T) {
	tcp, _ := onHost(t)
	for range 10 {
		n := newNetwork(t, nil)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for j := 0; ; j++ {
					g, end, err := n.Connect(kinds[j%3], usernet.GuestConfig{MAC: usernet.MAC(fmt.Sprint(i, j))})
					if err != nil {
						if !errors.Is(err, usernet.ErrClosed) {
							t.Error(err)
						}
						return
					}
					f, err := n.Forward("udp", netip.MustParseAddrPort("127.0.0.1:0"), netip.AddrPortFrom(g.IP(), 1))
					if err == nil {
						f.Close()
					}
					n.Dial(testContext(t), "udp", netip.AddrPortFrom(g.IP(), 1))
					n.Stats()
					if j%2 == 0 {
						g.Close()
					}
					end.Close()
					<-g.Done()
				}
			})
		}
		m := newMachine(t, n, usernet.Stream, "m")
		for range 5 {
			if c, err := m.dial(t, netip.AddrPortFrom(n.Info().Gateway, tcp)); err == nil {
				defer c.Close()
			}
		}
		n.Close()
		all.Wait()
	}
}
