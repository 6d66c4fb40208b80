// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/network"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// define writes a network's file.
func (s *service) define(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.networks, name+".toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, what string, err error, code vmnet.Code) {
	t.Helper()
	var refusal *vmnet.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

func TestAcquire(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	c := s.connect(t)
	a := c.mustAcquire("shared")
	if a.Kind != "stream" || a.Name != "shared" || a.Mode != "shared" || a.Mask != "255.255.255.0" || a.MTU != 1500 || a.Driver != "user" ||
		a.Lease == 0 || a.Gateway == "" || a.DNS != a.Gateway {
		t.Errorf("details: %+v", a.Details)
	}
	for range 9 {
		again := c.mustAcquire("shared")
		if again.Details != a.Details || cookie(t, again.fd) != cookie(t, a.fd) {
			t.Errorf("again: %+v, want %+v", again.Details, a.Details)
		}
		again.fd.Close()
	}
	host, err := c.acquire(vmnet.Request{Network: "host", Kind: "datagram", Driver: "auto"})
	if err != nil || host.Kind != "datagram" || host.Mode != "host" || host.Subnet == a.Subnet {
		t.Errorf("host: %+v, %v", host, err)
	}
	if _, err := sys.CheckSocket(a.fd.Int(), sys.Stream); err != nil {
		t.Error(err)
	}
}

func cookie(t testing.TB, fd *sys.FD) uint64 {
	t.Helper()
	n, err := sys.Cookie(fd.Int())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.define(t, "wrong", "mode = \"shared\"\nspeed = 9\n")
	s.define(t, "six", "mode = \"shared\"\nipv6_prefix = \"fd00:1::\"\n")
	s.define(t, "one", "mode = \"shared\"\nsubnet = \"10.99.0.0\"\nmask = \"255.255.255.0\"\nremoval_delay = \"0s\"\n")
	s.define(t, "two", "mode = \"shared\"\nsubnet = \"10.99.0.128\"\nmask = \"255.255.255.128\"\n")
	s.define(t, "mine", fmt.Sprintf("mode = \"shared\"\nallow_uid = [%d]\n", os.Geteuid()))
	s.define(t, "others", fmt.Sprintf("mode = \"shared\"\nallow_uid = [%d]\nallow_gid = [%d]\n", os.Geteuid()+1, 4000000000))
	c := s.connect(t)
	for name, code := range map[string]vmnet.Code{
		"nowhere": vmnet.NotFound, "../etc/passwd": vmnet.NotFound, "": vmnet.NotFound, "wrong": vmnet.NotFound, "six": vmnet.NotFound,
		"others": vmnet.NotAllowed,
	} {
		root, _ := c.call(xpc.Dict{{Key: "command", Value: xpc.String("acquire")}, {Key: "network_name", Value: xpc.String(name)}})
		wantCode(t, name, vmnet.ParseError(root), code)
		if len(root) != 1 {
			t.Errorf("%s: the reply has more than an error: %v", name, root)
		}
	}
	c.mustAcquire("mine")
	c.mustAcquire("one")
	_, err := c.acquire(vmnet.Request{Network: "two"})
	wantCode(t, "overlapping subnet", err, vmnet.CreateFailure)
	c.close()
	c = s.connect(t)
	s.eventually(t, "the subnet becomes free", func() bool {
		_, err := c.acquire(vmnet.Request{Network: "two"})
		return err == nil
	})

	text := func(s string) xpc.Value { return xpc.String(s) }
	for what, root := range map[string]xpc.Dict{
		"nothing":            {},
		"no name":            {{Key: "command", Value: text("acquire")}},
		"name of a number":   {{Key: "command", Value: text("acquire")}, {Key: "network_name", Value: xpc.Int64(1)}},
		"unknown command":    {{Key: "command", Value: text("ping")}},
		"command of a bool":  {{Key: "command", Value: xpc.Bool(true)}},
		"list, no version":   {{Key: "command", Value: text("list")}},
		"list, version 2":    {{Key: "command", Value: text("list")}, {Key: "version", Value: xpc.Uint64(2)}},
		"ping, version 1":    {{Key: "command", Value: text("ping")}, {Key: "version", Value: xpc.Uint64(1)}},
		"kind of socket":     vmnet.Request{Command: vmnet.Acquire, Network: "shared", Kind: "tube"}.Dict(),
		"driver":             vmnet.Request{Command: vmnet.Acquire, Network: "shared", Driver: "warp"}.Dict(),
		"id with a line end": vmnet.Request{Command: vmnet.Acquire, Network: "shared", ID: "a\nb"}.Dict(),
	} {
		root, _ := c.call(root)
		wantCode(t, what, vmnet.ParseError(root), vmnet.InvalidRequest)
	}
	root, _ := c.call(xpc.Dict{{Key: "later", Value: xpc.Array{xpc.Null{}}}, {Key: "command", Value: text("acquire")},
		{Key: "network_name", Value: text("shared")}, {Key: "version", Value: text("of something else")}})
	if _, err := vmnet.ParseDetails(root); err != nil {
		t.Errorf("unknown keys: %v", err)
	}
}

func TestEightNetworks(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	c := s.connect(t)
	var leases []uint64
	for i := range 9 {
		name := fmt.Sprintf("net%d", i)
		s.define(t, name, `mode = "host"`)
		a, err := c.acquire(vmnet.Request{Network: name})
		if i < 8 && err != nil {
			t.Fatal(err)
		}
		if i == 8 {
			wantCode(t, "ninth network", err, vmnet.InternalError)
		}
		leases = append(leases, a.Lease)
	}
	c.mustAcquire("net5")
	release := vmnet.Request{Command: vmnet.Release, Version: 1, Lease: leases[2]}
	if root, _ := c.call(release.Dict()); vmnet.ParseError(root) != nil {
		t.Errorf("release: %v", root)
	}
	root, _ := c.call(release.Dict())
	wantCode(t, "release twice", vmnet.ParseError(root), vmnet.NotFound)
	other := s.connect(t)
	release.Lease = leases[0]
	root, _ = other.call(release.Dict())
	wantCode(t, "release of another's", vmnet.ParseError(root), vmnet.NotFound)
	c.mustAcquire("net8")
}

// eventually waits until something holds.
func (s *service) eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); {
		if time.Now().After(end) {
			t.Fatal("it takes too long until", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *client) leases(t testing.TB) []vmnet.Lease {
	t.Helper()
	root, _ := c.call(vmnet.Request{Command: vmnet.Leases, Version: 1}.Dict())
	all, more, err := vmnet.ParseLeases(root)
	if err != nil || more {
		t.Fatal(err, more)
	}
	return all
}

func (c *client) networks(t testing.TB, command, name string) map[string]vmnet.Network {
	t.Helper()
	root, _ := c.call(vmnet.Request{Command: command, Version: 1, Network: name}.Dict())
	list, _, err := vmnet.ParseNetworks(root)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]vmnet.Network)
	for _, n := range list {
		all[n.Name] = n
	}
	return all
}

func TestLeaseEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	watcher := s.connect(t)
	for _, half := range []string{"in", "out", "both"} {
		c := s.connect(t)
		a, err := c.acquire(vmnet.Request{Network: "shared", ID: "vm1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := watcher.leases(t); len(got) != 1 || got[0].IP != a.IP || got[0].PID != uint64(os.Getpid()) || got[0].Identity != "vm1" {
			t.Errorf("leases: %+v", got)
		}
		if half != "out" {
			c.in.Close()
		}
		if half != "in" {
			c.out.Close()
		}
		again := s.connect(t) // at once: the same address
		b, err := again.acquire(vmnet.Request{Network: "shared", ID: "vm1"})
		if err != nil || b.IP != a.IP || b.MAC != a.MAC || b.Lease == a.Lease {
			t.Errorf("%s: again %+v, %v; was %+v", half, b.Details, err, a.Details)
		}
		again.close()
		s.eventually(t, "the leases end", func() bool { return len(watcher.leases(t)) == 0 })
		if n := watcher.networks(t, vmnet.Status, "")["shared"]; !n.Active || n.Leases != 0 || n.RemoveAt == 0 || n.RemovalDelay != int64(120*time.Second) {
			t.Errorf("%s: status: %+v", half, n)
		}
		c.close()
	}
}

func TestFileIsReadWhenTheNetworkIsMade(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.define(t, "lab", "mode = \"shared\"\nmtu = 1400\nremoval_delay = \"0s\"\n")
	c := s.connect(t)
	if a := c.mustAcquire("lab"); a.MTU != 1400 {
		t.Errorf("mtu %d", a.MTU)
	}
	s.define(t, "lab", "mode = \"host\"\nmtu = 1300\nremoval_delay = \"0s\"\ndescription = \"changed\"\n")
	other := s.connect(t)
	if a := other.mustAcquire("lab"); a.MTU != 1400 || a.Mode != "shared" {
		t.Errorf("an active network changed: %+v", a.Details)
	}
	c.close()
	other.close()
	c = s.connect(t)
	s.eventually(t, "it is made anew", func() bool {
		a, err := c.acquire(vmnet.Request{Network: "lab"})
		if err != nil {
			t.Fatal(err)
		}
		release := vmnet.Request{Command: vmnet.Release, Version: 1, Lease: a.Lease}
		c.call(release.Dict())
		return a.MTU == 1300 && a.Mode == "host"
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.define(t, "lab", "mode = \"host\"\ndescription = \"for tests\"\n")
	s.define(t, "wrong", "mode = 3\n")
	s.define(t, "others", "mode = \"host\"\nallow_uid = [4000000000]\n")
	c := s.connect(t)
	c.mustAcquire("shared")
	all := c.networks(t, vmnet.List, "")
	if n := all["lab"]; n.Mode != "host" || n.Description != "for tests" || n.Active || n.File == "" {
		t.Errorf("lab: %+v", n)
	}
	if n := all["wrong"]; n.Fault == "" || n.Active {
		t.Errorf("wrong: %+v", n)
	}
	if n := all["shared"]; !n.Active || n.Leases != 1 || n.RemoveAt != 0 || n.Subnet == "" {
		t.Errorf("shared: %+v", n)
	}
	if _, ok := all["others"]; ok || len(all) != 4 {
		t.Errorf("list: %+v", all)
	}
	if n := c.networks(t, vmnet.Status, "lab"); len(n) != 1 {
		t.Errorf("status of lab: %+v", n)
	}
	root, _ := c.call(vmnet.Request{Command: vmnet.Status, Version: 1, Network: "nowhere"}.Dict())
	wantCode(t, "status of none", vmnet.ParseError(root), vmnet.NotFound)
}

func TestListOfManyComesInParts(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	const many = 600
	for i := range many {
		s.define(t, fmt.Sprintf("n%03d", i), "mode = \"host\"\ndescription = \"one of many, with a description that takes room\"\n")
	}
	c := s.connect(t)
	names, after, parts := map[string]bool{}, "", 0
	for more := true; more; parts++ {
		root, _ := c.call(vmnet.Request{Command: vmnet.List, Version: 1, After: after}.Dict())
		list, m, err := vmnet.ParseNetworks(root)
		if err != nil || len(list) == 0 {
			t.Fatal(err, len(list))
		}
		for _, n := range list {
			names[n.Name] = true
		}
		more, after = m, list[len(list)-1].Name
	}
	if len(names) != many+2 || parts < 2 {
		t.Errorf("%d names in %d parts", len(names), parts)
	}
}

func TestDialAndForward(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	c := s.connect(t)
	root, _ := c.call(vmnet.Request{Command: vmnet.Dial, Version: 1, Network: "shared", Guest: "vm1", Port: 80}.Dict())
	wantCode(t, "dial of a network that is not active", vmnet.ParseError(root), vmnet.NotFound)
	a, err := c.acquire(vmnet.Request{Network: "shared", ID: "vm1"})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, a)
	g.echo(t, 80)
	root, _ = c.call(vmnet.Request{Command: vmnet.Dial, Version: 1, Network: "shared", Guest: "vm2", Port: 80}.Dict())
	wantCode(t, "dial of no guest", vmnet.ParseError(root), vmnet.NotFound)
	for _, name := range []string{"vm1", a.MAC, a.IP} {
		root, fds := c.call(vmnet.Request{Command: vmnet.Dial, Version: 1, Network: "shared", Guest: name, Port: 80}.Dict())
		if _, err := vmnet.ParseConnection(root); err != nil || len(fds) != 1 {
			t.Fatalf("dial %s: %v, %d descriptors", name, err, len(fds))
		}
		f := os.NewFile(uintptr(fds[0].Take()), "guest")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, conn)
	}
	root, _ = c.call(vmnet.Request{Command: vmnet.Forward, Version: 1, Network: "shared", Guest: "vm1", Port: 80, Address: "127.0.0.1:0"}.Dict())
	f, err := vmnet.ParseForwarded(root)
	if err != nil || f.Guest != a.IP+":80" {
		t.Fatal(f, err)
	}
	conn, err := net.Dial("tcp", f.Address)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn)
	other := s.connect(t)
	if got := other.networks(t, vmnet.Status, "")["shared"].Forwards; len(got) != 1 || got[0] != f {
		t.Errorf("forwards: %+v", got)
	}
	root, _ = other.call(vmnet.Request{Command: vmnet.Forward, Version: 1, Network: "shared", Guest: "vm1", Port: 80, Address: f.Address}.Dict())
	wantCode(t, "forward of a port that is taken", vmnet.ParseError(root), vmnet.CreateFailure)
	root, _ = other.call(vmnet.Request{Command: vmnet.Forward, Version: 1, Network: "shared", Guest: "vm1", Port: 80, Address: "here"}.Dict())
	wantCode(t, "forward of no address", vmnet.ParseError(root), vmnet.InvalidRequest)
	c.close()
	s.eventually(t, "the forward ends with its connection", func() bool {
		conn, err := net.Dial("tcp", f.Address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func wantEcho(t testing.TB, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
		t.Errorf("the guest's echo: %q, %v", b, err)
	}
}

func TestTwoGuestsMeet(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	a, b := newGuest(t, s.connect(t).mustAcquire("host")), newGuest(t, s.connect(t).mustAcquire("host"))
	a.echo(t, 7)
	conn, err := b.dial(testContext(t), netip.AddrPortFrom(a.ip, 7))
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn)
}

func TestServiceEndsIdle(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *network.Config) { c.IdleExit = time.Millisecond })
	s.await(t, s.ended)
}

func TestServiceTellsThatItEnds(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	old, extended := s.connect(t), s.connect(t)
	old.mustAcquire("shared")
	a, err := extended.acquire(vmnet.Request{Network: "shared", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	go s.stop()
	m, _, err := extended.receive()
	if event, _ := m.Root.String("event"); err != nil || event != "ending" || m.Kind != xpc.KindMessage {
		t.Errorf("got %+v, %v; want the event", m, err)
	}
	for _, c := range []*client{old, extended} {
		if m, _, err := c.receive(); err != errHungUp {
			t.Errorf("got %+v, %v; want a hang-up", m, err)
		}
	}
	s.await(t, s.ended)
	if !sys.HungUp(a.fd.Int()) {
		t.Error("the guest's interface has not ended")
	}
}

func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	c, again := s.connect(t), s.lookUp(t)
	defer again.Close()
	a := c.mustAcquire("shared")
	s.stopBroker()
	if b := c.mustAcquire("shared"); b.Details != a.Details {
		t.Errorf("without a broker: %+v", b.Details)
	}
	late := connectTo(t, again) // who has a right to the port needs no broker
	if got := late.leases(t); len(got) != 1 || got[0].ID != a.Lease {
		t.Errorf("without a broker: leases %+v", got)
	}
	startBroker(t, s.dir)
	s.await(t, s.ready)
	other := s.connect(t)
	if got := other.leases(t); len(got) != 1 || got[0].ID != a.Lease {
		t.Errorf("with the next broker: leases %+v", got)
	}
	if b := other.mustAcquire("shared"); b.Subnet != a.Subnet {
		t.Errorf("with the next broker: %+v", b.Details)
	}
}
