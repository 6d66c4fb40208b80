// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// crash kills a broker.
func (b *testBroker) crash() {
	b.t.Helper()
	b.ended = true
	b.signal(syscall.SIGKILL)
	b.exited()
}

// leave ends a broker that leaves its backends running.
func (b *testBroker) leave() {
	b.t.Helper()
	b.ended = true
	open(b.t, b.dir).call(session.OpShutdown, session.Shutdown{KeepBackends: true}.Append(nil))
	b.exited()
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		b.t.Errorf("the broker exited with %d", code)
	}
}

// TestAdopt: the next broker goes on with what the last one launched, whichever way that ended.
func TestAdopt(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*testBroker){"crash": (*testBroker).crash, "shutdown --keep-backends": (*testBroker).leave} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			for _, accept := range shared {
				s.add(accept+".toml", s.backend(accept, "", accept))
			}
			first := s.broker()
			before := make(map[string]*served)
			for _, accept := range shared {
				before[accept] = reach(t, first.dir, accept)
			}
			open(t, first.dir).counts(t, 0, 3)
			end(first)
			b := s.next(first)
			control := open(t, b.dir)
			control.launches(t, 0)
			for _, accept := range shared {
				c := reach(t, b.dir, accept)
				if c.pid != before[accept].pid {
					t.Errorf("%s: process %d answers, before it was %d", accept, c.pid, before[accept].pid)
				}
				c.alive(t)
				before[accept].alive(t)
			}
			control.counts(t, 0, 3)
			control.launches(t, 0)
			for _, accept := range shared {
				control.stop(t, accept)
				if running(before[accept].pid) {
					t.Errorf("%s runs after ENDED", accept)
				}
				if c := reach(t, b.dir, accept); c.pid == before[accept].pid {
					t.Errorf("%s: process %d again", accept, c.pid)
				}
			}
			control.launches(t, 3)
		})
	}
}

// TestAdoptStarting: one that is not ready when its broker dies is waited for by the next.
func TestAdoptStarting(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"path", "native"} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			gate, tell := fifo(t)
			s.add("up.toml", s.backend("up", "", accept, "gate="+gate))
			first := s.broker()
			dial(t, first.dir, "DIAL up\n")
			pid := executed(t, first.dir, "up")
			first.crash()
			b := s.next(first)
			c := dial(t, b.dir, "DIAL up\n")
			control := open(t, b.dir)
			control.counts(t, 1, 1)
			tell()
			if got := follow(t, c); got.pid != pid {
				t.Errorf("process %d answers, %d was launched", got.pid, pid)
			}
			control.launches(t, 0)
		})
	}
}

// executed waits until a backend is recorded with the program that it runs.
func executed(t *testing.T, dir, name string) (pid int) {
	t.Helper()
	eventually(t, func() string {
		r := recorded(t, dir, name)
		if pid = r.pid; r.all["exe"] == nil {
			return "it is not recorded as executed"
		}
		return ""
	})
	return pid
}

// TestAdoptRetired: one that was retired gets no newcomers from the next broker either, and ends when its last caller has gone.
func TestAdoptRetired(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"listener", "path"} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("up.toml", s.backend("up", "", accept))
			first := s.broker()
			old := reach(t, first.dir, "up")
			open(t, first.dir).manage(t, session.OpRetire, "up")
			first.crash()
			b := s.next(first)
			control := open(t, b.dir)
			control.counts(t, 0, 1)
			if got := reach(t, b.dir, "up"); got.pid == old.pid {
				t.Error("a newcomer gets the retired one")
			}
			old.alive(t)
			control.counts(t, 0, 2)
			old.Close()
			gone(t, old.pid)
			control.counts(t, 0, 1)
		})
	}
}

// TestAdoptDead: what ended while no broker ran is not missed: the next caller has a new one, without back-off.
func TestAdoptDead(t *testing.T) {
	each(t, func(t *testing.T, accept string) {
		s := newServices(t)
		s.add("up.toml", s.backend("up", longBackOff, accept))
		first := s.broker()
		old := reach(t, first.dir, "up")
		first.crash()
		kill(t, old.pid, syscall.SIGKILL)
		gone(t, old.pid)
		b := s.next(first)
		control := open(t, b.dir)
		control.counts(t, 0, 0)
		if got := reach(t, b.dir, "up"); got.pid == old.pid {
			t.Errorf("process %d again", old.pid)
		}
		control.launches(t, 1)
	})
}

// TestAdoptLater: one that is killed long after its launch has not failed its start, though the broker that found it is young.
func TestAdoptLater(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("up.toml", s.backend("up", "start_timeout = \"6s\"\n"+longBackOff, "path"))
	s.add("clock.toml", s.shell("clock", "path", "start_timeout = \"7s\"", "exec sleep 1000"))
	first := s.broker()
	old := reach(t, first.dir, "up")
	verdict(t, dial(t, first.dir, "DIAL clock\n")) // comes when the time of the other one is over
	open(t, first.dir).counts(t, 0, 1)
	first.crash()
	b := s.next(first)
	control := open(t, b.dir)
	control.counts(t, 0, 1)
	kill(t, old.pid, syscall.SIGKILL)
	control.counts(t, 0, 0)
	if v := verdict(t, dial(t, b.dir, "DIAL up\n")); len(v) < 3 || v[:3] != "AT " {
		t.Error(v)
	}
}

// TestAdoptReusedPID: a record that leads to another process by now is not believed, and that process is left alone.
func TestAdoptReusedPID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		session bool // the stranger leads a session, so that its number is also a session's
		change  func(r map[string]any, pid int, began uint64)
	}{
		{"its number and start, of a session without a cgroup", true, func(r map[string]any, pid int, began uint64) {
			r["pid"], r["began"] = pid, began
			delete(r, "cgroup")
		}},
		{"its number, of a session without a cgroup", true, func(r map[string]any, pid int, _ uint64) {
			r["pid"] = pid
			delete(r, "cgroup")
		}},
		{"its number", false, func(r map[string]any, pid int, _ uint64) { r["pid"] = pid }},
		{"its number, of a session", true, func(r map[string]any, pid int, _ uint64) { r["pid"] = pid }},
		{"its number and start", false, func(r map[string]any, pid int, began uint64) { r["pid"], r["began"] = pid, began }},
		{"its number and start, of a session", true, func(r map[string]any, pid int, began uint64) { r["pid"], r["began"] = pid, began }},
		{"another boot", true, func(r map[string]any, pid int, began uint64) { r["pid"], r["began"], r["boot"] = pid, began, "another" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("up.toml", s.backend("up", "", "path"))
			first := s.broker()
			old := reach(t, first.dir, "up")
			first.crash()
			kill(t, old.pid, syscall.SIGKILL)
			gone(t, old.pid)

			stranger := exec.Command("sleep", "1000")
			stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: tt.session}
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				stranger.Process.Kill()
				stranger.Wait()
			})
			st, err := sys.StatProcess(stranger.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			r := recorded(t, first.dir, "up")
			tt.change(r.all, stranger.Process.Pid, st.Start)
			text, err := json.Marshal(r.all)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(r.path, text, 0o600); err != nil {
				t.Fatal(err)
			}

			b := s.next(first)
			control := open(t, b.dir)
			control.counts(t, 0, 0)
			if got := reach(t, b.dir, "up"); got.pid == stranger.Process.Pid {
				t.Error("it was adopted")
			}
			control.launches(t, 1)
			control.stop(t, "up")
			b.ended = true // its end may be what harms
			b.signal(syscall.SIGTERM)
			b.exited()
			if !running(stranger.Process.Pid) {
				t.Error("a stranger was killed")
			}
		})
	}
}
