// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/switchboard-ipc/switchboard"
)

func TestDialAndListen(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	service, caller := client(t, dir), client(t, dir)
	l := must[*switchboard.Listener](t)(service.Listen(ctx, "com.example.echo", switchboard.Version("1.4.0")))
	serve(t, l, echo)

	c := must[*switchboard.Conn](t)(caller.Dial(ctx, "com.example.echo", switchboard.WithVersion("^1.2")))
	defer c.Close()
	fmt.Fprint(c, "hello")
	noError(t, c.CloseWrite())
	if text := must[[]byte](t)(io.ReadAll(c)); string(text) != "hello" {
		t.Fatalf("the echo is %q", text)
	}
	if got := l.Addr().Network() + " " + l.Addr().String() + " " + c.RemoteAddr().String(); got != "switchboard com.example.echo com.example.echo" {
		t.Errorf("addresses are %q", got)
	}
	if got, want := c.LocalAddr().String(), fmt.Sprintf("pid:%d", os.Getpid()); got != want {
		t.Errorf("local address is %q, not %q", got, want)
	}
	noError(t, c.Close())
	noError(t, c.Close())
	_, err := c.Read(make([]byte, 1))
	wantError(t, err, net.ErrClosed)

	_, err = caller.Dial(ctx, "com.example.echo", switchboard.WithVersion("^2"))
	wantError(t, err, switchboard.ErrUnavailable, "com.example.echo", "1.4.0", "^2")
	_, err = caller.Dial(ctx, "com.example.nobody")
	wantError(t, err, switchboard.ErrUnavailable, "com.example.nobody")
	_, err = caller.Dial(ctx, "com/example")
	wantError(t, err, switchboard.ErrUsage, "'/' at byte 4")
	if code := switchboard.ExitCode(err); code != 64 {
		t.Errorf("its exit code is %d", code)
	}
	noError(t, l.Close())
	noError(t, l.Close())
	_, err = caller.Dial(ctx, "com.example.echo")
	wantError(t, err, switchboard.ErrUnavailable)
	_, err = l.Accept()
	wantError(t, err, net.ErrClosed)
}

// TestConn holds connections of both ways, and both ends, against the rules for net.Conn.
func TestConn(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]switchboard.ListenOption{"handed over": nil, "by path": {switchboard.ByPath()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := runtimeDir(t)
			embed(t, dir)
			c := client(t, dir)
			ctx := testContext(t)
			n := 0
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				n++
				l, err := c.Listen(ctx, fmt.Sprintf("n%d", n), opts...)
				if err != nil {
					return nil, nil, nil, err
				}
				defer l.Close()
				one := make(chan net.Conn, 1)
				go func() {
					c, _ := l.Accept()
					one <- c
				}()
				two, err := c.Dial(ctx, fmt.Sprintf("n%d", n))
				if err != nil {
					return nil, nil, nil, err
				}
				other := <-one
				return other, two, func() { other.Close(); two.Close() }, nil
			})
		})
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	owner := start(t, "owner", dir, "com.example.pid")
	owner.expect("ready")
	c := client(t, dir)
	conn := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.pid"))
	defer conn.Close()
	id := must[switchboard.Identity](t)(switchboard.Peer(conn))
	defer id.Close()
	if id.PID != owner.cmd.Process.Pid || id.UID != os.Geteuid() || id.GID != os.Getegid() {
		t.Fatalf("the peer is %+v, not process %d", id, owner.cmd.Process.Pid)
	}
	self := must[string](t)(os.Executable())
	if exe := must[string](t)(id.Executable()); exe != self {
		t.Errorf("it runs %q, not %q", exe, self)
	}
	pidfd := must[*os.File](t)(id.PIDFD())
	defer pidfd.Close()
	owner.kill()
	if _, err := id.Executable(); err == nil {
		t.Error("a process that has exited still runs something")
	}

	// The other way round, also through a wrapper, and for a plain Unix socket.
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.mine"))
	defer l.Close()
	caller := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.mine"))
	defer caller.Close()
	accepted := must[net.Conn](t)(l.Accept())
	defer accepted.Close()
	id = must[switchboard.Identity](t)(switchboard.Peer(wrapped{accepted}))
	id.Close()
	if id.PID != os.Getpid() {
		t.Errorf("the caller is %+v, not this process", id)
	}
	if got, want := accepted.RemoteAddr().String(), fmt.Sprintf("pid:%d", os.Getpid()); got != want {
		t.Errorf("its address is %q, not %q", got, want)
	}
	one, two := net.Pipe()
	defer one.Close()
	defer two.Close()
	_, err := switchboard.Peer(one)
	wantError(t, err, errors.ErrUnsupported)
	for _, conn := range []net.Conn{conn, accepted} {
		noError(t, conn.Close())
		_, err = switchboard.Peer(conn)
		wantError(t, err, net.ErrClosed)
	}
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestLookUp(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	scope := t.TempDir()
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a", switchboard.Version("1.4.0"), switchboard.Scope(scope)))
	defer l.Close()
	e := must[switchboard.Entry](t)(c.LookUp(ctx, "com.example.a", switchboard.WithVersion("^1.4")))
	if e.Name != "com.example.a" || e.Namespace != "/" || e.Kind != switchboard.Service || e.State != switchboard.Active ||
		e.PID != os.Getpid() || e.Version != "1.4.0" || e.Scope != scope || time.Since(e.Since) > time.Minute {
		t.Fatalf("the entry is %+v", e)
	}
	_, err := c.LookUp(ctx, "com.example.b")
	wantError(t, err, switchboard.ErrUnavailable, "com.example.b")
	_, err = c.LookUp(ctx, "com.example.a", switchboard.OfKind(switchboard.Network))
	wantError(t, err, switchboard.ErrUnavailable, "service", "network")
	_, err = c.LookUp(ctx, "")
	wantError(t, err, switchboard.ErrUsage)
	_, err = c.Listen(ctx, "com.example.a", switchboard.Version("1.4.0"), switchboard.Scope(scope))
	wantError(t, err, switchboard.ErrTryAgain, "com.example.a", fmt.Sprint(os.Getpid()))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.LookUp(ended, "com.example.a")
	wantError(t, err, context.Canceled)

	s := must[switchboard.Status](t)(c.Status(ctx))
	if s.PID != os.Getpid() || s.Folder != dir || s.Names != 1 || s.Sessions != 1 {
		t.Errorf("the status is %+v", s)
	}
}

// TestConcurrentLookUps has many goroutines share the reader's role, with and without contexts that end.
func TestConcurrentLookUps(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	serve(t, l, echo)
	var work sync.WaitGroup
	for i := range 16 {
		work.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithTimeout(ctx, deadline)
				if i%4 == 0 && n%3 == 0 {
					cancel()
				}
				name := "com.example.a"
				if i%2 == 1 {
					name = "com.example.none"
				}
				_, err := c.LookUp(ctx, name)
				cancel()
				if i%2 == 1 && err == nil || i%2 == 0 && err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("look-up of %s: %v", name, err)
					return
				}
			}
		})
	}
	for range 4 {
		work.Go(func() {
			for range 50 {
				conn, err := c.Dial(ctx, "com.example.a")
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
			}
		})
	}
	work.Wait()
}

// TestPump: a program that neither accepts nor looks up acknowledges its callers all the same.
func TestPump(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	defer l.Close()
	var conns []net.Conn
	for range 3 {
		conn := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.a"))
		conns = append(conns, conn)
		must[switchboard.Entry](t)(c.LookUp(ctx, "com.example.a")) // takes the role from the pump
	}
	for _, conn := range conns {
		accepted := must[net.Conn](t)(l.Accept())
		fmt.Fprint(accepted, "x")
		accepted.Close()
		defer conn.Close()
	}
	for _, conn := range conns {
		if text := must[[]byte](t)(io.ReadAll(conn)); string(text) != "x" {
			t.Errorf("read %q", text)
		}
	}
	// One that was taken and not accepted is closed with the Listener.
	conn := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.a"))
	defer conn.Close()
	noError(t, l.Close())
	if text, err := io.ReadAll(conn); len(text) != 0 {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.web"))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat(r.RemoteAddr+"\n", 1000))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	transport := &http.Transport{DialContext: c.DialContext}
	web := &http.Client{Transport: transport}
	for range 3 {
		r := must[*http.Response](t)(web.Get("http://com.example.web/"))
		text := must[[]byte](t)(io.ReadAll(r.Body))
		r.Body.Close()
		if want := fmt.Sprintf("pid:%d\n", os.Getpid()); string(text) != strings.Repeat(want, 1000) {
			t.Errorf("read %.20q", text)
		}
	}
	transport.CloseIdleConnections()
	noError(t, server.Shutdown(ctx))
	wantError(t, <-served, http.ErrServerClosed)
}

func TestByPath(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.p", switchboard.ByPath()))
	serve(t, l, echo)
	if want := filepath.Join(dir, "s", "com.example.p"); l.Path() != want {
		t.Errorf("its path is %q, not %q", l.Path(), want)
	}
	conn := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.p"))
	defer conn.Close()
	id := must[switchboard.Identity](t)(switchboard.Peer(conn))
	id.Close()
	if id.PID != os.Getpid() {
		t.Errorf("the peer is %+v", id)
	}
	plain := must[net.Conn](t)(net.Dial("unix", l.Path()))
	defer plain.Close()
	for _, conn := range []net.Conn{conn, plain} {
		fmt.Fprint(conn, "hello")
		buf := make([]byte, 5)
		must[int](t)(io.ReadFull(conn, buf))
	}

	// A server that exists already.
	path := filepath.Join(t.TempDir(), "sock")
	server := must[net.Listener](t)(net.Listen("unix", path))
	serve(t, server, echo)
	at := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.q", switchboard.AtPath(path)))
	conn = must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.q"))
	defer conn.Close()
	server.Close()
	_, err := c.Dial(ctx, "com.example.q")
	wantError(t, err, switchboard.ErrUnavailable, path)
	accepted := make(chan error, 1)
	go func() {
		_, err := at.Accept()
		accepted <- err
	}()
	noError(t, at.Close())
	wantError(t, <-accepted, net.ErrClosed)
}

func TestFile(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.echo"))
	serve(t, l, echo)
	conn := must[*switchboard.Conn](t)(c.Dial(ctx, "com.example.echo"))
	defer conn.Close()
	f := must[*os.File](t)(conn.File())
	defer f.Close()
	raw := must[syscall.RawConn](t)(conn.SyscallConn())
	noError(t, raw.Control(func(fd uintptr) {
		if flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0); flags&syscall.O_NONBLOCK != 0 {
			t.Error("the duplicate is not blocking")
		}
	}))
	// Both work, and a deadline ends a read although the descriptor blocks.
	fmt.Fprint(f, "1")
	fmt.Fprint(conn, "2")
	buf := make([]byte, 2)
	must[int](t)(io.ReadFull(conn, buf))
	if string(buf) != "12" {
		t.Errorf("read %q", buf)
	}
	noError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := conn.Read(buf)
	wantError(t, err, os.ErrDeadlineExceeded)
}

// TestClose: everything that waits ends with the Client.
func TestClose(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	p := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.p", switchboard.ByPath()))
	w := must[*switchboard.Watcher](t)(c.Watch(ctx, "*"))
	ended := make(chan error, 3)
	for _, l := range []net.Listener{l, p} {
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
	}
	go func() {
		for {
			if _, err := w.Next(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	noError(t, c.Close())
	for range 3 {
		wantError(t, <-ended, net.ErrClosed)
	}
	noError(t, c.Close())
	noError(t, l.Close())
	noError(t, w.Close())
	_, err := c.LookUp(ctx, "com.example.a")
	wantError(t, err, net.ErrClosed)
	_, err = c.Listen(ctx, "com.example.a")
	wantError(t, err, net.ErrClosed)
	other := client(t, dir)
	eventually(t, func() error {
		if _, err := other.LookUp(ctx, "com.example.a"); !errors.Is(err, switchboard.ErrUnavailable) {
			return fmt.Errorf("its name is still there: %v", err)
		}
		return nil
	})
}

func TestDeadlineOfDial(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	embed(t, dir)
	owner := start(t, "owner", dir, "com.example.stopped")
	owner.expect("ready")
	owner.stop()
	c := client(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Dial(ctx, "com.example.stopped")
	wantError(t, err, context.DeadlineExceeded)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	_, err = c.Dial(testContext(t), "com.example.stopped")
	wantError(t, err, switchboard.ErrTryAgain, "stopped")
}
