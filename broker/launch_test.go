// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// dialAll has n callers ask for a name at the same time.
func dialAll(t *testing.T, dir, name string, n int) (callers []net.Conn) {
	t.Helper()
	for range n {
		callers = append(callers, dial(t, dir, "DIAL "+name+"\n"))
	}
	return callers
}

func TestLaunchListener(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("up:1.toml", s.backend("up:1", "", "listener"))
	b := s.broker()
	control := open(t, b.dir)
	var first *served
	for i, c := range dialAll(t, b.dir, "up:1", 64) {
		got := follow(t, c)
		got.alive(t)
		if first == nil {
			first = got
		}
		if got.pid != first.pid {
			t.Errorf("caller %d has process %d, the first %d", i, got.pid, first.pid)
		}
		if u := peerOf(t, got.Conn); int(u.Pid) != got.pid {
			t.Errorf("the kernel says that process %d listens; it is %d", u.Pid, got.pid)
		}
	}
	control.launches(t, 1)
	want := map[string]string{"fds": "1", "for": strconv.Itoa(first.pid), "names": "up_1"}
	for k, v := range want {
		if first.says[k] != v {
			t.Errorf("%s is %q, want %q", k, first.says[k], v)
		}
	}
	control.stop(t, "up:1")
	if running(first.pid) {
		t.Error("it runs after ENDED")
	}
}

func peerOf(t *testing.T, c net.Conn) (u *syscall.Ucred) {
	t.Helper()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) { u, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return u
}

// TestLaunchWaits: who asks for what gets ready by itself waits until then, and all get the same process.
func TestLaunchWaits(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"path", "native"} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			gate, tell := fifo(t)
			s.add("late.toml", s.backend("late", "", accept, "gate="+gate))
			b := s.broker()
			control := open(t, b.dir)
			callers := dialAll(t, b.dir, "late", 8)
			control.counts(t, 8, 1)
			pid := recorded(t, b.dir, "late").pid
			tell()
			for _, c := range append(callers, dialAll(t, b.dir, "late", 1)...) {
				got := follow(t, c)
				got.alive(t)
				if got.pid != pid {
					t.Errorf("process %d answers, %d was launched", got.pid, pid)
				}
			}
			control.launches(t, 1)
		})
	}
}

// TestLaunchConnection: each caller has a process of its own, on its standard input and output; what was sent early is there.
func TestLaunchConnection(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("cat.toml", s.shell("cat", "connection", "", "echo $$; exec cat"))
	b := s.broker()
	pids := make(map[string]bool)
	var open []*net.UnixConn
	for range 3 {
		c := dial(t, b.dir, "DIAL cat\nearly ")
		if v := verdict(t, c); v != "OK" {
			t.Fatal(v)
		}
		pids[verdict(t, c)] = true // its first line
		open = append(open, c)
	}
	if len(pids) != 3 {
		t.Errorf("the processes of 3 callers are %v", pids)
	}
	for _, c := range open {
		if _, err := io.WriteString(c, "late"); err != nil {
			t.Fatal(err)
		}
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "early late" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// gatedShim is an exec shim that waits at a fifo before it does anything.
func gatedShim(t *testing.T) (shim string, tell func()) {
	t.Helper()
	gate, tell := fifo(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shim = filepath.Join(t.TempDir(), "shim")
	script := fmt.Sprintf("#!/bin/bash\nread x <%q\nexec -a switchboard-exec %q\n", gate, exe)
	syscall.ForkLock.RLock() // a child that is being started would hold the file open for a moment, and it would be "text file busy"
	err = os.WriteFile(shim, []byte(script), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return shim, tell
}

// TestLaunchConnectionLimit: at most 8 processes of a service start at a time, and the callers behind them have their turn.
func TestLaunchConnectionLimit(t *testing.T) {
	t.Parallel()
	const callers, atOnce = 20, 8
	s := newServices(t)
	s.add("cat.toml", s.command("cat", "connection", "", "/bin/cat"))
	shim, tell := gatedShim(t)
	b := s.start(brokerOptions{Shim: shim})
	control := open(t, b.dir)
	waiting := dialAll(t, b.dir, "cat", callers)
	control.counts(t, callers, atOnce)
	for i := uint64(1); i <= callers; i++ {
		tell()
		control.counts(t, callers-i, min(callers, atOnce+i)) // one has its process, which stays
	}
	for _, c := range waiting {
		if v := verdict(t, c); v != "OK" {
			t.Error(v)
		}
	}
	control.launches(t, callers)
}

// TestLaunchVersions: a newer version is launched beside the one that runs; who is connected stays where it is.
func TestLaunchVersions(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("v@1.4.0.toml", s.backend("v", `version = "1.4.0"`, "path"))
	b := s.broker()
	old := reach(t, b.dir, "v")
	s.add("v@2.0.0.toml", s.backend("v", `version = "2.0.0"`, "path"))
	pids := map[string]int{"1.4.0": old.pid}
	for _, tt := range []struct{ request, version string }{
		{"v", "2.0.0"}, {"v version=^1.2", "1.4.0"}, {"v version=>=1.2,<2", "1.4.0"}, {"v version=>=1.2", "2.0.0"}, {"v version=2.0.0", "2.0.0"},
	} {
		got := reach(t, b.dir, tt.request)
		if got.says["version"] != tt.version {
			t.Errorf("%s is version %s, want %s", tt.request, got.says["version"], tt.version)
		}
		if pid, ok := pids[tt.version]; ok && pid != got.pid {
			t.Errorf("%s is process %d, and %d is that version", tt.request, got.pid, pid)
		}
		pids[tt.version] = got.pid
	}
	if v := verdict(t, dial(t, b.dir, "DIAL v version=^3\n")); !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, "1.4.0") {
		t.Errorf("a version that there is not: %s", v)
	}
	old.alive(t)
	open(t, b.dir).launches(t, 2)
	c, err := net.Dial("unix", filepath.Join(b.dir, "s", "v"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := greeted(c); err != nil || got.pid != pids["2.0.0"] {
		t.Errorf("s/v leads to %+v, %v", got, err)
	}
}

// TestLaunchDefinitions: a broken definition is refused with its line, and nobody else's; a changed one counts from the next instance.
func TestLaunchDefinitions(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	broken := s.add("broken.toml", "name = \"broken\"\nexec = [\"/bin/cat\"]\naccept = \"magic\"\n")
	s.add("up.toml", s.backend("up", "", "listener", "tag=one"))
	b := s.broker()
	control := open(t, b.dir)
	for range 2 {
		if v := verdict(t, dial(t, b.dir, "DIAL broken\n")); !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, broken+":3:") {
			t.Error(v)
		}
		reach(t, b.dir, "up").alive(t)
	}
	s.add("broken.toml", "name = \"broken\"\nexec = [\"/bin/cat\"]\naccept = \"connection\"\n")
	if v := verdict(t, dial(t, b.dir, "DIAL broken\n")); v != "OK" {
		t.Errorf("mended: %s", v)
	}
	s.add("up.toml", s.backend("up", "", "listener", "tag=number-two"))
	if got := reach(t, b.dir, "up"); got.says["tag"] != "one" {
		t.Errorf("while it runs it is %q", got.says["tag"])
	}
	control.stop(t, "up")
	if got := reach(t, b.dir, "up"); got.says["tag"] != "number-two" {
		t.Errorf("the next instance is %q", got.says["tag"])
	}
	if r := parse(t, session.ParseBackendsReply, control.call(session.OpStop, session.Select{Name: "nobody"}.Append(nil))); r.Code != session.Unavailable {
		t.Errorf("a name that no backend has: %d %s", r.Code, r.Text)
	}
}
