// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// onSpot declares a command that runs portRole, with the ports p and q.
func (s services) onSpot(name, mode string, args ...string) session.Declare {
	return session.Declare{
		Name: name, Accept: "mach", Ports: []string{"p", "q"}, Exec: append([]string{s.exe, mode, ""}, args...),
		Env: []string{roleVariable + "=port", "GORACE=atexit_sleep_ms=0"},
	}
}

func (s *rawSession) declare(m session.Declare) session.DeclareReply {
	s.t.Helper()
	return parse(s.t, session.ParseDeclareReply, s.call(session.OpDeclare, m.Append(nil)))
}

func (s *rawSession) declared(m session.Declare) uint64 {
	s.t.Helper()
	r := s.declare(m)
	if r.Code != session.OK {
		s.t.Fatalf("cannot declare %s: %d %s", m.Name, r.Code, r.Text)
	}
	return r.Lease
}

func (s *rawSession) release(lease uint64) {
	s.t.Helper()
	if r := parse(s.t, session.ParseReply, s.call(session.OpRelease, session.Release{Lease: lease}.Append(nil))); r.Code != session.OK {
		s.t.Fatalf("cannot release: %d %s", r.Code, r.Text)
	}
}

// stops stops a service that no file defines at the end of the test.
func (b *testBroker) stops(name string) {
	b.t.Cleanup(func() {
		control := open(b.t, b.dir)
		defer control.close()
		control.call(session.OpStop, session.Select{Name: name}.Append(nil))
	})
}

// stateIs waits for what the status routine says of a name, or the code with which it is refused, as a negative number.
func (c *machConn) stateIs(name string, want int32) {
	c.t.Helper()
	eventually(c.t.(*testing.T), func() string {
		if st := c.status(name); st != want {
			return fmt.Sprintf("the state of %s is %d, not %d", name, st, want)
		}
		return ""
	})
}

// TestPortDeclared: a command on the spot is launched by the first look-up of a port, once, as long as somebody declares it.
func TestPortDeclared(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	b := s.broker()
	first, second, control := open(t, b.dir), open(t, b.dir), open(t, b.dir)
	c := bootstrap(t, b.dir)
	def := s.onSpot("svc", "serve", "p", "q")
	first.declared(def)
	lease := second.declared(def)
	for _, n := range []string{"p", "q"} {
		if st := c.status(n); st != 2 {
			t.Errorf("status of %s is %d, not 2", n, st)
		}
		c.want(mach.NotPrivileged, mach.Request{Routine: mach.CheckIn, Service: n})
	}
	if v := verdict(t, dial(t, b.dir, "DIAL svc\n")); !strings.HasPrefix(v, "ERR 69") || !strings.Contains(v, "p, q") {
		t.Errorf("a call of it: %q", v)
	}
	control.launches(t, 0)

	var all sync.WaitGroup
	pids := make([]int, 16)
	for i := range pids {
		c := bootstrap(t, b.dir)
		all.Go(func() {
			if i%4 == 0 {
				pids[i] = c.pipeLookUp(xpc.LookUp2, "p").question().answered()
			} else {
				pids[i] = c.lookUp([]string{"p", "q"}[i%2]).question().answered()
			}
		})
	}
	all.Wait()
	for _, pid := range pids {
		if pid != pids[0] {
			t.Fatalf("several processes answered: %v", pids)
		}
	}
	control.launches(t, 1)
	c.wantList(xpc.Listed{Label: "svc", PID: int64(pids[0])})
	c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "p"})

	// The declaration that is left is enough for another launch, with what was not read.
	first.close()
	send := c.lookUp("p")
	suspend(t, pids[0])
	answer := send.question()
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pid := answer.answered()
	if pid == pids[0] {
		t.Error("who was killed answered")
	}
	control.launches(t, 2)

	// Without one, the process goes on, and has its ports; a declaration that comes again is about the same.
	second.release(lease)
	if again := c.lookUp("p").question().answered(); again != pid {
		t.Errorf("process %d answered, not %d", again, pid)
	}
	if r := second.declare(s.onSpot("svc", "serve", "p")); r.Code != session.TryAgain {
		t.Errorf("another command: %d %s", r.Code, r.Text)
	}
	second.declared(def)
	control.stop(t, "svc")
	c.stateIs("p", 2)
	pid = c.lookUp("q").question().answered()
	control.launches(t, 3)
	before := control.status().Sessions
	second.close()
	eventually(t, func() string {
		if n := control.status().Sessions; n != before-1 {
			return fmt.Sprintf("%d sessions, of %d before", n, before)
		}
		return ""
	})
	if again := c.lookUp("p").question().answered(); again != pid {
		t.Errorf("process %d answered, not %d", again, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.becomes("p", mach.UnknownService)
	c.becomes("q", mach.UnknownService)
	control.launches(t, 3)
}

// TestPortDeclaredUnused: ports that nobody has end with the declaration, and who waits for a reply from one is told.
func TestPortDeclaredUnused(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	b := s.broker()
	b.stops("tvs")
	d, c := open(t, b.dir), bootstrap(t, b.dir)
	def := s.onSpot("svc", "fail")
	def.Ports = nil // the name
	lease := d.declared(def)
	send := c.lookUp("svc") // which launches, in vain
	answer := send.question()
	control := open(t, b.dir)
	control.launching(t, 1)
	d.release(lease)
	c.becomes("svc", mach.UnknownService)
	answer.died()
	if err := send.send(numbered(1)); err != syscall.EPIPE {
		t.Errorf("sending to it: %v", err)
	}
	c.checkIn("svc").close() // the name is free
	launched := control.status().Launches

	// A name that a session's owner has is the declaration's as soon as that has ended.
	other := bootstrap(t, b.dir)
	receive := other.checkIn("p")
	d.declared(s.onSpot("tvs", "serve", "p", "q"))
	passes(c.lookUp("p"), receive)
	control.launches(t, launched)
	receive.close()
	other.close()
	c.stateIs("p", 2)
	c.lookUp("p").question().answered()
}

// TestPortDeclaredAndDefined: a file that comes for a name goes before the declaration, and leaves it what it was.
func TestPortDeclaredAndDefined(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	b := s.broker()
	b.stops("svc")
	d, c := open(t, b.dir), bootstrap(t, b.dir)
	d.declared(s.onSpot("svc", "serve", "p", "q"))
	send := c.lookUp("q").question().answered()
	path := s.add("svc.toml", strings.Replace(s.ports("svc", "", "serve", "p"), `"p", "q"`, `"p", "r"`, 1))
	c.becomes("r", mach.OK)
	if pid := c.lookUp("q").question().answered(); pid != send {
		t.Errorf("process %d answered, not %d", pid, send)
	}
	if err := syscall.Unlink(path); err != nil {
		t.Fatal(err)
	}
	c.becomes("r", mach.UnknownService)
	open(t, b.dir).stop(t, "svc")
	c.stateIs("p", 2)
	c.stateIs("q", 2)
	c.lookUp("q").question().answered()
	d.close()
}

// TestPortDeclarationRefused: what cannot be declared, and says why.
func TestPortDeclarationRefused(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("file.toml", s.ports("file", "", "serve", "f"))
	b := s.broker()
	d, other, c := open(t, b.dir), open(t, b.dir), bootstrap(t, b.dir)
	b.undeclares("created")
	c.createService("created")
	other.own("owned")
	other.declared(session.Declare{Name: "listener", Exec: []string{"/bin/true"}})
	theirs := s.onSpot("theirs", "serve", "t")
	theirs.Ports = []string{"t"}
	other.declared(theirs)
	def := s.onSpot("svc", "serve", "x")
	for _, test := range []struct {
		change func(*session.Declare)
		code   session.Code
		text   string
	}{
		{func(m *session.Declare) { m.Version = "1.0.0" }, session.Usage, `version does not go with accept = "mach"`},
		{func(m *session.Declare) { m.Scope = "/tmp" }, session.Usage, `scope does not go with accept = "mach"`},
		{func(m *session.Declare) { m.Notify = true }, session.Usage, `ready does not go with accept = "mach"`},
		{func(m *session.Declare) { m.Accept = "path" }, session.Usage, `ports goes with accept = "mach" only`},
		{func(m *session.Declare) { m.Ports = []string{"a", "a"} }, session.Usage, "twice"},
		{func(m *session.Declare) { m.Ports = []string{"a~12"} }, session.Usage, "one process"},
		{func(m *session.Declare) { m.Ports = many(65) }, session.TryAgain, "65 ports are too many"},
		{func(m *session.Declare) { m.Name = "file" }, session.Usage, `is defined by`},
		{func(m *session.Declare) { m.Ports = []string{"a", "p"} }, session.TryAgain, `port "p" is one of service "file"`},
		{func(m *session.Declare) { m.Ports = []string{"t"} }, session.TryAgain, `port "t" is one of service "theirs"`},
		{func(m *session.Declare) { m.Ports = []string{"theirs"} }, session.TryAgain, `name "theirs" is one of service "theirs"`},
		{func(m *session.Declare) { m.Ports = []string{"listener"} }, session.TryAgain, `name "listener" is one of service "listener"`},
		{func(m *session.Declare) { m.Ports = []string{"owned"} }, session.TryAgain, `name "owned" is taken`},
		{func(m *session.Declare) { m.Ports = []string{"created"} }, session.TryAgain, `name "created" is an inactive port`},
	} {
		m := def
		test.change(&m)
		if r := d.declare(m); r.Code != test.code || !strings.Contains(r.Text, test.text) {
			t.Errorf("%d %s, want %d …%s…", r.Code, r.Text, test.code, test.text)
		}
	}
	c.unknown("a") // nothing is left of what was refused
	in := sessionOn(t, through(t, d.door(d.joinNamespace("ci").Namespace), sys.Seqpacket))
	in.hello(newClient())
	if r := in.declare(def); r.Code != session.NotAllowed || !strings.Contains(r.Text, "root namespace only") {
		t.Errorf("in a namespace: %d %s", r.Code, r.Text)
	}
}

func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("port", i))
	}
	return names
}
