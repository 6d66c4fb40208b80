// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// backendRole is what a broker launches: it says in a line to each who connects what it is, and echoes. Mode listener: on descriptor 3.
// Mode path: at $SWITCHBOARD_SOCKET, after a line came from a fifo.
func backendRole(args []string) {
	var l net.Listener
	var err error
	if args[0] == "path" {
		fifo, ferr := os.Open(args[1])
		if ferr != nil {
			panic(ferr)
		}
		if _, err := bufio.NewReader(fifo).ReadString('\n'); err != nil {
			panic(err)
		}
		l, err = net.Listen("unix", os.Getenv("SWITCHBOARD_SOCKET"))
	} else {
		l, err = net.FileListener(os.NewFile(3, "listener"))
	}
	if err != nil {
		panic(err)
	}
	line := fmt.Sprintf("pid=%d version=%s fds=%s for=%s names=%s\n", os.Getpid(), os.Getenv("SWITCHBOARD_VERSION"),
		os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDNAMES"))
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer c.Close()
			io.WriteString(c, line)
			io.Copy(c, c)
		}()
	}
}

// services is a folder of definitions.
type services struct {
	t   *testing.T
	dir string
}

func newServices(t *testing.T) services {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return services{t, dir}
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
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	exec := strconv.Quote(exe)
	for _, a := range args {
		exec += ", " + strconv.Quote(a)
	}
	return fmt.Sprintf("name = %q\naccept = %q\nexec = [%s]\nenv = { %s = \"backend\", GORACE = \"atexit_sleep_ms=0\" }\n%s\n",
		name, args[0], exec, roleVariable, more)
}

func (s services) broker() *testBroker {
	s.t.Helper()
	b := startBroker(s.t, brokerOptions{Services: []string{s.dir}})
	s.endBackends(b)
	return b
}

// endBackends has what the broker launched end with the test, before its descriptors are counted.
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
			for _, f := range files {
				name, _, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".toml"), "@")
				control.call(session.OpStop, session.Select{Name: name}.Append(nil))
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

// fifo makes one, by which a backend is told to go on.
func fifo(t *testing.T) (path string, tell func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // both, so that it never waits for the other side
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, func() {
		t.Helper()
		if _, err := io.WriteString(f, "go on\n"); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *rawSession) status() session.StatusReply {
	s.t.Helper()
	return parse(s.t, session.ParseStatusReply, s.call(session.OpStatus, nil))
}

// served is a connection to a backend, and what it said of itself.
type served struct {
	net.Conn
	in                             *bufio.Reader
	pid, version, fds, listen, tag string
}

// follow goes where a verdict leads.
func follow(v string) (*served, error) {
	path, ok := strings.CutPrefix(v, "AT ")
	if !ok {
		return nil, fmt.Errorf("the verdict is %q", v)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(deadline))
	s := &served{Conn: c, in: bufio.NewReader(c)}
	line, err := s.in.ReadString('\n')
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("at %s: %w", path, err)
	}
	f := make(map[string]string)
	for _, field := range strings.Fields(line) {
		k, v, _ := strings.Cut(field, "=")
		f[k] = v
	}
	s.pid, s.version, s.fds, s.listen, s.tag = f["pid"], f["version"], f["fds"], f["for"], f["names"]
	return s, nil
}

func (s *served) echo() error {
	if _, err := io.WriteString(s, "hello\n"); err != nil {
		return err
	}
	if line, err := s.in.ReadString('\n'); err != nil || line != "hello\n" {
		return fmt.Errorf("the echo is %q, %v", line, err)
	}
	return nil
}

// reach dials a service and follows the verdict.
func reach(t *testing.T, dir, request string) *served {
	t.Helper()
	s, err := follow(verdict(t, dial(t, dir, "DIAL "+request+"\n")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLaunchConnection(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("cat.toml", "name = \"cat\"\nexec = [\"/bin/cat\"]\naccept = \"connection\"\n")
	b := s.broker()
	for range 3 {
		c := dial(t, b.dir, "DIAL cat\nearly ")
		if v := verdict(t, c); v != "OK" {
			t.Fatal(v)
		}
		if _, err := io.WriteString(c, "late"); err != nil {
			t.Fatal(err)
		}
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "early late" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestLaunchFails(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	path, tell := fifo(t)
	s.add("bad.toml", fmt.Sprintf(`name = "bad"
accept = "path"
exec = ["/bin/sh", "-c", "read x <\"$1\"; echo no such database >&2; exit 3", "sh", %q]
restart = { min = "20s", max = "30s" }
`, path))
	b := s.broker()
	var callers []net.Conn
	for range 20 {
		callers = append(callers, dial(t, b.dir, "DIAL bad\n"))
	}
	control := open(t, b.dir)
	eventually(t, func() string {
		if st := control.status(); st.Waiting != 20 {
			return fmt.Sprintf("%d callers wait", st.Waiting)
		}
		return ""
	})
	tell()
	for i, c := range callers {
		v := verdict(t, c)
		if !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, "status 3") || !strings.Contains(v, "no such database") {
			t.Errorf("caller %d: %s", i, v)
		}
	}
	v := verdict(t, dial(t, b.dir, "DIAL bad\n"))
	if !strings.HasPrefix(v, "ERR 75 ") || !strings.Contains(v, "status 3") || !strings.Contains(v, "no such database") {
		t.Errorf("while it backs off: %s", v)
	}
	if st := control.status(); st.Launches != 1 {
		t.Errorf("%d launches, want 1", st.Launches)
	}
}

func TestLaunchIdleStop(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("held.toml", s.backend("held", `idle_stop = "100ms"`, "listener"))
	s.add("other.toml", s.backend("other", `idle_stop = "100ms"`, "listener"))
	b := s.broker()
	held := reach(t, b.dir, "held")
	control := open(t, b.dir)
	backends := func(want uint64) {
		t.Helper()
		eventually(t, func() string {
			if n := control.status().Backends; n != want {
				return fmt.Sprintf("%d backends run, want %d", n, want)
			}
			return ""
		})
	}
	for range 3 { // the other one's end shows that the time is over
		reach(t, b.dir, "other").Close()
		backends(1)
	}
	if err := held.echo(); err != nil {
		t.Errorf("a silent connection was cut: %v", err)
	}
	if again := reach(t, b.dir, "held"); again.pid != held.pid {
		t.Errorf("process %s, then %s", held.pid, again.pid)
	} else {
		again.Close()
	}
	held.Close()
	backends(0)
}
