// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

const (
	machFolder   = "testdata/mach"  // programs in C and Python written to the Mach bootstrap protocol; they share no code with us
	machPatience = 60 * time.Second // bounds every wait
	ordinaryUser = "65534"
)

// machSide is a broker and foreign programs that talk to it by Mach messages, all of one user.
type machSide struct {
	home   string
	user   []string          // begins each command, so that it is run as another user with few descriptors; empty: as we are
	limit  []string          // begins the broker's command, for its limits
	folder string            // of the programs, where that user can read them
	run    map[string]string // how the languages are run: the C program, and the Python interpreter
	flags  []string          // of serve
	env    []string          // more for every process
	broker *exec.Cmd
	log    string
}

// eachMachUser runs a test with a broker as we are, and with one of an ordinary user with 1,024 descriptors.
func eachMachUser(t *testing.T, test func(t *testing.T, m *machSide)) {
	t.Helper()
	t.Run("as we are", func(t *testing.T) {
		t.Parallel()
		test(t, newMachSide(t, nil))
	})
	t.Run("as an ordinary user", func(t *testing.T) {
		t.Parallel()
		test(t, newMachSide(t, ordinary(t)))
	})
}

// ordinary is what begins the commands of an ordinary user with 1,024 descriptors; the test is skipped where nobody can become one.
func ordinary(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can become another user")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("SKIPPED: no setpriv here: not tested as an ordinary user")
	}
	return []string{setpriv, "--reuid", ordinaryUser, "--regid", ordinaryUser, "--clear-groups", "sh", "-c", `ulimit -S -n 1024 && exec "$@"`, "sh"}
}

// newMachSide makes the folder and the programs; nothing runs yet. It skips the test where the programs cannot be built or run.
func newMachSide(t *testing.T, user []string) *machSide {
	t.Helper()
	home, err := os.MkdirTemp("", "mach")
	if err != nil {
		t.Fatal(err)
	}
	m := &machSide{home: home, user: user, folder: filepath.Join(home, "programs"), run: map[string]string{}, log: filepath.Join(home, "log")}
	t.Cleanup(func() { os.RemoveAll(home) })
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := os.ReadFile(m.log)
			t.Logf("the broker's log:\n%s", said[max(0, len(said)-4<<10):])
		}
	})
	if err := os.CopyFS(m.folder, os.DirFS(machFolder)); err != nil {
		t.Fatal(err)
	}
	m.run["c"] = filepath.Join(m.folder, "program")
	if err := os.Link(machProgram(t), m.run["c"]); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := linkOrCopy(self, m.binary()); err != nil {
		t.Fatal(err)
	}
	if user != nil {
		for _, dir := range []string{home, m.folder} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.findPython(t)
	return m
}

// findPython looks for an interpreter that the user can run.
func (m *machSide) findPython(t *testing.T) {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3", "/usr/local/bin/python3"} {
		if path, err := exec.LookPath(name); err == nil && m.command(t, path, "-c", "0").Run() == nil {
			m.run["python"] = path
			return
		}
	}
	t.Skip("SKIPPED: no python3 here that can be run: the foreign programs of the Mach front are not tested")
}

func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return os.Chmod(to, 0o755)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// sharedMachProgram is program.c, compiled once for the tests that run at the same time.
var sharedMachProgram struct {
	sync.Mutex
	users int
	dir   string
}

// machProgram returns the path of the program in C, which is there until the test ends.
func machProgram(t *testing.T) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("SKIPPED: no cc here: the foreign programs of the Mach front are not tested")
	}
	s := &sharedMachProgram
	s.Lock()
	defer s.Unlock()
	if s.users == 0 {
		if s.dir, err = os.MkdirTemp("", "machc"); err != nil {
			t.Fatal(err)
		}
		build := exec.Command(cc, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-pthread",
			filepath.Join(machFolder, "program.c"), "-o", filepath.Join(s.dir, "program"))
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	s.users++
	t.Cleanup(func() {
		s.Lock()
		defer s.Unlock()
		if s.users--; s.users == 0 {
			os.RemoveAll(s.dir)
		}
	})
	return filepath.Join(s.dir, "program")
}

func (m *machSide) binary() string  { return filepath.Join(m.home, "switchboard") }
func (m *machSide) runtime() string { return filepath.Join(m.home, "r") }
func (m *machSide) socket() string  { return filepath.Join(m.runtime(), "bootstrap.sock") }

// command makes a process of the user's, that knows only this broker.
func (m *machSide) command(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*machPatience) // parallel subtests may wait long for their turn
	t.Cleanup(cancel)
	all := slices.Concat(m.user, argv)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = append(os.Environ(), envRuntimeDir+"="+m.runtime(), "XDG_RUNTIME_DIR="+filepath.Join(m.home, "x"), "HOME="+m.home,
		"XDG_CONFIG_HOME="+filepath.Join(m.home, "c"), switchboard.EnvAutostart+"=0", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Env = append(cmd.Env, m.env...)
	cmd.Dir = m.home
	cmd.WaitDelay = time.Second
	return cmd
}

// serve starts the broker and returns when it serves. It ends with the test.
func (m *machSide) serve(t *testing.T) {
	t.Helper()
	cmd := m.command(t, slices.Concat(m.limit, []string{m.binary(), "serve", "--running-process", "off"}, m.flags)...)
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.broker = cmd
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); !kill.Stop() {
			t.Error("the broker did not end within 30 s")
		} else if err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	ready := make([]byte, 256)
	if n, err := out.Read(ready); !bytes.Contains(ready[:n], []byte("switchboard: ready")) {
		t.Fatalf("serve said %q, %v", ready[:n], err)
	}
}

// descriptors is how many the broker has.
func (m *machSide) descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.broker.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// settled lets a client come and go, and returns how many descriptors the broker then has.
func (m *machSide) settled(t *testing.T) int {
	t.Helper()
	before := m.descriptors(t)
	m.once(t, "c", "hostile", m.socket(), "short", "1")
	var now int
	stays := 0
	until(t, "the broker to have nothing to do", func() bool {
		if n := m.descriptors(t); n != now || n > before+4 {
			now, stays = n, 0
		}
		stays++
		return stays > 10
	})
	return now
}

// noLeak waits until the broker has as many descriptors as it had.
func (m *machSide) noLeak(t *testing.T, before int) {
	t.Helper()
	now := 0
	end := time.Now().Add(machPatience)
	for now = m.descriptors(t); now != before && time.Now().Before(end); now = m.descriptors(t) {
		time.Sleep(5 * time.Millisecond)
	}
	if now != before {
		list, _ := exec.Command("ls", "-l", fmt.Sprintf("/proc/%d/fd", m.broker.Process.Pid)).Output()
		t.Errorf("the broker has %d descriptors, before it was %d\n%s", now, before, list)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(machPatience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}
