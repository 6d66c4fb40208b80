// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// backendRole is what a broker launches: it says in a line to each who connects what it is, and echoes. Its arguments are how it
// accepts, and then: gate=FIFO, a byte from there must come before it accepts (listener), listens (path) or claims (native);
// term=FIFO, likewise before SIGTERM ends it; take=FIFO, likewise before it takes a connection (native, without the library);
// tag=TEXT, part of what it says.
func backendRole(args []string) {
	with := make(map[string]string)
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		with[k] = v
	}
	if with["term"] != "" {
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		go func() {
			<-terms
			waitAt(with["term"])
			os.Exit(0)
		}()
	}
	waitAt(with["gate"])
	if with["take"] != "" {
		takeSlowly(with["take"])
	}
	var l net.Listener
	var err error
	switch args[0] {
	case "path":
		l, err = net.Listen("unix", os.Getenv("SWITCHBOARD_SOCKET"))
	case "native": // the library claims the name again at the next broker
		l, err = switchboard.New(switchboard.Config{NoAutostart: true}).Listen(context.Background(), os.Getenv("SWITCHBOARD_NAME"))
	default:
		l, err = net.FileListener(os.NewFile(3, "listener"))
	}
	if err != nil {
		panic(err)
	}
	line := fmt.Sprintf("pid=%d uid=%d version=%s fds=%s for=%s names=%s tag=%s\n", os.Getpid(), os.Getuid(), os.Getenv("SWITCHBOARD_VERSION"),
		os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDNAMES"), with["tag"])
	for {
		c, err := l.Accept()
		if err != nil && with["term"] != "" {
			select {} // a native one that is stopped has lost its name, and goes on with its callers
		}
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

// takeSlowly owns its name, and takes each connection only when it is told.
func takeSlowly(fifo string) {
	s := connect(panicker{}, os.Getenv("SWITCHBOARD_RUNTIME_DIR"))
	s.call(session.OpHello, session.Hello{Session: newClient(), Instance: os.Getenv("SWITCHBOARD_INSTANCE")}.Append(nil))
	s.own(os.Getenv("SWITCHBOARD_NAME"))
	for {
		m, h := s.handOver()
		waitAt(fifo)
		s.acknowledge(h.Connection)
		fmt.Fprintf(s.conn(m), "%spid=%d\n", h.Preamble, os.Getpid())
	}
}

// waitAt waits for one byte of a fifo.
func waitAt(fifo string) {
	if fifo == "" {
		return
	}
	f, err := os.Open(fifo)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil { // no more: the next byte is somebody else's
		panic(err)
	}
}

// fifo makes one at which backends wait; each call of tell lets one of them go on.
func fifo(t *testing.T) (path string, tell func()) {
	t.Helper()
	path = filepath.Join(shortTemp(t), "fifo")
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
		if _, err := io.WriteString(f, "\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// served is a connection to a backend, and what that said of itself.
type served struct {
	net.Conn
	in   *bufio.Reader
	pid  int
	says map[string]string
}

// greeted reads what a backend says first.
func greeted(c net.Conn) (*served, error) {
	c.SetDeadline(time.Now().Add(deadline))
	s := &served{Conn: c, in: bufio.NewReader(c), says: make(map[string]string)}
	line, err := s.in.ReadString('\n')
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("no greeting: %w", err)
	}
	for _, field := range strings.Fields(line) {
		k, v, _ := strings.Cut(field, "=")
		s.says[k] = v
	}
	if _, err := fmt.Sscan(s.says["pid"], &s.pid); err != nil {
		c.Close()
		return nil, fmt.Errorf("the greeting is %q", line)
	}
	return s, nil
}

// goTo connects to where a verdict leads; c is the connection that it came on.
func goTo(c net.Conn, verdict string) (net.Conn, error) {
	if verdict == "OK" {
		return c, nil
	}
	path, ok := strings.CutPrefix(verdict, "AT ")
	if !ok {
		return nil, fmt.Errorf("the verdict is %q", verdict)
	}
	return net.Dial("unix", path)
}

// follow goes where the verdict leads, and reads what is said there.
func follow(t *testing.T, c net.Conn) *served {
	t.Helper()
	to, err := goTo(c, verdict(t, c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	s, err := greeted(to)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reach dials a service and follows the verdict.
func reach(t *testing.T, dir, request string) *served {
	t.Helper()
	return follow(t, dial(t, dir, "DIAL "+request+"\n"))
}

// reachAtLast is reach for after a failure: it asks again, as the library does, while the broker backs off or has not noticed yet.
func reachAtLast(t *testing.T, dir, request string) (s *served) {
	t.Helper()
	eventually(t, func() string {
		c := dial(t, dir, "DIAL "+request+"\n")
		to, err := goTo(c, verdict(t, c))
		if err == nil {
			t.Cleanup(func() { to.Close() })
			s, err = greeted(to)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	return s
}

// alive reports an error if the backend does not answer on this connection.
func (s *served) alive(t *testing.T) {
	t.Helper()
	s.SetDeadline(time.Now().Add(deadline)) // anew: this is another wait
	if _, err := io.WriteString(s, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := s.in.ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("the echo is %q, %v", line, err)
	}
}

// cut waits until the connection ends.
func (s *served) cut(t *testing.T) {
	t.Helper()
	s.SetDeadline(time.Now().Add(deadline))
	if line, err := s.in.ReadString('\n'); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection did not end: %q, %v", line, err)
	}
}

// running reports whether a process exists and has not exited. One whose first thread is a zombie may still run.
func running(pid int) bool {
	fd, err := sys.PIDFDOpen(pid)
	if err != nil {
		return false
	}
	defer fd.Close()
	return !sys.Exited(fd.Int())
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, func() string {
		if running(pid) {
			return fmt.Sprintf("process %d still runs", pid)
		}
		return ""
	})
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("process %d", pid)
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// pause stops a process for the time being, and waits until each of its threads has stopped.
func pause(t *testing.T, pid int) {
	t.Helper()
	kill(t, pid, syscall.SIGSTOP)
	eventually(t, func() string {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			return fmt.Sprintf("process %d has no threads: %v", pid, err)
		}
		for _, path := range threads {
			if stat, err := os.ReadFile(path); err != nil || !strings.Contains(string(stat), ") T ") {
				return fmt.Sprintf("a thread of process %d has not stopped: %s, %v", pid, stat, err)
			}
		}
		return ""
	})
}
