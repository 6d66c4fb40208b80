// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// fakeBroker is both sockets of a broker, answered by the test.
type fakeBroker struct {
	*fakeSession
	calls net.Listener
}

func newFakeBroker(t *testing.T, dir string) *fakeBroker {
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	t.Cleanup(func() { l.Close() })
	return &fakeBroker{newFakeSession(t, dir), l}
}

// verdict answers the next call, and returns its line.
func (f *fakeBroker) verdict(text string) string {
	conn := must[net.Conn](f.t)(f.calls.Accept())
	defer conn.Close()
	line := make([]byte, 600)
	n := must[int](f.t)(conn.Read(line))
	must[int](f.t)(io.WriteString(conn, text))
	waitRead(f.t, conn)
	return string(line[:n])
}

// declared takes a DECLARE and answers it.
func (f *fakeBroker) declared(reply session.DeclareReply) session.Declare {
	h, payload := f.receive(session.OpDeclare)
	f.reply(h, reply.Append(nil))
	return must[session.Declare](f.t)(session.ParseDeclare(payload))
}

func (f *fakeBroker) released(lease uint64) {
	f.t.Helper()
	h, payload := f.receive(session.OpRelease)
	if m := must[session.Release](f.t)(session.ParseRelease(payload)); m.Lease != lease {
		f.t.Fatalf("lease %d was released, not %d", m.Lease, lease)
	}
	f.reply(h, nil)
}

// dialing makes a call in the background; its error comes from the channel.
func dialing(ctx context.Context, c *switchboard.Client, name string, opts ...switchboard.DialOption) <-chan error {
	done := make(chan error, 1)
	go func() {
		conn, err := c.Dial(ctx, name, opts...)
		if err == nil {
			conn.Close()
		}
		done <- err
	}()
	return done
}

// TestLaunch: a command is declared, called, and released, whatever came of the call.
func TestLaunch(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	f := newFakeBroker(t, dir)
	c := client(t, dir)
	cmd := exec.Command("/bin/up", "--serve", "")
	cmd.Env = []string{"A=1", "B=2", "A=3"}
	cmd.Dir = "/srv"
	called := dialing(ctx, c, "com.example.up", switchboard.WithVersion("^1.2"), switchboard.WithScope("/home/project"),
		switchboard.Launch(cmd, switchboard.LaunchAccept("path"), switchboard.LaunchNotify()))
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	want := session.Declare{Name: "com.example.up", Version: "^1.2", Scope: "/home/project", Accept: "path",
		Exec: []string{"/bin/up", "--serve", ""}, Env: []string{"A=3", "B=2"}, Dir: "/srv", Notify: true}
	if diff := cmp.Diff(want, f.declared(session.DeclareReply{Lease: 7, Version: "1.2.0"})); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
	if line := f.verdict("OK\n"); line != "DIAL com.example.up version=^1.2 scope=/home/project\n" {
		t.Errorf("the call is %q", line)
	}
	f.released(7)
	noError(t, <-called)

	called = dialing(ctx, c, "com.example.up", switchboard.Launch(exec.Command("/bin/up")))
	if m := f.declared(session.DeclareReply{Lease: 8}); m.Env != nil || m.Dir != "" || m.Accept != "" {
		t.Errorf("declared %+v", m)
	}
	f.verdict("ERR 75 it exited with status 3 | boom\n")
	f.released(8)
	wantError(t, <-called, switchboard.ErrTryAgain, "status 3", "boom")

	called = dialing(ctx, c, "com.example.up", switchboard.Launch(exec.Command("/bin/up")))
	f.declared(session.DeclareReply{Code: session.Unavailable, Text: "it runs /bin/down"})
	wantError(t, <-called, switchboard.ErrUnavailable, "cannot dial", "com.example.up", "/bin/down")
}

// TestLaunchAfterCrash: a broker that takes the place of the one that was told is told, too.
func TestLaunchAfterCrash(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	f := newFakeBroker(t, dir)
	called := dialing(ctx, client(t, dir), "com.example.up", switchboard.Launch(exec.Command("/bin/up")))
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	f.declared(session.DeclareReply{Lease: 7})
	f.hangUp()
	f.verdict("ERR 69 it is unknown\n")
	f.greet(session.HelloReply{Broker: [16]byte{2}})
	f.declared(session.DeclareReply{Lease: 3})
	h, _ := f.receive(session.OpLookUp)
	f.reply(h, session.LookUpReply{Code: session.Unavailable}.Append(nil))
	f.verdict("OK\n")
	f.released(3)
	noError(t, <-called)
}

// TestLaunchFaults: what can't reach a process of the broker's is refused, with the name of what it is.
func TestLaunchFaults(t *testing.T) {
	t.Parallel()
	c := client(t, filepath.Join(t.TempDir(), "none"))
	for want, change := range map[string]func(*exec.Cmd){
		"Stdin":       func(c *exec.Cmd) { c.Stdin = strings.NewReader("") },
		"Stdout":      func(c *exec.Cmd) { c.Stdout = io.Discard },
		"Stderr":      func(c *exec.Cmd) { c.Stderr = io.Discard },
		"ExtraFiles":  func(c *exec.Cmd) { c.ExtraFiles = []*os.File{nil} },
		"SysProcAttr": func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{} },
		"Cancel":      func(c *exec.Cmd) { c.Cancel = func() error { return nil } },
		"WaitDelay":   func(c *exec.Cmd) { c.WaitDelay = time.Second },
		"Path":        func(c *exec.Cmd) { c.Path = "" },
		`"A"`:         func(c *exec.Cmd) { c.Env = []string{"A"} },
		`"=1"`:        func(c *exec.Cmd) { c.Env = []string{"=1"} },
		`"\xff"`:      func(c *exec.Cmd) { c.Args = []string{"up", "\xff"} },
		`"a\x00b"`:    func(c *exec.Cmd) { c.Args = []string{"up", "a\x00b"} },
		"40":          func(c *exec.Cmd) { c.Args = []string{"up", strings.Repeat("x", 40_000)} },
	} {
		cmd := exec.Command("/bin/up")
		change(cmd)
		_, err := c.Dial(testContext(t), "com.example.up", switchboard.Launch(cmd))
		wantError(t, err, switchboard.ErrUsage, "cannot launch", want)
	}
	_, err := c.Dial(testContext(t), "com.example.up", switchboard.Launch(nil))
	wantError(t, err, switchboard.ErrUsage, "no command")
	_, err = c.Dial(testContext(t), "com.example.up", switchboard.Launch(exec.Command("no-such-program-anywhere")))
	wantError(t, err, switchboard.ErrUnavailable, "no-such-program-anywhere")
}

// TestSlowVerdict: a broker that starts a service for longer than the patience is waited for, as long as it answers at all.
func TestSlowVerdict(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	f := newFakeBroker(t, dir)
	c := client(t, dir)
	c.SetPatience(time.Second) // in which the test has to answer
	called := dialing(forever(t), c, "com.example.up")
	conn := must[net.Conn](t)(f.calls.Accept())
	defer conn.Close()
	must[int](t)(conn.Read(make([]byte, 100)))
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	for range 3 {
		h, _ := f.receive(session.OpLookUp)
		f.reply(h, session.LookUpReply{Code: session.Unavailable}.Append(nil))
	}
	must[int](t)(io.WriteString(conn, "ERR 69 it never got ready\n"))
	wantError(t, <-called, switchboard.ErrUnavailable, "never got ready")
}

// TestEndOfSilence: a connection to a path that ends before its first byte says why, if there is a reason.
func TestEndOfSilence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		second string // verdict, "": there is none
		write  bool   // find out by writing
		bytes  string // that the service sends before
		want   error
	}{
		"a reason":        {"ERR 75 it exited with status 3\n", false, "", switchboard.ErrTryAgain},
		"seen by a write": {"ERR 69 it exited with status 3\n", true, "", switchboard.ErrUnavailable},
		"no reason":       {"OK\n", false, "", io.EOF},
		"an old broker":   {"ERR 64 unknown field \"ended\" at byte 21\n", false, "", io.EOF},
		"bytes before":    {"", false, "bye", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, dir := testContext(t), runtimeDir(t)
			path := filepath.Join(dir, "service")
			service := must[net.Listener](t)(net.Listen("unix", path))
			serve(t, service, func(c net.Conn) {
				io.WriteString(c, test.bytes)
				c.Close()
			})
			f := newFakeBroker(t, dir)
			var work sync.WaitGroup
			defer work.Wait()
			work.Go(func() {
				f.verdict("AT " + path + "\n")
				if test.second != "" {
					if line := f.verdict(test.second); line != fmt.Sprintf("DIAL com.example.up ended=%d\n", os.Getpid()) {
						t.Errorf("the question is %q", line)
					}
				}
			})
			c := must[*switchboard.Conn](t)(client(t, dir).Dial(ctx, "com.example.up"))
			defer c.Close()
			noError(t, c.SetDeadline(time.Now().Add(deadline)))
			var err error
			if test.write {
				for err == nil {
					_, err = c.Write([]byte("hello"))
				}
			} else {
				for err == nil {
					_, err = c.Read(make([]byte, 10))
				}
			}
			wantError(t, err, test.want)
			if test.second != "" {
				_, again := c.Read(make([]byte, 1))
				wantError(t, again, test.want)
			}
		})
	}
}

func TestScopeOf(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b", "c")
	noError(t, os.MkdirAll(deep, 0o700))
	noError(t, os.WriteFile(filepath.Join(root, "a", ".git"), nil, 0o600)) // of a work tree it is a file
	noError(t, os.WriteFile(filepath.Join(root, "a", "b", "go.mod"), nil, 0o600))
	for _, test := range []struct {
		want    string
		markers []string
	}{
		{filepath.Join(root, "a"), nil},
		{filepath.Join(root, "a", "b"), []string{"go.mod"}},
		{deep, []string{"no-such-marker"}},
	} {
		if got := switchboard.ScopeOf(deep, test.markers...); got != test.want {
			t.Errorf("with markers %q the scope is %s, not %s", test.markers, got, test.want)
		}
	}
}

// TestDeclare: what is declared is held until it is closed, and a broker that comes next is told.
func TestDeclare(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	f := newFakeBroker(t, dir)
	c := client(t, dir)
	type result struct {
		d   *switchboard.Declaration
		err error
	}
	declare := func(name string, opts ...switchboard.LaunchOption) chan result {
		done := make(chan result, 1)
		go func() {
			d, err := c.Declare(ctx, name, exec.Command("/bin/up"), opts...)
			done <- result{d, err}
		}()
		return done
	}
	declared := declare("com.example.up", switchboard.LaunchPorts("com.example.a", "com.example.b"))
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	want := session.Declare{Name: "com.example.up", Accept: "mach", Ports: []string{"com.example.a", "com.example.b"}, Exec: []string{"/bin/up"}}
	if diff := cmp.Diff(want, f.declared(session.DeclareReply{Lease: 7})); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
	up := <-declared
	noError(t, up.err)
	f.hangUp()
	f.greet(session.HelloReply{Broker: [16]byte{2}})
	if diff := cmp.Diff(want, f.declared(session.DeclareReply{Lease: 3})); diff != "" {
		t.Errorf("declared again (-want +got):\n%s", diff)
	}
	noError(t, up.d.Close())
	f.released(3)
	noError(t, up.d.Close())

	declared = declare("com.example.down")
	f.declared(session.DeclareReply{Code: session.TryAgain, Text: "it runs /bin/down"})
	wantError(t, (<-declared).err, switchboard.ErrTryAgain, "cannot declare", "com.example.down", "/bin/down")
	wantError(t, (<-declare("no/name")).err, switchboard.ErrUsage, "no/name")
}
