// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// shared are the ways to accept of which one process serves all callers.
var shared = []string{"listener", "path", "native"}

// each runs a test for each of the shared ways.
func each(t *testing.T, f func(t *testing.T, accept string)) {
	t.Parallel()
	for _, accept := range shared {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			f(t, accept)
		})
	}
}

const noBackOff = `restart = { min = "1ms", max = "1ms" }`

// ended fails if a caller is left hanging, and returns its verdict or the error that it reads.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	v := verdict(t, c)
	if strings.HasSuffix(v, os.ErrDeadlineExceeded.Error()) {
		t.Error("a caller is left without an answer")
	}
	return v
}

// TestLaunchStopped: a process that somebody stops for a while is slow, and not dead: it is not replaced, not even after the time
// that it has to start or to be idle, and who calls meanwhile is served when it goes on.
func TestLaunchStopped(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("up.toml", s.backend("up", `idle_stop = "1s"`, accept))
		s.add("clock.toml", s.backend("clock", `idle_stop = "1s"`, "listener"))
		b := s.broker()
		control := open(t, b.dir)
		before := reach(t, b.dir, "up")
		pause(t, before.pid)
		t.Cleanup(func() { syscall.Kill(before.pid, syscall.SIGCONT) })
		var waiting []net.Conn
		for _, c := range dialAll(t, b.dir, "up", 4) {
			if accept != "native" { // who is handed over has no verdict yet
				to, err := goTo(c, verdict(t, c))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { to.Close() })
				c = to
			}
			waiting = append(waiting, c)
		}
		for i := range 2 { // each end of the other one shows that the time is over
			reach(t, b.dir, "clock").Close()
			eventually(t, func() string {
				if st := control.status(); st.Backends != 1 || st.Launches != uint64(i+2) {
					return fmt.Sprintf("%d backends, %d launches, want 1, %d", st.Backends, st.Launches, i+2)
				}
				return ""
			})
		}
		kill(t, before.pid, syscall.SIGCONT)
		for _, c := range waiting {
			if accept == "native" {
				if v := verdict(t, c); v != "OK" {
					t.Fatal(v)
				}
			}
			got, err := greeted(c)
			if err != nil {
				t.Fatal(err)
			}
			if got.pid != before.pid {
				t.Errorf("process %d answers, before it was %d", got.pid, before.pid)
			}
		}
		before.alive(t)
		control.launches(t, 3)
	})
}

// TestLaunchKilledBeforeItRuns: the process is killed before it was told what to run, or while it is being told.
func TestLaunchKilledBeforeItRuns(t *testing.T) {
	t.Parallel()
	for _, accept := range append([]string{"connection"}, shared...) {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("up.toml", s.shell("up", accept, noBackOff, "exec sleep 1000"))
			shim, _ := gatedShim(t)
			b := s.start(brokerOptions{Shim: shim})
			control := open(t, b.dir)
			c := dial(t, b.dir, "DIAL up\n")
			control.counts(t, 1, 1)
			kill(t, recorded(t, b.dir, "up").pid, syscall.SIGKILL)
			v := ended(t, c)
			if path, ok := strings.CutPrefix(v, "AT "); ok && accept == "listener" { // taken for one that was executed
				to, err := net.Dial("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				defer to.Close()
				to.SetDeadline(time.Now().Add(deadline))
				if v = ended(t, to); strings.HasPrefix(v, "pid=") {
					t.Error(v)
				}
			} else if !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, "SIGKILL") {
				t.Error(v)
			}
			// Who connected to the path of a listener may have had it launched again: that one waits at the gate.
		})
	}
}

// TestLaunchKilledBeforeReady: who waits for it is told at once, and the next caller has a new one.
func TestLaunchKilledBeforeReady(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"path", "native"} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			gate, tell := fifo(t)
			s.add("up.toml", s.backend("up", noBackOff, accept, "gate="+gate))
			b := s.broker()
			control := open(t, b.dir)
			callers := dialAll(t, b.dir, "up", 8)
			control.counts(t, 8, 1)
			pid := recorded(t, b.dir, "up").pid
			kill(t, pid, syscall.SIGKILL)
			for _, c := range callers {
				if v := ended(t, c); !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, "SIGKILL") {
					t.Error(v)
				}
			}
			tell()
			if got := reachAtLast(t, b.dir, "up"); got.pid == pid {
				t.Errorf("process %d again", pid)
			}
			control.launches(t, 2)
		})
	}
}

// TestLaunchKilledWithCallersQueued: it is ready, and has not taken those who called. Each gets an answer or an end, and may ask again.
func TestLaunchKilledWithCallersQueued(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("up.toml", s.backend("up", noBackOff, accept))
		b := s.broker()
		control := open(t, b.dir)
		first := reach(t, b.dir, "up")
		control.counts(t, 0, 1)
		pause(t, first.pid) // it takes nobody now
		callers := dialAll(t, b.dir, "up", 100)
		if accept == "native" { // more than are handed over at a time
			control.counts(t, 100, 1)
		} else {
			for i, c := range callers {
				to, err := goTo(c, verdict(t, c))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { to.Close() })
				to.SetDeadline(time.Now().Add(deadline))
				callers[i] = to
			}
		}
		kill(t, first.pid, syscall.SIGKILL)
		served := 0
		for _, c := range callers {
			v := ended(t, c)
			if accept == "native" && v == "OK" {
				v = ended(t, c) // the greeting of the next one
			}
			if strings.HasPrefix(v, "pid=") {
				served++
				if strings.HasPrefix(v, fmt.Sprintf("pid=%d ", first.pid)) {
					t.Errorf("the one that was killed says %s", v)
				}
			}
		}
		t.Logf("%d of %d were served by the next", served, len(callers))
		first.cut(t)
		if got := reachAtLast(t, b.dir, "up"); got.pid == first.pid {
			t.Errorf("process %d again", first.pid)
		}
		if n := control.status().Launches; n > 3 {
			t.Errorf("%d launches", n)
		}
	})
}

// TestLaunchKilledWhileServing: who was connected reads the end, and the next caller has a new process.
func TestLaunchKilledWhileServing(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("up.toml", s.backend("up", noBackOff, accept))
		b := s.broker()
		callers := []*served{reach(t, b.dir, "up"), reach(t, b.dir, "up")}
		open(t, b.dir).counts(t, 0, 1)
		kill(t, callers[0].pid, syscall.SIGKILL)
		for _, c := range callers {
			c.cut(t)
		}
		if got := reachAtLast(t, b.dir, "up"); got.pid == callers[0].pid {
			t.Errorf("process %d again", got.pid)
		}
		open(t, b.dir).launches(t, 2)
	})
}

// TestLaunchConnectionKilled: only its own caller notices.
func TestLaunchConnectionKilled(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("cat.toml", s.shell("cat", "connection", longBackOff, "echo pid=$$; exec cat"))
	b := s.broker()
	one, two := reach(t, b.dir, "cat"), reach(t, b.dir, "cat")
	kill(t, one.pid, syscall.SIGKILL)
	one.cut(t)
	two.alive(t)
	reach(t, b.dir, "cat").alive(t) // no back-off: it had its caller
}

// TestLaunchKilledWhileStopping: newcomers wait for its end, and get the next one.
func TestLaunchKilledWhileStopping(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		term, _ := fifo(t) // which is never told
		s.add("up.toml", s.backend("up", longBackOff+"\nstop_timeout = \"1h\"", accept, "term="+term))
		b := s.broker()
		control := open(t, b.dir)
		old := reach(t, b.dir, "up")
		control.counts(t, 0, 1)
		control.manage(t, session.OpStop, "up")
		callers := dialAll(t, b.dir, "up", 8)
		control.counts(t, 8, 1)
		var direct net.Conn
		if accept == "listener" { // its path is the next one's already
			var err error
			if direct, err = net.Dial("unix", filepath.Join(b.dir, "s", "up")); err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
		}
		control.launches(t, 1)
		old.alive(t)
		kill(t, old.pid, syscall.SIGKILL)
		control.event(session.OpEnded)
		next := 0
		for _, c := range callers {
			got := follow(t, c)
			if got.pid == old.pid || next != 0 && next != got.pid {
				t.Errorf("process %d answers; the old one was %d, the next is %d", got.pid, old.pid, next)
			}
			next = got.pid
		}
		if direct != nil {
			if got, err := greeted(direct); err != nil || got.pid != next {
				t.Errorf("who came by the path got %+v, %v; the next is process %d", got, err, next)
			}
		}
		control.launches(t, 2)
		kill(t, next, syscall.SIGKILL) // it would wait for the fifo
		control.counts(t, 0, 0)
	})
}
