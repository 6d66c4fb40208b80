// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachDialects: every form of check_in, register and look_up reaches the same names.
func TestMachDialects(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	lookUps := []mach.Routine{mach.SeedLookUp, mach.CustomLookUp, mach.LookUp, mach.LookUp2, mach.LookUp3}
	try := func(name string, receive *machConn) {
		t.Helper()
		for _, r := range lookUps {
			passes(c.right(mach.CopySend, mach.Request{Routine: r, Service: name}), receive)
		}
	}
	for i, r := range []mach.Routine{mach.SeedCheckIn, mach.CheckIn} {
		name := fmt.Sprintf("com.example.in%d", i)
		try(name, c.right(mach.MoveReceive, mach.Request{Routine: r, Service: name}))
	}
	for i, r := range []mach.Routine{mach.SeedRegister, mach.CustomRegister, mach.Register, mach.Register2} {
		name := fmt.Sprintf("com.example.reg%d", i)
		receive, send := portPair(t)
		req := registerRequest(name)
		req.Routine = r
		c.want(mach.OK, req, send)
		try(name, receive)
	}
	reply, fds := c.call(mach.Request{Routine: mach.CheckIn2, Service: "com.example.in2"})
	if reply.Shape != mach.InstanceReply || len(fds) != 1 || reply.UUID == ([16]byte{}) {
		t.Fatalf("check_in2: %+v", reply)
	}
	try("com.example.in2", fds[0])
	instance := mach.Request{Routine: mach.LookUp3, Service: "com.example.in2", Flags: mach.SpecificInstance, UUID: reply.UUID}
	c.right(mach.CopySend, instance)
	instance.UUID[3]++
	c.want(mach.UnknownService, instance)
	c.right(mach.MakeSend, mach.Request{Routine: mach.SeedParent})
	receive, send := portPair(t)
	_ = receive
	c.right(mach.MakeSend, mach.Request{Routine: mach.SeedSubset, Right: mach.Right{Fd: 1, Disposition: mach.MakeSend}}, send)
}

func TestMachShortCheckIn(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Mach: broker.Mach{ShortCheckIn: true}})
	bootstrap(t, b.dir).right(mach.MoveReceive, mach.Request{Routine: mach.CheckIn2, Service: "com.example.short"})
	if reply, _ := bootstrap(t, b.dir).call(mach.Request{Routine: mach.CheckIn2, Service: "com.example.wide"}); reply.Shape != mach.PortReply {
		t.Errorf("%+v", reply)
	}
}

// TestMachPerPID: a name of one process is found by that flag only, and is in no list.
func TestMachPerPID(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive, send := portPair(t)
	r := registerRequest("com.example.each")
	r.Routine, r.Flags = mach.Register2, mach.PerPID
	c.want(mach.OK, r, send)
	c.unknown("com.example.each")
	look := mach.Request{Routine: mach.LookUp2, Service: "com.example.each", Flags: mach.PerPID, PID: int32(os.Getpid())}
	passes(c.right(mach.CopySend, look), receive)
	look.PID = 1
	c.want(mach.UnknownService, look)
	c.checkIn("com.example.each") // another name
	look.PID, look.Service = 0, strings.Repeat("n", 127)
	c.want(mach.UnknownService, look)
	r.Service = look.Service
	c.want(mach.BadArguments, r, send)
	if names, _, _ := c.info(); !slices.Equal(names, []string{"com.example.each"}) {
		t.Errorf("info lists %q", names)
	}
	in, _ := c.subset()
	look.Service, look.PID = "com.example.each", int32(os.Getpid())
	in.right(mach.CopySend, look)
	look.Flags |= mach.StrictLookup
	in.want(mach.UnknownService, look)
}

// info reads the three lists.
func (c *machConn) info() (names, jobs []string, states []int32) {
	c.t.Helper()
	reply, fds := c.call(mach.Request{Routine: mach.Info})
	if reply.Shape != mach.InfoReply {
		c.t.Fatalf("info: %+v", reply)
	}
	read := func(i int) []byte {
		if reply.Counts[i] == 0 {
			return nil
		}
		b, err := sys.ReadSealed(fds[reply.Lists[i].Fd-1].fd.Int(), int(reply.Lists[i].Length))
		if err != nil {
			c.t.Fatal(err)
		}
		return b
	}
	names, err := mach.ParseNames(read(0), reply.Counts[0])
	if err == nil {
		jobs, err = mach.ParseNames(read(1), reply.Counts[1])
	}
	if err == nil {
		states, err = mach.ParseStates(read(2), reply.Counts[2])
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return names, jobs, states
}

func TestMachInfo(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	if names, _, _ := c.info(); len(names) != 0 {
		t.Errorf("%q at first", names)
	}
	in, _ := c.subset()
	c.checkIn("com.example.outer")
	in.createService("com.example.b")
	in.checkIn("com.example.a")
	_, send := portPair(t)
	in.register("com.example.c", send)
	names, jobs, states := in.info()
	program, _ := os.Executable()
	program = program[strings.LastIndexByte(program, '/')+1:]
	if !slices.Equal(names, []string{"com.example.a", "com.example.b", "com.example.c"}) || !slices.Equal(jobs, []string{program, "", program}) ||
		!slices.Equal(states, []int32{1, 0, 1}) {
		t.Errorf("%q %q %v", names, jobs, states)
	}
}

func TestMachLookUpArray(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	first, second := c.checkIn("com.example.one"), c.checkIn("com.example.two")
	ask := func(names ...string) (mach.Reply, []*machConn) {
		t.Helper()
		data := mach.AppendNames(nil, names...)
		memory, err := sys.SealedMemory("names", data)
		if err != nil {
			t.Fatal(err)
		}
		return c.call(mach.Request{Routine: mach.LookUpArray, Names: mach.Memory{Fd: 1, Length: uint32(len(data))}, Count: uint32(len(names))}, newMach(t, memory))
	}
	ports := func(r mach.Reply, fds []*machConn) []mach.Fd {
		t.Helper()
		b, err := sys.ReadSealed(fds[0].fd.Int(), int(4*r.Count))
		if err != nil {
			t.Fatal(err)
		}
		at, err := mach.ParsePorts(b, r.Count, 2, mach.Fd(len(fds)))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	r, fds := ask("com.example.one", "com.example.none", "com.example.two")
	if at := ports(r, fds); r.AllKnown || !slices.Equal(at, []mach.Fd{2, 0, 3}) {
		t.Fatalf("%+v %v", r, at)
	}
	passes(fds[1], first)
	passes(fds[2], second)
	if r, fds = ask("com.example.two"); !r.AllKnown || !slices.Equal(ports(r, fds), []mach.Fd{2}) {
		t.Fatalf("%+v", r)
	}
	if r, _ = ask("com.example.one", "com/example"); r.Code != mach.BadArguments {
		t.Errorf("a bad name: %v", r.Code)
	}
	many := make([]string, 20)
	for i := range many {
		many[i] = "com.example.one"
	}
	if r, fds = ask(many...); !r.AllKnown || len(fds) != 21 {
		t.Errorf("20 names: %+v, %d descriptors", r, len(fds))
	}
	if r, _ = ask(append(many, "com.example.one")...); r.Code != mach.BadCount {
		t.Errorf("21 names: %v", r.Code)
	}
	null, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd, err := sys.Dup(int(null.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	c.want(mach.BadArguments, mach.Request{Routine: mach.LookUpArray, Names: mach.Memory{Fd: 1, Length: 128}, Count: 1}, newMach(t, fd))
	c.want(mach.BadArguments, mach.Request{Routine: mach.LookUpArray, Names: mach.Memory{Length: 128}, Count: 1})
	if r, fds = c.call(mach.Request{Routine: mach.LookUpArray}); !r.AllKnown || len(fds) != 0 {
		t.Errorf("no names: %+v", r)
	}
}

// TestMachOwners: an owner is its connection or its process, whichever ends first; a created service survives both.
func TestMachOwners(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	watch := bootstrap(t, b.dir)
	owner := start(t, "machowner", 0, b.dir, "com.example.owned")
	owner.expect("ready")
	watch.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.owned"})
	watch.want(mach.NameInUse, mach.Request{Routine: mach.CreateService, Service: "com.example.owned"})
	owner.signal(syscall.SIGKILL) // a child of it still has the connection and the right
	owner.exited()
	watch.becomes("com.example.owned", mach.UnknownService)
}

// TestMachPrivilegedServer: that flag finds the ports of root's processes only.
func TestMachPrivilegedServer(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{UID: 4711})
	c := bootstrap(t, b.dir)
	send := c.createService("com.example.mine")
	defer send.close()
	code := mach.NotPrivileged
	r := mach.Request{Routine: mach.LookUp2, Service: "com.example.mine", Flags: mach.PrivilegedServer}
	c.want(code, r)
	receive := c.checkIn("com.example.root")
	r.Service = "com.example.root"
	if os.Geteuid() == 0 {
		passes(c.right(mach.CopySend, r), receive)
	}
	c.undeclare("com.example.mine")
}
