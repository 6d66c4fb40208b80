// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestEachMessageIsItsSenders: who sends counts, and not who made the connection.
func TestEachMessageIsItsSenders(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can send in another user's name")
	}
	s := newService(t, nil)
	s.define(t, "roots", "mode = \"shared\"\nallow_uid = [0]\n")
	s.define(t, "users", "mode = \"shared\"\nallow_gid = [65533]\n")
	c := s.connect(t)
	c.mustAcquire("roots")
	as := func(uid, gid uint32, name string) error {
		t.Helper()
		c.token++
		m := xpc.Message{Kind: xpc.KindMessage, Token: c.token, Root: vmnet.Request{Command: vmnet.Acquire, Network: name}.Dict()}
		packet, _, err := m.Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		credentials := syscall.UnixCredentials(&syscall.Ucred{Pid: int32(os.Getpid()), Uid: uid, Gid: gid})
		if err := syscall.Sendmsg(c.out.Int(), packet, credentials, nil, syscall.MSG_DONTWAIT); err != nil {
			t.Fatal(err)
		}
		reply, fds, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			fd.Close()
		}
		return vmnet.ParseError(reply.Root)
	}
	wantCode(t, "another user on root's connection, a network that it holds", as(65534, 65534, "roots"), vmnet.NotAllowed)
	wantCode(t, "another group", as(65534, 65534, "users"), vmnet.NotAllowed)
	if err := as(65534, 65533, "users"); err != nil {
		t.Error("the group that may:", err)
	}
	if err := as(0, 0, "roots"); err != nil {
		t.Error("root:", err)
	}
}

// used counts this process' descriptors and goroutines.
func used(t testing.TB) (descriptors, goroutines int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open), runtime.NumGoroutine()
}

// TestNothingIsLeft: 1,000 leases that come and go, in all ways that they can go. It is not parallel, because it counts what
// the process has.
func TestNothingIsLeft(t *testing.T) {
	s := newService(t, func(c *network.Config) { c.MaxConnections = 64 })
	s.define(t, "brief", "mode = \"shared\"\nremoval_delay = \"0s\"\n")
	watcher := s.connect(t)
	quiet := func() bool {
		return len(watcher.leases(t)) == 0 && len(watcher.networks(t, vmnet.Status, "")) <= 1 // shared stays
	}
	round := func(n int) {
		port := s.lookUp(t)
		defer port.Close()
		var c *client
		var halves []*client
		for i := range n {
			if c == nil || i%10 == 0 {
				if c != nil {
					c.close()
				}
				c = connectTo(t, port)
			}
			name := []string{"shared", "brief"}[i%2]
			a := c.mustAcquire(name)
			a.fd.Close()
			switch i % 5 {
			case 0:
				c.send(vmnet.Request{Command: vmnet.Acquire, Network: "brief"}.Dict()) // nobody reads the reply
				c.close()
				c = nil
			case 1:
				c.call(vmnet.Request{Command: vmnet.Release, Version: 1, Lease: a.Lease}.Dict())
			case 2:
				c.in.Close()
				halves = append(halves, c)
				c = nil
			}
		}
		if c != nil {
			c.close()
		}
		s.eventually(t, "all leases end", quiet)
		for _, c := range halves {
			c.close()
		}
	}
	round(100)
	var descriptors, goroutines int
	settled := func(wantFDs, wantGoroutines int) bool {
		descriptors, goroutines = used(t)
		return descriptors <= wantFDs && goroutines <= wantGoroutines
	}
	beforeFDs, beforeGoroutines := used(t)
	round(1000)
	for end := time.Now().Add(deadline); !settled(beforeFDs, beforeGoroutines); {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors and %d goroutines; before it were %d and %d", descriptors, goroutines, beforeFDs, beforeGoroutines)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestWhoDoesNotRead: a client that sends and does not read its replies is not read from, and others are served. What it can make the
// service hold is bounded.
func TestWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	hostile, good := s.connect(t), s.connect(t)
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 1, Root: vmnet.Request{Command: vmnet.List, Version: 1}.Dict()}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	sent, blocked := 0, time.Time{}
	for blocked.IsZero() || time.Since(blocked) < 50*time.Millisecond {
		_, err := sys.Send(hostile.out.Int(), packet)
		switch {
		case err == nil:
			sent, blocked = sent+1, time.Time{}
		case errors.Is(err, syscall.EAGAIN):
			if blocked.IsZero() {
				blocked = time.Now()
			}
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(err)
		}
		if sent > 100_000 {
			t.Fatal("the service reads on and on")
		}
	}
	good.mustAcquire("shared")
	for range sent {
		if m, _, err := hostile.receive(); err != nil || m.Kind != xpc.KindReply {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	hostile.mustAcquire("shared")
}

// TestTooManyConnections: one process cannot have all connections.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *network.Config) { c.MaxConnections = 10 })
	var all []*client
	for range 5 {
		c := s.connect(t)
		c.mustAcquire("shared")
		all = append(all, c)
	}
	late := s.connect(t)
	_, err := late.acquire(vmnet.Request{Network: "shared", Version: 1})
	wantCode(t, "the sixth of ten", err, vmnet.InternalError)
	if err == nil || !strings.Contains(err.Error(), "half of all that there may be") {
		t.Errorf("the sixth of ten: %v", err)
	}
	if _, _, err := late.receive(); !errors.Is(err, errHungUp) {
		t.Errorf("the sixth of ten, once more: %v", err)
	}
	all[0].mustAcquire("shared")
	all[0].close()
	s.eventually(t, "there is room again", func() bool {
		c := s.connect(t)
		defer c.close()
		c.send(vmnet.Request{Command: vmnet.Acquire, Network: "shared"}.Dict())
		m, fds, err := c.receive()
		for _, fd := range fds {
			fd.Close()
		}
		return err == nil && vmnet.ParseError(m.Root) == nil
	})
}

// TestTooManyConnectionsEnd: one that may not be there and asks for nothing ends with the service at the latest.
func TestTooManyConnectionsEnd(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *network.Config) { c.MaxConnections = 2 })
	s.connect(t).mustAcquire("shared")
	silent, asks := s.connect(t), s.connect(t)
	_, err := asks.acquire(vmnet.Request{Network: "shared"}) // so the one that came before is there, too
	wantCode(t, "one too many", err, vmnet.InternalError)
	s.stop()
	if _, _, err := silent.receive(); !errors.Is(err, errHungUp) {
		t.Errorf("after the end: %v", err)
	}
}

// TestNoise: random packets at the port and on connections, with and without descriptors, harm nobody else.
func TestNoise(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *network.Config) { c.Logger = nil })
	good := s.connect(t)
	a := good.mustAcquire("shared")
	port := s.lookUp(t)
	defer port.Close()
	f, err := port.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	random := rand.New(rand.NewPCG(1, 2))
	valid, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 1, Root: vmnet.Request{Command: vmnet.Acquire, Network: "host"}.Dict()}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		c := connectTo(t, port)
		packet := append([]byte(nil), valid...)
		for range 1 + random.IntN(4) {
			packet[random.IntN(len(packet))] ^= byte(1 << random.IntN(8))
		}
		var fds []int
		if random.IntN(3) == 0 {
			fds = append(fds, int(null.Fd()))
		}
		_, _ = sys.Send(c.out.Int(), packet, fds...)
		_, _ = sys.Send(c.out.Int(), valid)
		if _, err := sys.Send(int(f.Fd()), packet, fds...); err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
		c.close()
		if i%50 == 0 {
			if b := good.mustAcquire("shared"); b.Details != a.Details {
				t.Fatalf("after %d: %+v", i, b.Details)
			}
		}
	}
	good.mustAcquire("shared")
}

// TestForeignEnds: handshakes with ends that are not the client's own pairs' lead to nothing.
func TestForeignEnds(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	port := s.lookUp(t)
	defer port.Close()
	send := func(in, out *sys.FD) {
		t.Helper()
		packet, _, err := xpc.Message{Kind: xpc.KindHandshake, Rights: []wire.Right{{Fd: 1}, {Fd: 2}}}.Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := port.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := sys.Send(int(f.Fd()), packet, in.Int(), out.Int()); err != nil {
			t.Fatal(err)
		}
	}
	// Both ends of one pair: the service would talk to itself.
	a, b, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 1, Root: xpc.Dict{}}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Send(b.Int(), packet); err != nil {
		t.Fatal(err)
	}
	send(a, b)
	a.Close()
	b.Close()
	// A connection to the broker, at which the service would be the caller.
	control, err := sys.Connect(s.dir+"/"+mach.Socket, sys.Seqpacket, false)
	if err != nil {
		t.Fatal(err)
	}
	in, ours, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	send(in, control)
	in.Close()
	if _, err := sys.Send(ours.Int(), packet); err != nil {
		t.Fatal(err)
	}
	control.Close()
	defer ours.Close()
	watcher := s.connect(t)
	watcher.mustAcquire("shared")
	s.eventually(t, "the broker hangs up, and the connection ends", func() bool { return sys.HungUp(ours.Int()) })
}

// TestManyLeasesOfOneNetwork: addresses can run out.
func TestManyLeasesOfOneNetwork(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.define(t, "small", "mode = \"host\"\nsubnet = \"10.97.0.0\"\nmask = \"255.255.255.248\"\n") // five guests
	for i := range 6 {
		_, err := s.connect(t).acquire(vmnet.Request{Network: "small", ID: fmt.Sprint("vm", i)})
		if i < 5 && err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			wantCode(t, "a sixth guest where there are five addresses", err, vmnet.CreateFailure)
		}
	}
}

func TestTooManyLeases(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *network.Config) { c.MaxLeases = 3 })
	all := []*client{s.connect(t), s.connect(t)}
	for _, c := range all[:1] {
		c.mustAcquire("shared")
		c.mustAcquire("host")
	}
	s.define(t, "third", `mode = "host"`)
	all[1].mustAcquire("shared")
	_, err := all[1].acquire(vmnet.Request{Network: "third"})
	wantCode(t, "a fourth lease of three", err, vmnet.InternalError)
	all[0].close()
	s.eventually(t, "there is room again", func() bool {
		_, err := all[1].acquire(vmnet.Request{Network: "third"})
		return err == nil
	})
}
