// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachVectors: what a vector says of a request, the broker does: it answers, closes, or is silent.
func TestMachVectors(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	for _, v := range machVectors(t) {
		if v.Direction != "client->broker" || v.Expect.Result != "reject" {
			continue
		}
		c := bootstrap(t, b.dir)
		packet, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		var rights []*machConn
		for range v.Fds {
			receive, _ := portPair(t)
			rights = append(rights, receive)
		}
		c.mustSend(packet, rights...)
		switch v.Expect.Action {
		case "close":
			c.closed()
		case "error":
			p := c.next()
			reply, err := mach.ParseReply(p.data, len(p.fds))
			if err != nil || int32(reply.Code) != v.Expect.Code || len(p.data) != 36 || reply.Token != binary.LittleEndian.Uint32(packet[12:]) {
				t.Errorf("%s: %x (%v)", v.Name, p.data, err)
			}
			c.unknown("com.example.next")
		case "drop":
			c.unknown("com.example.next") // its reply is the first
		default:
			t.Errorf("%s: action %q", v.Name, v.Expect.Action)
		}
		c.close()
	}
}

func TestMachFraming(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	look, err := mach.Request{Routine: mach.LookUp, Token: 1, Service: "com.example.a"}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	receive, _ := portPair(t)
	many := make([]*machConn, 253)
	for i := range many {
		many[i] = receive
	}
	for name, try := range map[string]func(c *machConn){
		"too long":     func(c *machConn) { c.mustSend(make([]byte, 60000)) },
		"extra rights": func(c *machConn) { c.mustSend(look, many...) },
		"one byte":     func(c *machConn) { c.mustSend([]byte{1}) },
		"size":         func(c *machConn) { c.mustSend(look[:len(look)-1]) },
	} {
		c := bootstrap(t, b.dir)
		try(c)
		if p, err := c.receive(); err == nil {
			t.Errorf("%s: %x came", name, p.data)
		}
	}
	bootstrap(t, b.dir).unknown("com.example.a")
}

func TestMachCodes(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	for _, want := range []struct {
		r    mach.Request
		code mach.Code
	}{
		{mach.Request{Routine: mach.Reboot2}, mach.NotPrivileged},
		{mach.Request{Routine: mach.SendSignal, Label: "com.example.job"}, mach.NotPrivileged},
		{mach.Request{Routine: mach.Kickstart, Label: "com.example.job"}, mach.NotPrivileged},
		{mach.Request{Routine: mach.CreateServer, Command: "/bin/true"}, mach.NotPrivileged},
		{mach.Request{Routine: mach.TakeSubset}, mach.NotSupported},
		{mach.Request{Routine: mach.Spawn, Launch: mach.Launch{Path: "/bin/true"}}, mach.NotPrivileged},
		{mach.Request{Routine: mach.CheckIn2, Service: "com.example.x", Flags: mach.StrictCheckIn}, mach.UnknownService},
		{mach.Request{Routine: mach.Status, Service: "com.example.x"}, mach.UnknownService},
		{mach.Request{Routine: mach.SeedLookUp, Service: "com.example.x"}, mach.UnknownService},
		{mach.Request{Routine: mach.CustomLookUp, Service: "com.example.x"}, mach.UnknownService},
		{mach.Request{Routine: mach.CheckIn, Service: "com/example"}, mach.BadArguments},
		{mach.Request{Routine: mach.LookUp, Service: "com/example"}, mach.BadArguments},
		{mach.Request{Routine: mach.CheckIn, Service: "com.example~12"}, mach.BadArguments},
		{mach.Request{Routine: mach.LookUp, Service: "com.example~12"}, mach.BadArguments},
		{mach.Request{Routine: mach.CreateService, Service: "com example"}, mach.BadArguments},
		{mach.Request{Routine: mach.Subset, Right: mach.Right{Disposition: mach.MakeSend}}, mach.NotPrivileged},
		{mach.Request{Routine: mach.Subset, Right: mach.Right{Fd: mach.Dead, Disposition: mach.MakeSend}}, mach.InvalidRight},
		{mach.Request{Routine: mach.LookUpArray, Count: 21}, mach.BadCount},
		{mach.Request{Routine: mach.Register, Service: "com.example.x", Right: mach.Right{Disposition: mach.CopySend}}, mach.OK},
		{mach.Request{Routine: mach.Register, Service: "com.example.x", Right: mach.Right{Fd: mach.Dead, Disposition: mach.CopySend}}, mach.OK},
		{mach.Request{Routine: mach.LookUp, Service: "com.example.x"}, mach.UnknownService},
	} {
		c.want(want.code, want.r)
	}
	children := mach.NotPrivileged
	if os.Geteuid() == 0 {
		children = mach.NoChildren
	}
	c.want(children, mach.Request{Routine: mach.LookUpChildren})
	c.want(mach.BadID, mach.Request{Routine: mach.Connect, Right: mach.Right{Disposition: mach.MoveSend}})
}

// TestMachBadRights: what is no SEQPACKET socket is refused with 17, and is closed.
func TestMachBadRights(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.unknown("com.example.first") // it is accepted
	before := b.count()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	a, z, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	l, err := sys.Listen(shortTemp(t)+"/l", sys.Seqpacket, 1)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	file, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, fd := range []int{int(r.Fd()), a.Int(), l.Int(), int(file.Fd())} {
		dup, err := sys.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		bad := newMach(t, dup)
		c.want(mach.InvalidRight, registerRequest("com.example.bad"), bad)
		c.want(mach.InvalidRight, subsetRequest(), bad)
	}
	a.Close()
	l.Close()
	dead, send := portPair(t)
	dead.close()
	c.want(mach.OK, registerRequest("com.example.dead"), send)
	c.unknown("com.example.dead")
	c.want(mach.InvalidRight, subsetRequest(), send)
	eventually(t, func() string { // what came with a request is closed after its reply
		if after := b.count(); after != before {
			return fmt.Sprintf("the broker has %s; it had %s", after, before)
		}
		return ""
	})
}

// TestMachSilence: without a reply port requests are carried out, and nothing is sent.
func TestMachSilence(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive, send := portPair(t)
	quiet := func(r mach.Request, with ...*machConn) {
		packet, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.mustSend(packet, with...)
	}
	quiet(registerRequest("com.example.quiet"), send)
	quiet(mach.Request{Routine: mach.LookUp, Service: "com.example.quiet"})
	quiet(mach.Request{Routine: mach.CheckIn, Service: "com.example.lost"})
	quiet(mach.Request{Routine: mach.CheckIn, Service: "com/example"})
	quiet(mach.Request{Routine: mach.Parent})
	quiet(mach.Request{Routine: mach.TakeSubset})
	passes(c.lookUp("com.example.quiet"), receive)
	c.silent()
	c.becomes("com.example.lost", mach.UnknownService)
}

// TestMachUnreadReplies: a client that does not read is not read either, loses nothing, and nobody else waits.
func TestMachUnreadReplies(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c, other := bootstrap(t, b.dir), bootstrap(t, b.dir)
	receive := other.checkIn("com.example.busy")
	sent := uint32(0)
	for {
		packet, err := mach.Request{Routine: mach.LookUp, Token: sent + 1, Service: "com.example.busy"}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.send(packet) != nil { // its own queue is full: the broker does not read
			break
		}
		sent++
		if sent%16 == 0 {
			other.lookUp("com.example.busy").close()
		}
	}
	for i := range sent {
		p := c.next()
		reply, err := mach.ParseReply(p.data, len(p.fds))
		if err != nil || reply.Token != i+1 || len(p.fds) != 1 {
			t.Fatalf("reply %d: %+v, %d descriptors, %v", i, reply, len(p.fds), err)
		}
		p.fds[0].close()
	}
	passes(c.lookUp("com.example.busy"), receive)
}

// machVector is one example of the protocol.
type machVector struct {
	Name, Direction, Hex string
	Fds                  []string
	Expect               struct {
		Result, Action string
		Code           int32
	}
}

func machVectors(t *testing.T) []machVector {
	t.Helper()
	return vectortest.Vectors[machVector](t, "../protocol/mach/testdata", "mach-bootstrap-vectors/1")
}
