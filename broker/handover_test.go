// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

func TestHandOver(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	go func(s *rawSession) { s.serve() }(func() *rawSession { s := open(t, b.dir); s.own("com.example.up"); return s }())
	for _, early := range []string{"", "hello", strings.Repeat("x", 100_000)} {
		c := dial(t, b.dir, "DIAL com.example.up\n"+early)
		c.CloseWrite()
		if v := verdict(t, c); v != "OK" {
			t.Fatalf("verdict %q", v)
		}
		got, err := io.ReadAll(c)
		if want := strings.ToUpper(early); err != nil || string(got) != want {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
}

// A line that comes in pieces, byte by byte, is one line.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	go s.serve()
	c := dial(t, b.dir, "")
	for _, part := range []byte("DIAL com.example.up\nhi") {
		if _, err := c.Write([]byte{part}); err != nil {
			t.Fatal(err)
		}
	}
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "OK\nHI" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.claim(session.Claim{Name: "com.example.old", Version: "1.4.0"})
	s.claim(session.Claim{Name: "com.example.at", Accept: session.AcceptPath, Path: "/run/example.sock"})
	for _, c := range []struct{ send, want string }{
		{"DIAL com.example.none\n", `ERR 69 name "com.example.none" is unknown`},
		{"DIAL com.example.old version=^2\n", `ERR 69 name "com.example.old" has version "1.4.0"`},
		{"DIAL com.example.old version=^^\n", `ERR 64 version constraint "^^" is malformed`},
		{"DIAL com.example.at\n", "AT /run/example.sock"},
		{"DIAL com/example\n", "ERR 64 "},
		{"DIAL a b=c\n", "ERR 64 "},
		{"GET / HTTP/1.1\r\n", "ERR 64 a request begins with DIAL"},
		{"DIAL " + strings.Repeat("a", 600) + "\n", "ERR 64 the request is longer than 512 bytes"},
		{"\x01\x00\x00\x00\x00", "\x01\x30\x00\x00\x00\x08\x01"},
	} {
		if v := verdict(t, dial(t, b.dir, c.send)); !strings.HasPrefix(v, c.want) {
			t.Errorf("%.40q: %q, want %q", c.send, v, c.want)
		}
	}
}

// Whoever dies, at each step: what was acknowledged is the taker's; what was not is refused with a reason; and
// never are there two verdicts.
func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, steps, want string }{
		{"before it reads", "", "ERR 75 the owner of"},
		{"before the acknowledgement", "receive", "ERR 75 the owner of"},
		{"after the acknowledgement", "receive acknowledge", ""}, // the taker's: closed with it
		{"after OK", "receive acknowledge ok", "OK\n"},
		{"after its first bytes", "receive acknowledge ok write", "OK\nhello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, brokerOptions{})
			name := "com.example." + strings.ReplaceAll(c.name, " ", "-")
			owner := start(t, "owner", 0, b.dir, name, "step")
			owner.expect("claimed")
			watcher := open(t, b.dir)
			watcher.watch(name)
			caller := dial(t, b.dir, "DIAL "+name+"\n")
			eventually(t, func() string {
				if r := parse(t, session.ParseStatusReply, watcher.call(session.OpStatus, nil)); r.Waiting+r.HandedOver == 0 {
					return "the call did not arrive"
				}
				return ""
			})
			for _, s := range strings.Fields(c.steps) {
				owner.tell(s)
				owner.expect("done " + s)
			}
			killed := time.Now()
			owner.signal(syscall.SIGKILL)
			if e := watcher.change(); e.Kind != session.ChangeGone || e.Entry.Name != name {
				t.Errorf("the watcher was told %v of %s", e.Kind, e.Entry.Name)
			}
			got, err := io.ReadAll(caller)
			if !strings.HasPrefix(string(got), c.want) || c.want == "" && len(got) > 0 {
				t.Errorf("the caller got %q (%v), want %q", got, err, c.want)
			}
			if n := strings.Count(string(got), "OK\n") + strings.Count(string(got), "ERR "); n > 1 {
				t.Errorf("%d verdicts: %q", n, got)
			}
			t.Logf("caller and watcher knew after %v", time.Since(killed))
			if r := watcher.lookUp(name); r.Code != session.Unavailable {
				t.Errorf("look-up of a dead owner's name: %d", r.Code)
			}
		})
	}
}

func TestCallerKilled(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	for range 3 {
		c := start(t, "caller", 0, b.dir, "DIAL com.example.up\n")
		c.expect("dialled")
		c.signal(syscall.SIGKILL)
		c.exited()
		conn := s.take() // it is handed over all the same, and the taker sees the end
		conn.Write([]byte("OK\n"))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("read %d, %v from a dead caller", n, err)
		}
	}
}

// A child that inherited the session's descriptor does not keep its dead parent's names.
func TestForkedChild(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner := start(t, "owner", 0, b.dir, "com.example.up", "child")
	child, err := strconv.Atoi(owner.expect("claimed"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(child, syscall.SIGKILL) })
	w := open(t, b.dir)
	w.watch("*")
	owner.signal(syscall.SIGKILL)
	if c := w.change(); c.Kind != session.ChangeGone || !strings.Contains(c.Reason, "exited") {
		t.Fatalf("%v: %s", c.Kind, c.Reason)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the child is gone, so nothing was shown: %v", err)
	}
}

// Nobody takes over: 75 after two seconds, and a late OK reaches nobody.
func TestStoppedOwner(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: broker.Limits{TakeOver: 2 * time.Second}})
	owner := start(t, "owner", 0, b.dir, "com.example.up", "step")
	owner.expect("claimed")
	owner.signal(syscall.SIGSTOP)
	c := dial(t, b.dir, "DIAL com.example.up\n")
	if v := verdict(t, c); !strings.HasPrefix(v, `ERR 75 the owner of "com.example.up", process `) {
		t.Fatalf("verdict %q", v)
	}
	// The broker shuts the connection down, though the stopped owner still has it. Before that, an owner that goes on could write.
	if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
		t.Fatalf("after the verdict came %q, %v", rest, err)
	}
	owner.signal(syscall.SIGCONT)
	for _, s := range []string{"receive", "acknowledge", "ok"} {
		owner.tell(s)
		owner.expect("done " + s)
	}
	if rest, _ := io.ReadAll(c); len(rest) > 0 {
		t.Fatalf("behind the end came %q", rest)
	}
	// The owner was late, not dead: it keeps its name.
	if r := open(t, b.dir).lookUp("com.example.up"); r.Code != session.OK {
		t.Fatalf("the name is gone: %s", r.Text)
	}
}

// An acknowledgement that is already queued when the time is up counts.
func TestAcknowledgedInTime(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner := start(t, "owner", 0, b.dir, "com.example.up", "step")
	owner.expect("claimed")
	c := dial(t, b.dir, "DIAL com.example.up\n")
	for _, s := range []string{"receive", "acknowledge", "ok", "write"} {
		owner.tell(s)
		owner.expect("done " + s)
	}
	if v := verdict(t, c); v != "OK" {
		t.Fatalf("verdict %q", v)
	}
}

// Twelve stopped owners with 70 callers each, as an ordinary user with 1,024 descriptors: a healthy service does not notice.
func TestManyStoppedOwners(t *testing.T) {
	t.Parallel()
	const owners, callers, ordinary = 12, 70, 54321
	if os.Geteuid() != 0 {
		t.Log("not root: the test runs as the present user")
	}
	b := startBroker(t, brokerOptions{UID: ordinary, Descriptors: 1024, Limits: broker.Limits{TakeOver: 4 * time.Second}})
	healthy := start(t, "owner", ordinary, b.dir, "com.example.healthy", "serve")
	healthy.expect("claimed")
	for i := range owners {
		o := start(t, "owner", ordinary, b.dir, fmt.Sprintf("com.example.stopped%d", i), "step")
		o.expect("claimed")
		o.signal(syscall.SIGSTOP)
	}
	verdicts := make(chan string, owners*callers)
	var waiting sync.WaitGroup
	for i := range owners {
		for range callers {
			c := dial(t, b.dir, fmt.Sprintf("DIAL com.example.stopped%d\n", i))
			waiting.Go(func() { verdicts <- verdict(t, c) })
		}
		c := dial(t, b.dir, "DIAL com.example.healthy\nhi")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "OK\nHI" {
			t.Fatalf("with %d stopped owners the healthy one answered %q, %v", i+1, got, err)
		}
	}
	waiting.Wait()
	close(verdicts)
	n := 0
	for v := range verdicts {
		if !strings.HasPrefix(v, "ERR 75 ") {
			t.Errorf("verdict %q", v)
		}
		n++
	}
	if n != owners*callers {
		t.Errorf("%d verdicts of %d callers", n, owners*callers)
	}
}

// Callers beyond what a service has in flight wait in order.
func TestCallersWaitInOrder(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	status := open(t, b.dir)
	const callers = 200
	for i := range callers {
		dial(t, b.dir, fmt.Sprintf("DIAL com.example.up\n%d\n", i))
		eventually(t, func() string { // the order is that of complete requests
			if r := parse(t, session.ParseStatusReply, status.call(session.OpStatus, nil)); r.Waiting != uint64(i+1) {
				return fmt.Sprintf("%d callers of %d wait", r.Waiting, i+1)
			}
			return ""
		})
	}
	for i := range callers {
		c := s.take()
		c.SetDeadline(time.Now().Add(deadline))
		if got := verdict(t, c); got != strconv.Itoa(i) {
			t.Fatalf("connection %d is that of caller %s", i, got)
		}
	}
}

// One that hangs up while it waits is forgotten; one that half-closes is not.
func TestWaitingCallers(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	// Until it is known that no file defines the name, callers may overtake each other.
	dial(t, b.dir, "DIAL com.example.up\n")
	s.take()
	for range 64 { // as many as are handed over unacknowledged
		dial(t, b.dir, "DIAL com.example.up\n")
	}
	status := open(t, b.dir)
	waiting := func(want uint64) {
		t.Helper()
		eventually(t, func() string {
			r := parse(t, session.ParseStatusReply, status.call(session.OpStatus, nil))
			if r.Waiting != want {
				return fmt.Sprintf("%d callers have no answer yet, and %d should", r.Waiting, want)
			}
			return ""
		})
	}
	gone := dial(t, b.dir, "DIAL com.example.up\ngone\n")
	half := dial(t, b.dir, "DIAL com.example.up\nhalf\n")
	half.CloseWrite()
	waiting(66) // so both have come, and it is the one that goes that makes it one less
	gone.Close()
	waiting(65)
	for range 64 {
		s.take()
	}
	c := s.take()
	if got, err := io.ReadAll(c); string(got) != "half\n" || err != nil {
		t.Fatalf("the next connection says %q, %v", got, err)
	}
}

// The writer of OK is vouched for by the kernel, and so is the caller.
func TestIdentities(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner := start(t, "owner", 0, b.dir, "com.example.up", "serve")
	owner.expect("claimed")
	fd, err := sys.Connect(b.dir+"/broker.sock", sys.Stream, true)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if _, err := sys.Send(fd.Int(), []byte("DIAL com.example.up\n")); err != nil {
		t.Fatal(err)
	}
	buf := sys.NewBuffer(64)
	var n int
	eventually(t, func() string {
		if n, err = buf.Recv(fd.Int()); err == syscall.EAGAIN {
			return "no verdict"
		}
		return ""
	})
	defer buf.Message.Close()
	if err != nil || string(buf.Data[:n]) != "OK\n" || !buf.HasCred || buf.Cred.PID != owner.cmd.Process.Pid {
		t.Fatalf("%q from %+v, %v; want OK from process %d", buf.Data[:n], buf.Cred, err, owner.cmd.Process.Pid)
	}
	if buf.PIDFD < 0 {
		t.Error("no pidfd came with the verdict")
	}
	s := open(t, b.dir)
	s.own("com.example.mine")
	caller := start(t, "caller", 0, b.dir, "DIAL com.example.mine\n")
	m, _ := s.handOver()
	defer syscall.Close(m.fds[0])
	if cred, err := sys.PeerCred(m.fds[0]); err != nil || cred.PID != caller.cmd.Process.Pid {
		t.Errorf("the service sees process %d, %v; the caller is %d", cred.PID, err, caller.cmd.Process.Pid)
	}
}
