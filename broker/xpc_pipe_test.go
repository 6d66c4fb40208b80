// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestPipeSharesNames: however a name is checked in, all ways to look it up find it, and all ways to check it in find it taken.
func TestPipeSharesNames(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner, other := bootstrap(t, b.dir), bootstrap(t, b.dir)
	watcher := open(t, b.dir)
	for name, checkIn := range map[string]func() *machConn{
		"by.402": func() *machConn { return owner.checkIn("by.402") },
		"by.805": func() *machConn { return owner.pipeCheckIn(xpc.CheckIn, "by.805") },
		"by.206": func() *machConn { return owner.pipeCheckIn(xpc.CheckIn2, "by.206") },
	} {
		receive := checkIn()
		for _, c := range []*machConn{owner, other} {
			passes(c.lookUp(name), receive)
			passes(c.pipeLookUp(xpc.LookUp, name), receive)
			passes(c.pipeLookUp(xpc.LookUp2, name), receive)
			c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: name})
			c.wantPipe(xpc.Busy, xpc.Request{Routine: xpc.CheckIn, Name: name})
			c.wantPipe(xpc.Code(mach.ServiceActive), xpc.Request{Routine: xpc.CheckIn2, Name: name})
		}
		if st := other.status(name); st != 1 {
			t.Errorf("the state of %s is %d", name, st)
		}
		if e := watcher.lookUp(name).Entry; e.Kind != session.EntryPort || int(e.PID) != os.Getpid() {
			t.Errorf("%s is %+v", name, e)
		}
	}

	// One that is declared keeps its queue from one dialect to the other.
	b.undeclares("queue")
	owner.createService("queue").post(numbered(1))
	if n := number(owner.pipeCheckIn(xpc.CheckIn2, "queue").next()); n != 1 {
		t.Errorf("message %d came, not 1", n)
	}
	owner.close()
	for _, name := range []string{"by.402", "by.805", "by.206"} {
		other.becomes(name, mach.UnknownService)
		other.wantPipe(xpc.NotFound, xpc.Request{Routine: xpc.LookUp, Name: name})
		other.wantPipe(xpc.Code(mach.UnknownService), xpc.Request{Routine: xpc.LookUp2, Name: name})
	}
}

// TestPipeCodes: older routines say errno, newer ones what bootstrap says.
func TestPipeCodes(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: limits(2)})
	c, s := bootstrap(t, b.dir), open(t, b.dir)
	s.own("service")
	b.undeclares("created")
	c.createService("created")
	request := func(r xpc.Routine, name string, flags mach.Flags) xpc.Request {
		return xpc.Request{Routine: r, Name: name, Flags: uint64(flags)}
	}
	for _, test := range []struct {
		name     string
		flags    mach.Flags
		old, new xpc.Code // to a look-up
	}{
		{"nobody", 0, 2, 1102}, {"service", 0, 2, 1102}, {"no/name", 0, 22, 22}, {"own~12", 0, 22, 22},
		{"created", mach.PerPID, 2, 1102}, {"created", mach.SpecificInstance, 2, 1102},
	} {
		c.wantPipe(test.old, request(xpc.LookUp, test.name, test.flags))
		c.wantPipe(test.new, request(xpc.LookUp2, test.name, test.flags))
	}
	c.wantPipe(2, request(xpc.CheckIn, "nobody", mach.StrictCheckIn))
	c.wantPipe(1102, request(xpc.CheckIn2, "nobody", mach.StrictCheckIn))
	c.wantPipe(16, request(xpc.CheckIn, "service", 0))
	c.wantPipe(1103, request(xpc.CheckIn2, "service", 0))
	c.pipeRight(request(xpc.CheckIn2, "own", mach.PerPID), mach.MoveReceive)
	c.pipeRight(xpc.Request{Routine: xpc.LookUp2, Name: "own", Flags: uint64(mach.PerPID), TargetPID: int64(os.Getpid())}, mach.CopySend)
	c.wantPipe(1102, xpc.Request{Routine: xpc.LookUp2, Name: "own", Flags: uint64(mach.PerPID), TargetPID: 1 << 40})
	c.checkIn("second")
	c.wantPipe(12, request(xpc.CheckIn, "third", 0)) // a session may have two names
	c.wantPipe(1105, request(xpc.CheckIn2, "third", 0))

	root := func(entries ...xpc.Entry) xpc.Message { return xpc.Message{Kind: xpc.KindMessage, Root: entries} }
	routine := func(n xpc.Routine, entries ...xpc.Entry) xpc.Message {
		return xpc.Message{Kind: xpc.KindRoutine, Routine: n, Root: entries}
	}
	c.wantError(116, root())
	c.wantError(116, root(xpc.Entry{Key: "routine", Value: xpc.Uint64(800)}))
	c.wantError(116, routine(0))
	c.wantError(116, routine(999))
	c.wantError(116, routine(828))
	c.wantError(120, root(xpc.Entry{Key: "routine", Value: xpc.Uint64(804)}, xpc.Entry{Key: "subsystem", Value: xpc.Uint64(2)}, xpc.Entry{Key: "name", Value: xpc.String("created")}))
	c.wantError(22, routine(xpc.LookUp2))
	c.wantError(22, routine(xpc.LookUp2, xpc.Entry{Key: "name", Value: xpc.Uint64(2)}))
	c.wantError(22, routine(xpc.LookUp2, xpc.Entry{Key: "name", Value: xpc.String("created")}, xpc.Entry{Key: "flags", Value: xpc.Int64(-1)}))
	c.pipeLookUp(xpc.LookUp2, "created")
}

// TestPipeWithoutReply: what wants no reply gets none, and is done.
func TestPipeWithoutReply(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	for _, r := range []xpc.Request{
		{Routine: xpc.CheckIn2, Name: "name"}, {Routine: xpc.LookUp, Name: "nobody"}, {Routine: xpc.GetJobs}, {Routine: xpc.List}, {Routine: xpc.Attributes},
	} {
		c.say(r.Message())
	}
	c.say(xpc.Message{Kind: xpc.KindRoutine, Routine: 999})
	c.becomes("name", mach.UnknownService) // nobody has its receive right any more
	c.silent()
}

// TestPipeClosesRights: the broker keeps nothing that a request carries, and refuses what opens a connection to itself by that.
func TestPipeClosesRights(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.checkIn("name")
	domain, send := pair(t)
	request := xpc.Request{Routine: xpc.LookUp2, Name: "name", DomainPort: mach.Right{Fd: 1, Disposition: mach.CopySend}}
	if a, _ := c.pipe(request, send); a.Error != xpc.OK {
		t.Errorf("a look-up with a domain-port: %v", a.Error)
	}
	c.wantPipe(0, xpc.Request{Routine: xpc.List, DomainPort: request.DomainPort}, send)
	send.close()
	domain.closed()

	ours, theirs := pair(t)
	back, forth := pair(t)
	hello := xpc.Message{Kind: xpc.KindHandshake, Rights: []mach.Right{{Fd: 1, Disposition: mach.MoveReceive}, {Fd: 2, Disposition: mach.MakeSend}}}
	c.say(hello, theirs, forth)
	theirs.close()
	forth.close()
	ours.closed()
	back.closed()
	c.silent()
	c.lookUp("name") // the connection goes on
}

// TestPipeOnBootstrapPort: a bootstrap port takes pipe routines on a port's terms.
func TestPipeOnBootstrapPort(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	requestor, send := portPair(t)
	boot := c.right(mach.MakeSend, subsetRequest(), send)
	send.close()
	ask := func(r xpc.Request, with ...*machConn) (xpc.Answer, []*machConn) {
		t.Helper()
		r.Token = 9
		packet, _, err := r.Message().Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range with { // behind the reply right
			packet[mach.HeaderSize+4+12*i]++
		}
		receive, reply := portPair(t)
		boot.mustSend(packet, append([]*machConn{reply}, with...)...)
		reply.close()
		m, fds := receive.hear()
		a, err := xpc.ParseAnswer(r.Routine, m)
		if err != nil || m.Token != 9 {
			t.Fatalf("the reply is %+v: %v", m, err)
		}
		receive.closed()
		return a, fds
	}
	a, fds := ask(xpc.Request{Routine: xpc.CheckIn2, Name: "inner"})
	if a.Error != xpc.OK {
		t.Fatal(a.Error)
	}
	c.unknown("inner") // it is the subset's
	far, near := pair(t)
	found, rights := ask(xpc.Request{Routine: xpc.LookUp2, Name: "inner", DomainPort: mach.Right{Fd: 1, Disposition: mach.CopySend}}, near)
	if found.Error != xpc.OK {
		t.Fatal(found.Error)
	}
	passes(rights[0], fds[0])
	near.close()
	far.closed()
	if a, _ := ask(xpc.Request{Routine: xpc.CheckIn2, Name: "inner"}); a.Error != xpc.Code(mach.ServiceActive) {
		t.Errorf("another check-in: %v", a.Error)
	}
	answer := xpc.Request{Routine: xpc.LookUp, Name: "inner", Token: 3}
	boot.say(answer.Message()) // without a reply right, it comes back
	if m, _ := boot.hear(); m.Token != 3 || !m.Root.Has("port") {
		t.Errorf("the reply is %+v", m)
	}
	boot.mustSend([]byte("nonsense with a header that is none"))
	boot.silent()
	requestor.close()
}

// TestPipeIsTraced: routines of the pipe are told of as Mach messages are.
func TestPipeIsTraced(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, c := open(t, b.dir), bootstrap(t, b.dir)
	all := s.trace("")
	c.pipeCheckIn(xpc.CheckIn2, "name")
	r := s.wantTraced(all, `check_in2 (pipe) "name" 0 `+xpc.OK.String())
	if r.Protocol != "xpc" || r.ID != 0x400000ce || int(r.PID) != os.Getpid() || r.Namespace != "/" {
		t.Errorf("it is %+v", r)
	}
	c.wantPipe(16, xpc.Request{Routine: xpc.CheckIn, Name: "name"})
	if r := s.wantTraced(all, `check_in (pipe) "name" 16 `+xpc.Busy.String()); r.ID != 0x10000000 {
		t.Errorf("it is %+v", r)
	}
	c.wantPipe(1102, xpc.Request{Routine: xpc.LookUp2, Name: "nobody"})
	s.wantTraced(all, `look_up2 (pipe) "nobody" 1102 `+mach.UnknownService.String())
	c.pipe(xpc.Request{Routine: xpc.List})
	s.wantTraced(all, `list (pipe) "" 0 `+xpc.OK.String())
	c.wantError(116, xpc.Message{Kind: xpc.KindRoutine, Routine: 999})
	s.wantTraced(all, `routine 999 (pipe) "" 116 `+xpc.NotImplemented.String())
	c.lookUp("name")
	if r := s.wantTraced(all, `look_up (canonical) "name" 0 `+mach.OK.String()); r.Protocol != "mach" {
		t.Errorf("it is %+v", r)
	}
}

// TestPipeLaunches: a look-up of the pipe launches as every other does.
func TestPipeLaunches(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", "", "serve", "p", "q"))
	b := s.broker()
	c := bootstrap(t, b.dir)
	c.wantPipe(1, xpc.Request{Routine: xpc.CheckIn, Name: "p"})
	c.wantPipe(1100, xpc.Request{Routine: xpc.CheckIn2, Name: "p"})
	open(t, b.dir).launches(t, 0)
	c.pipeLookUp(xpc.LookUp2, "p").question().answered()
	open(t, b.dir).launches(t, 1)
}
