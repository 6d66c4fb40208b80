// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// services is a folder of definitions.
type services struct {
	t   *testing.T
	dir string
	exe string // of backends
}

func newServices(t *testing.T) services {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return services{t, publicTemp(t), exe}
}

// publicTemp is a temporary folder that other users can read.
func publicTemp(t *testing.T) string {
	t.Helper()
	dir := shortTemp(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// add writes a definition, and returns its path.
func (s services) add(file, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, file)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// backend is the definition of one that runs backendRole.
func (s services) backend(name, more string, args ...string) string {
	env := fmt.Sprintf("env = { %s = \"backend\", GORACE = \"atexit_sleep_ms=0\" }\n", roleVariable)
	return s.command(name, args[0], env+more, append([]string{s.exe}, args...)...)
}

// shell is the definition of one that runs a script.
func (s services) shell(name, accept, more, script string, args ...string) string {
	return s.command(name, accept, more, append([]string{"/bin/sh", "-c", script, "sh"}, args...)...)
}

func (services) command(name, accept, more string, argv ...string) string {
	for i, a := range argv {
		argv[i] = strconv.Quote(a)
	}
	return fmt.Sprintf("name = %q\naccept = %q\nexec = [%s]\n%s\n", name, accept, strings.Join(argv, ", "), more)
}

func (s services) broker() *testBroker {
	s.t.Helper()
	return s.start(brokerOptions{})
}

// start starts a broker that has these definitions. What it launches ends with the test before the broker's descriptors are
// counted; nothing of it may be left when the broker has ended.
func (s services) start(o brokerOptions) *testBroker {
	s.t.Helper()
	o.Services = []string{s.dir}
	var b *testBroker
	s.t.Cleanup(func() {
		if b != nil {
			noneLeft(s.t, b.dir)
		}
	})
	b = startBroker(s.t, o)
	s.endBackends(b)
	return b
}

// next starts the broker that follows one that was ended. With nothing launched it must have as many descriptors.
func (s services) next(before *testBroker) *testBroker {
	s.t.Helper()
	b := startBrokerIn(s.t, before.dir, brokerOptions{Services: []string{s.dir}})
	b.empty = before.empty // not what it has now: some of that belongs to what it adopted
	s.endBackends(b)
	return b
}

func (s services) endBackends(b *testBroker) {
	s.t.Cleanup(func() {
		switch {
		case b.ended:
		case s.t.Failed():
			b.cmd.Process.Signal(syscall.SIGTERM)
			b.exited()
		default:
			files, err := os.ReadDir(s.dir)
			if err != nil {
				s.t.Fatal(err)
			}
			control := open(s.t, b.dir)
			defer control.close()
			eventually(s.t, func() string { // what was taken must have been acknowledged, or the next instance gets it
				if n := control.status().Waiting; n != 0 {
					return fmt.Sprintf("%d callers still wait", n)
				}
				return ""
			})
			for _, f := range files {
				name, _, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".toml"), "@")
				control.call(session.OpStop, session.Select{Name: name}.Append(nil)) // 69 if it does not run
			}
			eventually(s.t, func() string {
				if n := control.status().Backends; n != 0 {
					return fmt.Sprintf("%d backends are left after the stop", n)
				}
				return ""
			})
		}
	})
}

// noneLeft checks that no process is left that the brokers of a runtime folder launched, and kills those that are.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		environ, _ := os.ReadFile(path) // it may be gone
		if !strings.Contains("\x00"+string(environ), "\x00SWITCHBOARD_RUNTIME_DIR="+dir+"\x00") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if running(pid) {
			t.Errorf("process %d was left behind: %q", pid, command)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// backendRecord is what a test needs of a record in the runtime folder.
type backendRecord struct {
	path   string
	all    map[string]any
	pid    int
	cgroup string
}

// recorded waits until the broker has recorded one backend of a name, ready or not, and returns the record.
func recorded(t *testing.T, dir, name string) (found backendRecord) {
	t.Helper()
	eventually(t, func() string {
		list, err := filepath.Glob(filepath.Join(dir, "i", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		found = backendRecord{}
		for _, path := range list {
			r := backendRecord{path: path}
			b, err := os.ReadFile(path)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			d := json.NewDecoder(bytes.NewReader(b))
			d.UseNumber() // inodes are too large for a float
			if err := d.Decode(&r.all); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if r.all["name"] != name {
				continue
			}
			if found.path != "" {
				return name + " has several records"
			}
			if _, err := fmt.Sscan(fmt.Sprint(r.all["pid"]), &r.pid); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			r.cgroup, _ = r.all["cgroup"].(string)
			found = r
		}
		if found.path == "" {
			return name + " has no record"
		}
		return ""
	})
	return found
}

func (s *rawSession) status() session.StatusReply {
	s.t.Helper()
	return parse(s.t, session.ParseStatusReply, s.call(session.OpStatus, nil))
}

// counts waits until so many callers wait for so many backends.
func (s *rawSession) counts(t *testing.T, callers, backends uint64) {
	t.Helper()
	eventually(t, func() string {
		if st := s.status(); st.Waiting != callers || st.Backends != backends {
			return fmt.Sprintf("%d callers wait and %d backends run, want %d and %d", st.Waiting, st.Backends, callers, backends)
		}
		return ""
	})
}

// launches checks how many backends were launched so far.
func (s *rawSession) launches(t *testing.T, want uint64) {
	t.Helper()
	if got := s.status().Launches; got != want {
		t.Errorf("%d launches, want %d", got, want)
	}
}

// launching waits until so many backends were launched: a look-up does not.
func (s *rawSession) launching(t *testing.T, want uint64) {
	t.Helper()
	eventually(t, func() string {
		if got := s.status().Launches; got != want {
			return fmt.Sprintf("%d launches, want %d", got, want)
		}
		return ""
	})
}

// manage sends STOP, RESTART or RETIRE, and returns the backends that the reply names.
func (s *rawSession) manage(t *testing.T, op session.Op, name string) []uint64 {
	t.Helper()
	r := parse(t, session.ParseBackendsReply, s.call(op, session.Select{Name: name}.Append(nil)))
	if r.Code != session.OK {
		t.Fatalf("%v %s: %d %s", op, name, r.Code, r.Text)
	}
	return r.Backends
}

// stop stops a service, and waits until the broker says that each of its backends has ended.
func (s *rawSession) stop(t *testing.T, name string) {
	t.Helper()
	for range s.manage(t, session.OpStop, name) {
		s.event(session.OpEnded)
	}
}
