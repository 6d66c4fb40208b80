// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"os"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func (c *client) wantEvent(name string) vmnet.Event {
	c.t.Helper()
	m, _, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := vmnet.ParseEvent(m.Root)
	if err != nil || e.Name != name || m.Kind != xpc.KindMessage || m.Token != 0 {
		c.t.Fatalf("got %+v (%v), want event %s", m, err, name)
	}
	return e
}

// TestForwardEndsWithItsNetwork: who forwards holds no network, and hears when it goes.
func TestForwardEndsWithItsNetwork(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.define(t, "brief", "mode = \"shared\"\nremoval_delay = \"1ms\"\n")
	holder, c := s.connect(t), s.connect(t)
	if _, err := holder.acquire(vmnet.Request{Network: "brief", ID: "web"}); err != nil {
		t.Fatal(err)
	}
	root, _ := c.call(vmnet.Request{Command: vmnet.Forward, Version: 1, Network: "brief", Guest: "web", Port: 80, Address: "127.0.0.1:0"}.Dict())
	f, err := vmnet.ParseForwarded(root)
	if err != nil {
		t.Fatal(err)
	}
	holder.close()
	if e := c.wantEvent(vmnet.ForwardEnded); e.Network != "brief" || e.Address != f.Address || !strings.Contains(e.Reason, "1ms") {
		t.Errorf("the event is %+v", e)
	}
}

// TestInterfaceEnds: a frame that cannot be closes the interface; who holds the lease is told, others see it, and to acquire again gets another.
func TestInterfaceEnds(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	for name, length := range map[string]string{"no": "\x00\x00\x00\x00", "too long": "\x7f\x00\x00\x00"} {
		c := s.connect(t)
		a, err := c.acquire(vmnet.Request{Network: "shared", ID: name, Version: 1})
		if err != nil || a.ID != name {
			t.Fatalf("%s: id %q, %v", name, a.ID, err)
		}
		bad := os.NewFile(uintptr(a.fd.Take()), name)
		if _, err := bad.WriteString(length); err != nil {
			t.Fatal(err)
		}
		if e := c.wantEvent(vmnet.InterfaceEnded); e.Network != "shared" || e.Lease != a.Lease || !strings.Contains(e.Reason, "frame of") {
			t.Errorf("%s: the event is %+v", name, e)
		}
		bad.Close()
		leases := c.leases(t)
		if len(leases) != 1 || !strings.Contains(leases[0].Fault, "frame of") {
			t.Errorf("%s: the leases are %+v", name, leases)
		}
		again, err := c.acquire(vmnet.Request{Network: "shared", ID: name, Version: 1})
		if err != nil || again.Lease != a.Lease || again.MAC != a.MAC || again.IP != a.IP {
			t.Fatalf("%s: again %+v (%v), was %+v", name, again, err, a)
		}
		if leases := c.leases(t); len(leases) != 1 || leases[0].Fault != "" {
			t.Errorf("%s: the leases are %+v", name, leases)
		}
		g := newGuest(t, again)
		g.echo(t, 80)
		c.close()
		s.eventually(t, "its lease ends", func() bool {
			c := s.connect(t)
			defer c.close()
			return len(c.leases(t)) == 0
		})
	}
}

// TestVersions: another version is named, and so is a network that is not there.
func TestVersions(t *testing.T) {
	t.Parallel()
	c := newService(t, nil).connect(t)
	for _, test := range []struct {
		r    vmnet.Request
		code vmnet.Code
		says string
	}{
		{vmnet.Request{Command: vmnet.List, Version: 2}, vmnet.InvalidRequest, "version is 2"},
		{vmnet.Request{Command: vmnet.Leases, Version: 1, Network: "nowhere"}, vmnet.NotFound, "network check --networks /"},
		{vmnet.Request{Command: vmnet.Acquire, Version: 1, Network: "nowhere"}, vmnet.NotFound, "network check --networks /"},
	} {
		root, _ := c.call(test.r.Dict())
		err := vmnet.ParseError(root)
		wantCode(t, test.says, err, test.code)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v", test.r, err)
		}
	}
}
