// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// asynchronous are the ways to accept with which a backend is not ready as soon as it is executed.
var asynchronous = map[string]struct{ accept, more string }{
	"path":     {"path", ""},
	"native":   {"native", ""},
	"notify":   {"listener", "ready = \"notify\"\n"},
	"two ways": {"path", "ready = \"notify\"\n"},
}

const longBackOff = `restart = { min = "600s", max = "600s" }`

// TestLaunchFails: a start that fails ends for all who wait, with the reason; while it is not tried again newcomers are told so.
func TestLaunchFails(t *testing.T) {
	t.Parallel()
	const script = `read x <"$1"; for i in 1 2 3 4 5 6 7; do echo "line $i" >&2; done; exit 3`
	for name, way := range asynchronous {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			gate, tell := fifo(t)
			s.add("bad.toml", s.shell("bad", way.accept, way.more+longBackOff, script, gate))
			b := s.broker()
			control := open(t, b.dir)
			callers := dialAll(t, b.dir, "bad", 64)
			control.counts(t, 64, 1)
			tell()
			const output = "; its last output: | line 3 | line 4 | line 5 | line 6 | line 7"
			for i, c := range callers {
				if v, want := verdict(t, c), `ERR 69 service "bad" did not start: it exited with status 3; it is tried again after 600 s`+output; v != want {
					t.Errorf("caller %d: %s, want %s", i, v, want)
				}
			}
			v := verdict(t, dial(t, b.dir, "DIAL bad\n"))
			if !strings.HasPrefix(v, `ERR 75 service "bad" is not tried again for `) || !strings.Contains(v, ": it exited with status 3") || !strings.HasSuffix(v, output) {
				t.Errorf("while it backs off: %s", v)
			}
			control.launches(t, 1)
			control.counts(t, 0, 0)
		})
	}
}

// TestLaunchConnectionFails: each caller's start is one of its own, and what was tried and not served says why.
func TestLaunchConnectionFails(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	missing := filepath.Join(s.dir, "missing")
	s.add("bad.toml", s.command("bad", "connection", longBackOff, missing))
	b := s.broker()
	control := open(t, b.dir)
	first := verdict(t, dial(t, b.dir, "DIAL bad\n"))
	if !strings.HasPrefix(first, `ERR 69 service "bad" did not start: `) || !strings.Contains(first, missing) {
		t.Error(first)
	}
	if v := verdict(t, dial(t, b.dir, "DIAL bad\n")); !strings.HasPrefix(v, "ERR 75 ") || !strings.Contains(v, missing) {
		t.Error(v)
	}
	control.launches(t, 1)
}

// TestLaunchListenerFails: callers that had connected to a listener that fails are not left hanging, and do not have it launched again
// while it backs off, neither by asking nor by connecting to its path.
func TestLaunchListenerFails(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"3", "0"} { // also without a failure of its own: it left its callers
		t.Run("status "+status, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			gate, tell := fifo(t)
			count := filepath.Join(s.dir, "count")
			s.add("bad.toml", s.shell("bad", "listener", longBackOff, `echo launched >>"$1"; read x <"$2"; echo no such database; exit `+status, count, gate))
			b := s.broker()
			control := open(t, b.dir)
			var connected []net.Conn
			for _, c := range dialAll(t, b.dir, "bad", 16) {
				to, err := goTo(c, verdict(t, c))
				if err != nil {
					t.Fatal(err)
				}
				defer to.Close()
				connected = append(connected, to)
			}
			tell()
			for i, c := range connected {
				c.SetDeadline(time.Now().Add(deadline))
				if n, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
					t.Errorf("caller %d: %d bytes, %v", i, n, err)
				}
			}
			control.counts(t, 0, 0)
			for range 3 {
				if v := verdict(t, dial(t, b.dir, "DIAL bad\n")); !strings.HasPrefix(v, "ERR 75 ") ||
					!strings.Contains(v, "status "+status) || !strings.HasSuffix(v, "no such database") {
					t.Error(v)
				}
				c, err := net.Dial("unix", filepath.Join(b.dir, "s", "bad"))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(deadline))
				if n, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
					t.Errorf("who connects while it backs off: %d bytes, %v", n, err)
				}
			}
			control.launches(t, 1)
			if got, err := os.ReadFile(count); string(got) != "launched\n" {
				t.Errorf("it ran so often: %q, %v", got, err)
			}
			os.Remove(count) // no definition
		})
	}
}

// TestLaunchRestartTriesAtOnce: a restart does not wait for the back-off to be over.
func TestLaunchRestartTriesAtOnce(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	mended := filepath.Join(t.TempDir(), "mended")
	more := fmt.Sprintf("env = { %s = \"backend\" }\n%s", roleVariable, longBackOff)
	s.add("up.toml", s.shell("up", "path", more, `[ -e "$1" ] || exit 3; exec "$2" path`, mended, s.exe))
	b := s.broker()
	if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "ERR 69 ") {
		t.Fatal(v)
	}
	if err := os.WriteFile(mended, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "ERR 75 ") {
		t.Fatal(v)
	}
	control := open(t, b.dir)
	if n := len(control.manage(t, session.OpRestart, "up")); n != 1 {
		t.Errorf("%d backends are restarted", n)
	}
	control.event(session.OpStarted)
	reach(t, b.dir, "up").alive(t)
}

// TestLaunchNeverReady: what is not ready in time is refused to all who wait, and killed.
func TestLaunchNeverReady(t *testing.T) {
	t.Parallel()
	for name, way := range asynchronous {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("never.toml", s.shell("never", way.accept, way.more+"start_timeout = \"5s\"\n"+longBackOff, "trap '' TERM; echo here; sleep 1000; :"))
			b := s.broker()
			control := open(t, b.dir)
			callers := dialAll(t, b.dir, "never", 8)
			control.counts(t, 8, 1)
			pid := recorded(t, b.dir, "never").pid
			if !running(pid) {
				t.Errorf("process %d does not run", pid)
			}
			for _, c := range callers {
				if v := verdict(t, c); !strings.HasPrefix(v, `ERR 69 service "never" did not start: it `) ||
					!strings.Contains(v, "within 5000 ms; it is tried again after 600 s") || !strings.HasSuffix(v, "| here") {
					t.Error(v)
				}
			}
			gone(t, pid)
			control.counts(t, 0, 0)
			control.launches(t, 1)
		})
	}
}

// TestLaunchStoppedWhileStarting: who waits for a start that somebody stops is told so at once.
func TestLaunchStoppedWhileStarting(t *testing.T) {
	t.Parallel()
	for name, way := range asynchronous {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("slow.toml", s.shell("slow", way.accept, way.more, "exec sleep 1000"))
			b := s.broker()
			control := open(t, b.dir)
			callers := dialAll(t, b.dir, "slow", 8)
			control.counts(t, 8, 1)
			pid := recorded(t, b.dir, "slow").pid
			control.stop(t, "slow")
			if running(pid) {
				t.Error("it runs after ENDED")
			}
			for _, c := range callers {
				if v, want := verdict(t, c), `ERR 75 service "slow" does not start: it was stopped by `; !strings.HasPrefix(v, want) {
					t.Errorf("%s, want %s", v, want)
				}
			}
			s.add("slow.toml", s.backend("slow", "", way.accept)) // without back-off: it did not fail
			if got := reach(t, b.dir, "slow"); got.pid == pid {
				t.Errorf("process %d again", pid)
			}
		})
	}
}
