// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestPortRefuses: who waits for a reply of a service that cannot start is told that there will be none, also while it is not tried again,
// and the next look-up or message after that has it tried.
func TestPortRefuses(t *testing.T) {
	t.Parallel()
	for how, mode := range map[string]string{"look-up": "launch = \"lookup\"\n", "message": "launch = \"message\"\n"} {
		for what, exec := range map[string][]string{"that cannot be executed": {"/does/not/exist"}, "that exits": {"/bin/sh", "-c", "exit 3"}, "that ends": {"/bin/true"}} {
			t.Run(how+" "+what, func(t *testing.T) {
				t.Parallel()
				s := newServices(t)
				define := func(restart string) {
					s.add("svc.toml", s.command("svc", "mach", "ports = [\"p\"]\n"+mode+restart, exec...))
				}
				define(longBackOff)
				b := s.broker()
				c, control := bootstrap(t, b.dir), open(t, b.dir)
				send := c.lookUp("p")
				var answers []*machConn
				for range 20 {
					answers = append(answers, send.question())
				}
				// Who opens an XPC connection waits on that: it hangs up.
				in, asks := portPair(t)
				hears, out := portPair(t)
				send.say(xpc.Message{Kind: xpc.KindHandshake, Rights: []mach.Right{{Fd: 1, Disposition: mach.MoveReceive}, {Fd: 2, Disposition: mach.MakeSend}}}, in, out)
				in.close()
				out.close()
				asks.closed()
				hears.closed()
				for _, a := range answers {
					a.died()
				}
				control.launches(t, 1)
				for range 5 { // while it is not tried again
					send.post(numbered(1))
					send.question().died()
					c.lookUp("p").question().died()
				}
				control.launches(t, 1)
				failures := control.status().Failures
				if len(failures) != 1 || failures[0].Name != "svc" || failures[0].Reason == "" || failures[0].Wait < 100_000 || len(failures[0].Ports) != 1 {
					t.Errorf("the status says %+v", failures)
				}
			})
		}
	}
}

// TestPortTriedAgain: when the wait is over the next message or look-up has the service tried, and nobody who waits is left in silence.
func TestPortTriedAgain(t *testing.T) {
	t.Parallel()
	for how, mode := range map[string]string{"look-up": "launch = \"lookup\"\n", "message": "launch = \"message\"\n"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			more := mode + "restart = { min = \"20ms\", max = \"40ms\" }\n"
			s.add("svc.toml", s.ports("svc", more, "fail"))
			b := s.broker()
			c, control := bootstrap(t, b.dir), open(t, b.dir)
			send := c.lookUp("p")
			for control.status().Launches < 4 {
				send.question().died()
			}
			s.add("svc.toml", s.ports("svc", more, "serve", "p", "q"))
			eventually(t, func() string {
				p := send.question().next()
				if m, err := mach.ParseMessage(p.data, len(p.fds), mach.OnPort); err != nil || m.Header.ID != 600 {
					return "it is refused"
				}
				return ""
			})
		})
	}
}

// TestPortOfAnotherDefinition: what has the port of another definition is launched by nothing, and says why.
func TestPortOfAnotherDefinition(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("a.toml", s.ports("a", "", "serve", "p", "q"))
	second := s.add("b.toml", s.ports("b", "", "serve", "p", "q"))
	b := s.broker()
	control := open(t, b.dir)
	r := parse(t, session.ParseBackendsReply, control.call(session.OpRestart, session.Select{Name: "b"}.Append(nil)))
	if r.Code != session.Unavailable || !strings.Contains(r.Text, second+":") || !strings.Contains(r.Text, "already") {
		t.Errorf("RESTART: %d %s", r.Code, r.Text)
	}
	if v := verdict(t, dial(t, b.dir, "DIAL b\n")); !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, second+":") {
		t.Errorf("DIAL: %s", v)
	}
	control.launches(t, 0)
}

// TestMachSpawnHandles: programs that have ended leave no descriptor behind.
func TestMachSpawnHandles(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Allow: []string{"launch"}, Subreaper: true})
	c := bootstrap(t, b.dir)
	count := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	request := mach.Request{Routine: mach.Spawn, Launch: mach.Launch{Path: "/bin/true", Args: []string{"true"}}}
	c.want(mach.OK, request)
	eventually(t, func() string {
		if all := pidfds(t, b); all != 1 {
			return fmt.Sprintf("%d handles of processes", all)
		}
		return ""
	})
	c.close()
	eventually(t, func() string {
		if all := pidfds(t, b); all != 0 {
			return fmt.Sprintf("%d handles of processes", all)
		}
		b.empty = b.count() // with the goroutine that the first signal brought
		return ""
	})
	c = bootstrap(t, b.dir)
	c.unknown("com.example.none")
	before := count()
	for range 60 {
		c.want(mach.OK, request)
	}
	eventually(t, func() string {
		if now := count(); now > before {
			return fmt.Sprintf("%d descriptors, %d before", now, before)
		}
		return ""
	})
}

// pidfds counts the handles of processes that a broker has: one is this one's.
func pidfds(t *testing.T, b *testBroker) (n int) {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if what, _ := os.Readlink(path); strings.Contains(what, "pidfd") {
			n++
		}
	}
	return n
}

// TestMachSpawnMalformed: who may not have programs started learns nothing more; who may, what is wrong.
func TestMachSpawnMalformed(t *testing.T) {
	t.Parallel()
	for code, allow := range map[mach.Code][]string{mach.NotPrivileged: nil, mach.InvalidArgument: {"launch"}} {
		b := startBroker(t, brokerOptions{Allow: allow})
		c := bootstrap(t, b.dir)
		for _, l := range []mach.Launch{
			{Path: "/bin/true"},
			{Path: "relative", Args: []string{"true"}},
			{Path: "/bin/true", Args: []string{"true"}, Env: []string{"A=1", "B"}},
			{Path: "/bin/true", Args: []string{"true"}, Env: []string{"=1"}},
		} {
			c.want(code, mach.Request{Routine: mach.Spawn, Launch: l})
		}
		packet, err := mach.Request{Routine: mach.Spawn, Token: 7, Launch: mach.Launch{Path: "/bin/true", Args: []string{"true"}}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		packet[40]++ // the byte count
		c.mustSend(packet)
		if reply, _ := c.reply(mach.Request{Routine: mach.Spawn, Token: 7}); reply.Code != code {
			t.Errorf("a false byte count: %v, not %v", reply.Code, code)
		}
	}
}

// TestMachOwnEnds: what leads to the broker itself is no port, whoever has it.
func TestMachOwnEnds(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c, other := bootstrap(t, b.dir), bootstrap(t, b.dir)
	in, _ := c.subset()
	boot := c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	door := newMach(t, open(t, b.dir).door(uint64(directory.Root)))
	for what, right := range map[string]*machConn{"its own connection": c, "another's": other, "one through a bootstrap port": in, "a bootstrap port": boot, "a door": door} {
		if code := c.code(registerRequest("com.example.own"), right); code != mach.InvalidRight {
			t.Errorf("register of %s: %v", what, code)
		}
		if code := c.code(subsetRequest(), right); code != mach.InvalidRight {
			t.Errorf("subset by %s: %v", what, code)
		}
	}
	c.unknown("com.example.own")
	other.close()
	boot.close()
	_, send := portPair(t)
	c.register("com.example.own", send)
}

// TestPortStopped: who waits for a service that is stopped before it has checked its port in is told so.
func TestPortStopped(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.command("svc", "mach", "ports = [\"p\"]\n", "/bin/sleep", "1000"))
	b := s.broker()
	c, control := bootstrap(t, b.dir), open(t, b.dir)
	answer := c.lookUp("p").question()
	control.launching(t, 1)
	answer.silent()
	control.stop(t, "svc")
	answer.died()
	control.launches(t, 1)
}
