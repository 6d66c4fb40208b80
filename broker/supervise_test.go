// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// TestIdleStop: a silent connection keeps a backend; it ends after the last one was closed.
func TestIdleStop(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("held.toml", s.backend("held", `idle_stop = "1s"`, accept))
		s.add("clock.toml", s.backend("clock", `idle_stop = "1s"`, "listener"))
		b := s.broker()
		held := reach(t, b.dir, "held")
		control := open(t, b.dir)
		for range 3 { // each end of the other one shows that the time is over
			reach(t, b.dir, "clock").Close()
			control.counts(t, 0, 1)
		}
		held.alive(t)
		if again := reach(t, b.dir, "held"); again.pid != held.pid {
			t.Errorf("process %d, then %d", held.pid, again.pid)
		} else {
			again.Close()
		}
		control.launches(t, 4)
		held.Close()
		control.counts(t, 0, 0)
		gone(t, held.pid)
		if got := reach(t, b.dir, "held"); got.pid == held.pid {
			t.Errorf("process %d again", got.pid)
		}
	})
}

// TestIdleStopNewcomers: who comes while an idle backend is ending waits for the next one, also at its path.
func TestIdleStopNewcomers(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		term, tell := fifo(t)
		s.add("up.toml", s.backend("up", "idle_stop = \"1s\"\nstop_timeout = \"1h\"", accept, "term="+term))
		b := s.broker()
		control := open(t, b.dir)
		old := reach(t, b.dir, "up")
		old.Close()
		eventually(t, func() string {
			if r := control.lookUp("up"); r.Code == session.OK && r.Entry.PID == uint32(old.pid) {
				return "the name is still that of the idle one"
			}
			return ""
		})
		callers := dialAll(t, b.dir, "up", 4)
		control.counts(t, 4, 1)
		var direct net.Conn
		if accept == "listener" {
			var err error
			if direct, err = net.Dial("unix", filepath.Join(b.dir, "s", "up")); err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
		}
		control.launches(t, 1)
		if !running(old.pid) {
			t.Error("the old one has ended: nobody waited for it")
		}
		tell()
		next := make(map[int]bool)
		for _, c := range callers {
			next[follow(t, c).pid] = true
		}
		if direct != nil {
			if got, err := greeted(direct); err != nil {
				t.Error(err)
			} else {
				next[got.pid] = true
			}
		}
		if len(next) != 1 || next[old.pid] {
			t.Errorf("%v answer; the old one was %d", next, old.pid)
		}
		control.launches(t, 2)
		tell() // the next one's end
	})
}

// TestStop: SIGTERM, and SIGKILL for what does not end by it. ENDED comes when all is gone, and says how.
func TestStop(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		term, _ := fifo(t) // which is never told
		s.add("soft.toml", s.backend("soft", "stop_timeout = \"1h\"", accept))
		s.add("hard.toml", s.backend("hard", "stop_timeout = \"100ms\"", accept, "term="+term))
		b := s.broker()
		control := open(t, b.dir)
		for _, tt := range []struct{ name, reason string }{{"soft", "SIGTERM"}, {"hard", "SIGKILL"}} {
			c := reach(t, b.dir, tt.name)
			control.counts(t, 0, 1)
			ids := control.manage(t, session.OpStop, tt.name)
			e := parse(t, session.ParseEnded, control.event(session.OpEnded))
			if len(ids) != 1 || ids[0] != e.Lease || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("%s: backends %v, ENDED %+v", tt.name, ids, e)
			}
			if running(c.pid) {
				t.Errorf("%s runs after ENDED", tt.name)
			}
			c.cut(t)
			control.counts(t, 0, 0)
		}
	})
}

// TestStopTaken: a connection that a native backend takes while it is being stopped is its own: nobody else says OK on it.
func TestStopTaken(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	take, tell := fifo(t)
	term, _ := fifo(t)
	s.add("up.toml", s.backend("up", "stop_timeout = \"1h\"", "native", "take="+take, "term="+term))
	b := s.broker()
	control := open(t, b.dir)
	c := dial(t, b.dir, "DIAL up\n")
	pid := executed(t, b.dir, "up")
	eventually(t, func() string {
		if r := control.lookUp("up"); r.Code != session.OK {
			return "it has not claimed its name"
		}
		return ""
	})
	control.manage(t, session.OpStop, "up")
	tell()
	v := ended(t, c)
	if v == "OK" {
		if v, want := ended(t, c), fmt.Sprintf("pid=%d", pid); v != want {
			t.Errorf("it says %q, want %q", v, want)
		}
	} else if !strings.HasPrefix(v, "ERR 75 ") { // it was refused before, and the owner has nothing to write to
		t.Error(v)
	}
	tell() // for another one that takes it
	kill(t, pid, syscall.SIGKILL)
	if v := ended(t, c); v != "EOF" {
		t.Errorf("after its end there is %q on the connection", v)
	}
	control.launches(t, 1)
}

// TestRestart: newcomers get a new one by the definition as it is now; the old one ends when its last caller has gone.
func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		gate, tell := fifo(t)
		s.add("up.toml", s.backend("up", "", accept, "tag=one"))
		b := s.broker()
		control := open(t, b.dir)
		old := reach(t, b.dir, "up")
		control.counts(t, 0, 1)
		s.add("up.toml", s.backend("up", "", accept, "tag=number-two", "gate="+gate))
		ids := control.manage(t, session.OpRestart, "up")
		newcomer := dial(t, b.dir, "DIAL up\n")
		old.alive(t)
		tell()
		if e := parse(t, session.ParseStarted, control.event(session.OpStarted)); len(ids) != 1 || ids[0] != e.Lease {
			t.Errorf("backends %v, STARTED %+v", ids, e)
		}
		if got := follow(t, newcomer); got.pid == old.pid || got.says["tag"] != "number-two" {
			t.Errorf("the newcomer has %v, the old one was %v", got.says, old.says)
		}
		old.alive(t)
		control.counts(t, 0, 2)
		old.Close()
		gone(t, old.pid)
		control.counts(t, 0, 1)
	})
}

// TestRestartFails: the old one is not brought back, and the reason is told.
func TestRestartFails(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("up.toml", s.backend("up", longBackOff, "path"))
	b := s.broker()
	control := open(t, b.dir)
	old := reach(t, b.dir, "up")
	s.add("up.toml", s.shell("up", "path", longBackOff, "echo no database; exit 3"))
	control.manage(t, session.OpRestart, "up")
	if e := parse(t, session.ParseEnded, control.event(session.OpEnded)); !strings.Contains(e.Reason, "status 3") || !strings.Contains(e.Reason, "no database") {
		t.Errorf("the reason is %q", e.Reason)
	}
	old.alive(t)
	if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "ERR 75 ") || !strings.Contains(v, "status 3") {
		t.Error(v)
	}
	old.Close()
	control.counts(t, 0, 0)
}

// TestRetire: newcomers do not get it; it ends when its last caller has gone, and not before.
func TestRetire(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("up.toml", s.backend("up", "", accept))
		s.add("clock.toml", s.backend("clock", "", accept))
		b := s.broker()
		control := open(t, b.dir)
		old := reach(t, b.dir, "up")
		control.counts(t, 0, 1)
		if ids := control.manage(t, session.OpRetire, "up"); len(ids) != 1 {
			t.Errorf("backends %v", ids)
		}
		next := reach(t, b.dir, "up")
		if next.pid == old.pid {
			t.Error("a newcomer gets the retired one")
		}
		clock := reach(t, b.dir, "clock")
		clock.Close()
		control.counts(t, 0, 3)
		control.manage(t, session.OpRetire, "clock") // its end shows that connections were counted
		control.counts(t, 0, 2)
		old.alive(t)
		old.Close()
		gone(t, old.pid)
		next.alive(t)
		control.counts(t, 0, 1)
	})
}

// TestEndStopsAll: a broker that ends stops what it launched, first kindly, then not, and what is starting too.
func TestEndStopsAll(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	never, _ := fifo(t)
	for _, accept := range shared {
		s.add(accept+".toml", s.backend(accept, "", accept))
	}
	s.add("hard.toml", s.backend("hard", "stop_timeout = \"100ms\"", "path", "term="+never))
	s.add("slow.toml", s.backend("slow", "", "path", "gate="+never))
	s.add("cat.toml", s.shell("cat", "connection", "", "echo pid=$$; exec cat"))
	b := s.broker()
	control := open(t, b.dir)
	waiting := dial(t, b.dir, "DIAL slow\n")
	pids := []int{executed(t, b.dir, "slow")}
	for _, name := range append([]string{"hard", "cat"}, shared...) {
		pids = append(pids, reach(t, b.dir, name).pid)
	}
	control.counts(t, 1, 6)
	b.ended = true
	b.signal(syscall.SIGTERM)
	b.exited()
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the broker exited with %d", code)
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
	if v := ended(t, waiting); !strings.HasPrefix(v, "ERR 75 ") {
		t.Errorf("who waited for the start: %s", v)
	}
	if left, err := filepath.Glob(filepath.Join(b.dir, "i", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in i/: %v, %v", left, err)
	}
}
