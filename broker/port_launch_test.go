// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// ports is the definition of one that runs portRole and has the ports p and q.
func (s services) ports(name, more, mode string, args ...string) string {
	more = fmt.Sprintf("env = { %s = \"port\", GORACE = \"atexit_sleep_ms=0\" }\nports = [\"p\", \"q\"]\n%s", roleVariable, more)
	return s.command(name, "mach", more, slices.Concat([]string{s.exe, mode, ""}, args)...)
}

const byMessage = "launch = \"message\"\nrestart = { min = \"20ms\", max = \"40ms\" }\n"

// Everybody who looks up a port of a definition gets it at once, and one process is launched for all.
func TestPortLaunchedByLookUp(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", "restart = { min = \"20ms\", max = \"40ms\" }", "serve", "p", "q"))
	b := s.broker()
	c, control := bootstrap(t, b.dir), open(t, b.dir)
	for _, n := range []string{"p", "q"} {
		if st := c.status(n); st != 2 {
			t.Errorf("status of %s is %d, not 2", n, st)
		}
	}
	c.want(mach.NotPrivileged, mach.Request{Routine: mach.CheckIn, Service: "p"})
	_, other := portPair(t)
	c.want(mach.NotPrivileged, registerRequest("p"), other)
	c.want(mach.NotPrivileged, mach.Request{Routine: mach.Register, Service: "p", Right: mach.Right{Disposition: mach.CopySend}})
	control.launches(t, 0)
	var all sync.WaitGroup
	pids := make([]int, 32)
	for i := range pids {
		c := bootstrap(t, b.dir)
		all.Go(func() { pids[i] = c.lookUp([]string{"p", "q"}[i%2]).question().answered() })
	}
	all.Wait()
	for _, pid := range pids {
		if pid != pids[0] {
			t.Fatalf("several processes answered: %v", pids)
		}
	}
	control.launches(t, 1)
	for _, n := range []string{"p", "q"} {
		if st := c.status(n); st != 1 {
			t.Errorf("status of %s is %d, not 1", n, st)
		}
		c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: n})
	}

	// What it leaves unread is the next one's, which is launched for that, be it after the wait that a failure brings.
	send := c.lookUp("p")
	suspend(t, pids[0])
	answer := send.question()
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pid := answer.answered()
	if pid == pids[0] || send.question().answered() != pid {
		t.Errorf("process %d answered, and it was killed", pid)
	}
	control.launches(t, 2)

	// With nothing unread none is launched, and not by a message: by the next look-up.
	control.stop(t, "svc")
	eventually(t, func() string {
		if st := c.status("p"); st != 2 {
			return fmt.Sprintf("status %d", st)
		}
		return ""
	})
	answer = send.question()
	control.launches(t, 2)
	answer.silent()
	c.lookUp("q")
	next := answer.answered()
	control.launches(t, 3)

	// A look-up of what has just been killed is not lost, whatever the broker knows of it yet.
	for range 10 {
		if err := syscall.Kill(next, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		answer := c.lookUp("p").question()
		if pid := answer.answered(); pid == next {
			t.Error("who was killed answered")
		} else {
			next = pid
		}
	}

	// The next instance of a restart has the ports at once.
	control.launches(t, 13)
	control.manage(t, session.OpRestart, "svc")
	eventually(t, func() string {
		if running(next) {
			return "it runs on"
		}
		return ""
	})
	c.lookUp("p").question().answered()
	control.launches(t, 14)
}

// suspend stops a process, all of its threads.
func suspend(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range threads {
			if stat, err := os.ReadFile(path); err != nil || !strings.Contains(string(stat), ") T ") {
				return "a thread goes on"
			}
		}
		return ""
	})
}

func TestPortLaunchedByMessage(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", byMessage, "serve", "p", "q"))
	b := s.broker()
	c, control := bootstrap(t, b.dir), open(t, b.dir)
	send := c.lookUp("p")
	control.launches(t, 0)
	pid := send.question().answered()
	if again := c.lookUp("q").question().answered(); again != pid {
		t.Errorf("%d answered, and then %d", pid, again)
	}
	control.launches(t, 1)

	// A process that was killed with a message unread is followed by another, also after a failed start; without a message by none.
	for range 3 {
		suspend(t, pid)
		answer := send.question()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next := answer.answered()
		if next == pid {
			t.Error("who was killed answered")
		}
		pid = next
	}
	control.launches(t, 4)
	control.stop(t, "svc")
	if running(pid) {
		t.Error("it runs after ENDED")
	}
	control.launches(t, 4)
}

// A service that cannot start is tried again at the end of each wait as long as there is a message; who waits for a reply is told that there
// will be none, and what else was sent is kept, in order, for the first that can.
func TestPortBackOff(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", byMessage, "fail"))
	b := s.broker()
	c, control := bootstrap(t, b.dir), open(t, b.dir)
	send := c.lookUp("p")
	for i := range 3 {
		send.post(numbered(i))
	}
	answer := send.question()
	for i := range 3 {
		send.post(numbered(3 + i))
	}
	launched := func(n uint64) {
		t.Helper()
		eventually(t, func() string {
			if got := control.status().Launches; got < n {
				return fmt.Sprintf("%d launches, want %d", got, n)
			}
			return ""
		})
	}
	answer.died()
	launched(4)
	s.add("svc.toml", "nonsense") // it keeps its ports
	before := control.status().Launches
	c.lookUp("q").question().died()
	in := filepath.Join(shortTemp(t), "in")
	s.add("svc.toml", s.ports("svc", byMessage, "write", "p", "to="+in))
	eventually(t, func() string {
		if got, _ := os.ReadFile(in); string(got) != "0 1 2 3 4 5 " {
			return "the service got " + string(got)
		}
		return ""
	})
	if got := control.status().Launches; got > before+4 {
		t.Errorf("%d launches meanwhile", got-before)
	}
}

// Definitions that come and go, and change, and whose names are taken.
func TestPortDefinitions(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	b := s.broker()
	c := bootstrap(t, b.dir)
	other := bootstrap(t, b.dir)
	theirs := other.checkIn("q")
	path := s.add("svc.toml", s.ports("svc", byMessage, "serve", "p", "q"))
	c.becomes("p", mach.OK)
	c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "q"})
	passes(c.lookUp("q"), theirs)
	theirs.close() // its name is free as soon as nobody can receive
	other.close()
	eventually(t, func() string {
		if st := c.status("q"); st != 2 {
			return fmt.Sprintf("status %d", st)
		}
		return ""
	})

	// The second definition of a port does not count.
	second := s.add("tvs.toml", strings.Replace(s.ports("tvs", byMessage, "serve", "r"), `"p", "q"`, `"q", "r"`, 1))
	third := s.add("uvs.toml", strings.Replace(s.ports("uvs", byMessage, "serve", "u"), `"p", "q"`, `"u"`, 1))
	c.becomes("u", mach.OK)
	c.unknown("r")

	// A port that goes over to a definition before it stays what it is.
	send := c.lookUp("q")
	zero := s.add("a.toml", strings.Replace(s.ports("a", byMessage, "serve", "q"), `"p", "q"`, `"q", "z"`, 1))
	c.becomes("z", mach.OK)
	c.becomes("p", mach.UnknownService) // svc is the second one now
	old := send.question().answered()
	if err := os.Remove(zero); err != nil {
		t.Fatal(err)
	}
	c.becomes("z", mach.UnknownService)
	c.becomes("p", mach.OK)
	if again := send.question().answered(); again != old {
		t.Errorf("process %d answered, not %d, which runs on", again, old)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if st := c.status("q"); st != 2 {
			return fmt.Sprintf("status %d", st)
		}
		return ""
	})

	// Without definition: who waits for a reply gets none; a port that somebody has is left until its owner has ended.
	pid := c.lookUp("q").question().answered()
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), ".svc")); err != nil {
		t.Fatal(err)
	}
	u := c.lookUp("u")
	if err := os.Remove(third); err != nil {
		t.Fatal(err)
	}
	c.becomes("u", mach.UnknownService)
	if err := u.send(numbered(1)); err != syscall.EPIPE {
		t.Errorf("sending to a port without a definition: %v", err)
	}
	if again := c.lookUp("q").question().answered(); again != pid {
		t.Errorf("process %d answered, not %d", again, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.becomes("p", mach.UnknownService)
	c.becomes("r", mach.OK) // which has q now
	c.lookUp("q")
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	c.becomes("q", mach.UnknownService)
	c.becomes("r", mach.UnknownService)
}
