// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachParents: subset shadows, falls through, and dies leaves first; parent and get_root lead outwards.
func TestMachParents(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	root := bootstrap(t, b.dir)
	out := root.checkIn("com.example.name")
	outer, requestor := root.subset()
	inner, _ := outer.subset()
	passes(inner.lookUp("com.example.name"), out)
	shadow := outer.checkIn("com.example.name")
	passes(inner.lookUp("com.example.name"), shadow)
	passes(root.lookUp("com.example.name"), out)
	inner.want(mach.UnknownService, mach.Request{Routine: mach.LookUp2, Service: "com.example.name", Flags: mach.StrictLookup})
	inner.want(mach.UnknownService, mach.Request{Routine: mach.LookUp2, Service: "com.example.name", Flags: mach.ForceLocal})

	passes(inner.right(mach.MakeSend, mach.Request{Routine: mach.Parent}).connect().lookUp("com.example.name"), shadow)
	up := inner.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	up = up.connect().right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	up = up.connect().right(mach.MakeSend, mach.Request{Routine: mach.Parent}) // of the root
	passes(up.connect().lookUp("com.example.name"), out)
	passes(inner.right(mach.MoveSend, mach.Request{Routine: mach.GetRoot}).connect().lookUp("com.example.name"), out)

	passes(outer.right(mach.MakeSend, mach.Request{Routine: mach.Unprivileged}).connect().lookUp("com.example.name"), shadow)

	inner.checkIn("com.example.inner")
	requestor.close()
	inner.becomes("com.example.inner", mach.UnknownService)
	passes(inner.lookUp("com.example.name"), out)
	for _, r := range []mach.Request{
		{Routine: mach.CheckIn, Service: "com.example.late"}, {Routine: mach.CreateService, Service: "com.example.late"},
		{Routine: mach.Register, Service: "com.example.late", Right: mach.Right{Disposition: mach.CopySend}},
	} {
		inner.want(mach.NotPrivileged, r)
	}
	_, send := portPair(t)
	inner.want(mach.NotPrivileged, subsetRequest(), send)
}

// TestMachRequestorIsBootstrapPort: that would keep itself alive when all others are gone.
func TestMachRequestorIsBootstrapPort(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	boot := c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	c.want(mach.InvalidRight, subsetRequest(), boot)
}

// TestMachRequestorsOfOnePair: two subsets with the two ends of one pair would keep each other alive when all others are gone.
func TestMachRequestorsOfOnePair(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive, send := portPair(t)
	for range 2 { // as often as one likes
		c.right(mach.MakeSend, subsetRequest(), send).close()
	}
	c.want(mach.InvalidRight, subsetRequest(), receive)
	send.close()
	receive.close()
	s := open(t, b.dir)
	eventually(t, func() string {
		if n := s.status().Namespaces; n != 1 {
			return fmt.Sprintf("%d namespaces", n)
		}
		return ""
	})
	receive, send = portPair(t)
	c.right(mach.MakeSend, subsetRequest(), receive).close() // either will do
	c.want(mach.InvalidRight, subsetRequest(), send)
	b.checkDescriptors()
}

func TestMachDepth(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive := c.checkIn("com.example.top")
	requestor, send := portPair(t)
	for range 100 {
		boot := c.right(mach.MakeSend, subsetRequest(), send)
		c = boot.connect()
		boot.close()
	}
	c.want(mach.NoMemory, subsetRequest(), send)
	passes(c.lookUp("com.example.top"), receive)
	requestor.close()
	send.close()
	eventually(t, func() string { // what changes nothing while the namespace is there
		r := mach.Request{Routine: mach.Register, Service: "com.example.gone", Right: mach.Right{Disposition: mach.CopySend}}
		if code := c.code(r); code != mach.NotPrivileged {
			return "the namespace is still there: " + code.String()
		}
		return ""
	})
}

// TestMachOnBootstrapPort: requests on a port's terms, without a control connection; what they own ends with the process.
func TestMachOnBootstrapPort(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	boot := c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	replies, right := portPair(t)
	ask := func(r mach.Request, with ...*machConn) (mach.Reply, []*machConn) {
		t.Helper()
		r.Token = 99
		packet, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		boot.mustSend(packet, append([]*machConn{right}, with...)...)
		return replies.reply(r)
	}
	reply, fds := ask(mach.Request{Routine: mach.CheckIn, Service: "com.example.boot"})
	if reply.Code != mach.OK || len(fds) != 1 {
		t.Fatalf("check_in: %+v", reply)
	}
	receive := fds[0]
	_, fds = ask(mach.Request{Routine: mach.LookUp, Service: "com.example.boot"})
	passes(fds[0], receive)
	passes(c.lookUp("com.example.boot"), receive)
	back, fds := boot.call(mach.Request{Routine: mach.LookUp, Service: "com.example.boot"}) // the reply on the port itself
	if back.Code != mach.OK {
		t.Fatalf("look_up: %+v", back)
	}
	passes(fds[0], receive)
	if reply, _ = ask(mach.Request{Routine: mach.LookUp, Service: "com.example.none"}); reply.Code != mach.UnknownService {
		t.Errorf("%+v", reply)
	}
	// A register brings its right behind the reply right.
	mine, send := portPair(t)
	r := registerRequest("com.example.bootreg")
	r.Right.Fd = 2
	if reply, _ = ask(r, send); reply.Code != mach.OK {
		t.Fatalf("register: %+v", reply)
	}
	passes(c.lookUp("com.example.bootreg"), mine)

	// An unknown request is answered as everywhere, and what is no message gets 71.
	stranger := mach.Message{Header: mach.Header{Bits: mach.NewBits(false, mach.CopySend, mach.MakeSendOnce), Local: 5, ID: 4242}}
	boot.mustSend(stranger.Append(nil), right)
	p := replies.next()
	if reply, err := mach.ParseReply(p.data, len(p.fds)); err != nil || reply.ID != 4342 || reply.Code != mach.BadID || reply.Token != 5 {
		t.Errorf("%+v (%v)", reply, err)
	}
	packet, err := mach.Request{Routine: mach.LookUp, Token: 6, Service: "com.example.boot"}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"size": packet[:len(packet)-1], "long": append(packet, make([]byte, 40000)...),
	} {
		boot.mustSend(bad, right)
		p := replies.next()
		if n, err := mach.ParseNotification(p.data, len(p.fds)); err != nil || n.Event != mach.SendOnceDied || n.Port != 6 {
			t.Errorf("%s: %+v (%v)", name, n, err)
		}
	}
	boot.mustSend([]byte{0x13, 0, 0}, right)
	boot.mustSend([]byte{0x13, 0, 0})
	other, _, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	packet, _ = mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}}.Append(nil)
	boot.mustSend(packet, newMach(t, other)) // a stream: closed
	replies.silent()

	// With a reply right, connect says how it went.
	for kind, want := range map[sys.SocketType]mach.Code{sys.Stream: mach.InvalidRight, sys.Seqpacket: mach.OK} {
		mine, theirs, err := sys.Pair(kind)
		if err != nil {
			t.Fatal(err)
		}
		reply, _ := ask(mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 2, Disposition: mach.MoveSend}}, newMach(t, theirs))
		if reply.Code != want || reply.ID != mach.Connect.ID()+100 {
			t.Errorf("connect: %+v, want %v", reply, want)
		}
		mine.Close()
	}
	if reply, _ = ask(mach.Request{Routine: mach.Connect, Right: mach.Right{Disposition: mach.MoveSend}}); reply.Code != mach.InvalidRight {
		t.Errorf("connect with nothing: %+v", reply)
	}
	_, fds = ask(mach.Request{Routine: mach.LookUp, Service: "com.example.boot"})
	passes(fds[0], receive)
	replies.silent()
	receive.close()
	mine.close()
	c.becomes("com.example.boot", mach.UnknownService)
	b.checkDescriptors()
}

// TestMachAfterNamespace: a bootstrap port works on when its namespace has ended.
func TestMachAfterNamespace(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive := c.checkIn("com.example.root")
	requestor, send := portPair(t)
	boot := c.right(mach.MakeSend, subsetRequest(), send)
	in := boot.connect()
	in.checkIn("com.example.in")
	requestor.close()
	send.close()
	in.becomes("com.example.in", mach.UnknownService)
	in.close()
	late := boot.connect()
	passes(late.lookUp("com.example.root"), receive)
	late.want(mach.NotPrivileged, mach.Request{Routine: mach.CheckIn, Service: "com.example.late"})
	late.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	if reply, _ := boot.call(mach.Request{Routine: mach.CreateService, Service: "com.example.late"}); reply.Code != mach.NotPrivileged {
		t.Errorf("%+v", reply)
	}
}

func TestMachSpawn(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Allow: []string{"launch"}})
	c := bootstrap(t, b.dir)
	in, _ := c.subset()
	out := filepath.Join(shortTemp(t), "out")
	spawn := func(c *machConn, path string, args ...string) mach.Reply {
		t.Helper()
		reply, _ := c.call(mach.Request{Routine: mach.Spawn, Launch: mach.Launch{Path: path, Args: args, Env: []string{"X=1"}}})
		return reply
	}
	reply := spawn(in, "/bin/sh", "sh", "-c", `echo "$X $SWITCHBOARD_BOOTSTRAP_FD $(readlink /proc/self/fd/3 | cut -d: -f1)" > `+out+".new && mv "+out+".new "+out)
	if reply.Code != mach.OK || reply.Value <= 0 {
		t.Fatalf("%+v", reply)
	}
	eventually(t, func() string {
		if got, _ := os.ReadFile(out); string(got) != "1 3 socket\n" {
			return "the program wrote " + string(got)
		}
		return ""
	})
	if reply := spawn(c, "/does/not/exist", "exist"); reply.Code != mach.Failure {
		t.Errorf("%+v", reply)
	}
	if reply := spawn(c, "relative", "relative"); reply.Code != mach.InvalidArgument {
		t.Errorf("%+v", reply)
	}
	boot := c.right(mach.MoveSend, mach.Request{Routine: mach.GetRoot})
	if reply := spawn(boot, "/bin/true", "true"); reply.Code != mach.OK {
		t.Errorf("%+v", reply)
	}
}

func subsetRequest() mach.Request {
	return mach.Request{Routine: mach.Subset, Right: mach.Right{Fd: 1, Disposition: mach.MakeSend}}
}

// subset makes one that lasts until requestor is closed, and connects to it.
func (c *machConn) subset() (in, requestor *machConn) {
	c.t.Helper()
	requestor, send := portPair(c.t)
	boot := c.right(mach.MakeSend, subsetRequest(), send)
	send.close()
	return boot.connect(), requestor
}

// connect opens a control connection through a bootstrap port.
func (c *machConn) connect() *machConn {
	c.t.Helper()
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		c.t.Fatal(err)
	}
	conn := newMach(c.t, a)
	other := newMach(c.t, b)
	packet, err := mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}}.Append(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mustSend(packet, other)
	other.close()
	return conn
}
