// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// TestCrash: names, watches, doors and sockets outlive a broker that was killed.
func TestCrash(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	first := start(t, "broker", dir)
	first.expect("ready")

	service, caller := client(t, dir), client(t, dir)
	l := must[*switchboard.Listener](t)(service.Listen(ctx, "com.example.handed"))
	serve(t, l, echo)
	p := must[*switchboard.Listener](t)(service.Listen(ctx, "com.example.path", switchboard.ByPath()))
	serve(t, p, echo)
	space := must[*switchboard.Namespace](t)(service.Namespace(ctx, "ci"))
	door := must[*os.File](t)(space.Door(ctx))
	defer door.Close()
	watcher := must[*switchboard.Watcher](t)(caller.Watch(ctx, "com.example.*"))
	defer watcher.Close()
	wantEvents(t, watcher, "appeared com.example.handed", "appeared com.example.path", "synced ")
	conn := must[*switchboard.Conn](t)(caller.Dial(ctx, "com.example.handed"))
	defer conn.Close()

	for range 2 {
		first.kill()
		first = start(t, "broker", dir)
		first.expect("ready")
		for _, c := range []*switchboard.Client{service, caller} { // before this returns, all is restored
			must[switchboard.Entry](t)(c.LookUp(ctx, "com.example.handed"))
		}
		for _, name := range []string{"com.example.handed", "com.example.path"} {
			conn := must[*switchboard.Conn](t)(caller.Dial(ctx, name))
			roundTrip(t, conn)
			conn.Close()
		}
		roundTrip(t, conn) // which is nobody's business
		// A child that was given the door before the crash goes through it after.
		inside := startWith(t, "inside", []string{switchboard.EnvSessionFD + "=3"}, []*os.File{door}, "com.example.inside", "com.example.path.x")
		if code := inside.expect("cannot dial"); code == "" {
			t.Error("the child said nothing")
		}
		<-inside.done
		wantEvents(t, watcher, "appeared com.example.inside", "gone com.example.inside")
	}
	// Of the crashes the watcher saw nothing.
	extra := must[*switchboard.Listener](t)(service.Listen(ctx, "com.example.zz"))
	wantEvents(t, watcher, "appeared com.example.zz")
	noError(t, extra.Close())
	wantEvents(t, watcher, "gone com.example.zz")
}

func roundTrip(t testing.TB, conn net.Conn) {
	t.Helper()
	fmt.Fprint(conn, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("the echo is %q, %v", buf, err)
	}
}

func wantEvents(t testing.TB, w *switchboard.Watcher, want ...string) {
	t.Helper()
	ctx := testContext(t)
	for _, want := range want {
		e, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := e.Kind.String() + " " + e.Entry.Name; got != want {
			t.Fatalf("the event is %q, not %q", got, want)
		}
	}
}

// TestIdleCrash: a program that only waits comes back by itself, and starts a broker if it may.
func TestIdleCrash(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	first := start(t, "broker", dir)
	first.expect("ready")
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: os.Args[0], Logger: testLogger(t)})
	defer c.Close()
	pumped := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.pumped"))
	defer pumped.Close()
	first.kill()
	other := client(t, dir)
	var s switchboard.Status
	eventually(t, func() (err error) {
		if _, err = other.LookUp(ctx, "com.example.pumped"); err == nil {
			s, err = other.Status(ctx)
		}
		return err
	})
	stopBroker(t, s.PID)

	// The same while Accept waits.
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := pumped.Accept()
		accepted <- conn
	}()
	eventually(t, func() error {
		conn, err := other.Dial(ctx, "com.example.pumped")
		if err == nil {
			conn.Close()
		}
		return err
	})
	(<-accepted).Close()
	s = must[switchboard.Status](t)(other.Status(ctx))
	stopBroker(t, s.PID)
	noError(t, c.Close())
	eventually(t, func() error { // the broker that it may have started once more
		if err := other.Shutdown(ctx); !errors.Is(err, switchboard.ErrUnavailable) {
			return fmt.Errorf("shutdown: %v", err)
		}
		return nil
	})
}

// stopBroker kills a broker that is no child of ours.
func stopBroker(t testing.TB, pid int) {
	t.Helper()
	p := must[*os.Process](t)(os.FindProcess(pid))
	noError(t, p.Kill())
	noError(t, p.Release()) // its pidfd counts
}

// eventually repeats f, with pauses, until it succeeds.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(deadline)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

// TestBye: after a polite end nobody starts a broker but a new call, and all go to the next one.
func TestBye(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	first := embed(t, dir)
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: "/nonexistent/switchboard", Logger: testLogger(t)})
	defer c.Close()
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	serve(t, l, echo)
	w := must[*switchboard.Watcher](t)(c.Watch(ctx, "*"))
	defer w.Close()
	wantEvents(t, w, "appeared com.example.a", "synced ")
	noError(t, c.Shutdown(ctx))
	noError(t, <-first.done)
	first.done = nil
	_, err := c.LookUp(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrUnavailable, "/nonexistent/switchboard")
	embed(t, dir)
	eventually(t, func() error {
		conn, err := client(t, dir).Dial(ctx, "com.example.a")
		if err == nil {
			conn.Close()
		}
		return err
	})
	must[switchboard.Entry](t)(c.LookUp(ctx, "com.example.a"))
}

// TestStolenName: a name that somebody else has at the next broker is lost, and Accept says to whom.
func TestStolenName(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	first := start(t, "broker", dir)
	first.expect("ready")
	owner := start(t, "owner", dir, "com.example.a")
	owner.expect("ready")
	owner.stop()
	first.kill()
	start(t, "broker", dir).expect("ready")
	stolen := must[*switchboard.Listener](t)(client(t, dir).Listen(ctx, "com.example.a"))
	defer stolen.Close()
	noError(t, owner.cmd.Process.Signal(syscall.SIGCONT))
	if text := owner.expect("accept switchboard com.example.a: "); !strings.Contains(text, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("the error is %q", text)
	}
	<-owner.done
	if code := owner.cmd.ProcessState.ExitCode(); code != 75 {
		t.Errorf("its exit code is %d", code)
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	outer := start(t, "owner", dir, "com.example.outer")
	outer.expect("ready")
	space := must[*switchboard.Namespace](t)(c.Namespace(ctx, "ci"))
	if space.Path() != "/ci" {
		t.Errorf("its path is %q", space.Path())
	}
	door := must[*os.File](t)(space.Door(ctx))
	defer door.Close()
	w := must[*switchboard.Watcher](t)(c.Watch(ctx, "com.example.inner"))
	defer w.Close()
	wantEvents(t, w, "synced ")
	inside := startWith(t, "inside", []string{switchboard.EnvSessionFD + "=3"}, []*os.File{door}, "com.example.inner", "com.example.outer")
	inside.expect(fmt.Sprintf("ready in /ci, called %d: %d", outer.cmd.Process.Pid, outer.cmd.Process.Pid))
	wantEvents(t, w, "appeared com.example.inner")
	_, err := c.LookUp(ctx, "com.example.inner")
	wantError(t, err, switchboard.ErrUnavailable)
	inside.kill()
	wantEvents(t, w, "gone com.example.inner")

	// A door that is closed, one that is none, and one of the Client's own.
	noError(t, space.Close())
	_, err = space.Door(ctx)
	wantError(t, err, net.ErrClosed)
	for _, fd := range []string{"3", "17", "door"} {
		inside = startWith(t, "inside", []string{switchboard.EnvSessionFD + "=" + fd}, []*os.File{door}, "com.example.inner", "com.example.outer")
		inside.expect("cannot ")
		<-inside.done
	}
	own := must[*os.File](t)(c.Door(ctx))
	defer own.Close()
	inside = startWith(t, "inside", []string{switchboard.EnvSessionFD + "=3"}, []*os.File{own}, "com.example.inner", "com.example.outer")
	inside.expect("ready in /, called")
}

// TestEndedNamespace: who is inside a namespace that ends is told, and does not wait for another.
func TestEndedNamespace(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	outer := start(t, "owner", dir, "com.example.outer")
	outer.expect("ready")
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	space := must[*switchboard.Namespace](t)(c.Namespace(ctx, "ci"))
	door := must[*os.File](t)(space.Door(ctx))
	defer door.Close()
	inside := startWith(t, "inside", []string{switchboard.EnvSessionFD + "=3"}, []*os.File{door}, "com.example.inner", "com.example.outer")
	inside.expect("ready in /ci")
	noError(t, c.Close())
	inside.expect("accept switchboard com.example.inner: cannot keep \"com.example.inner\": ")
	<-inside.done
	if code := inside.cmd.ProcessState.ExitCode(); code != 69 {
		t.Errorf("its exit code is %d", code)
	}
}

// TestClosedWatcher: what was not read is dropped by Close.
func TestClosedWatcher(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	defer l.Close()
	w := must[*switchboard.Watcher](t)(c.Watch(ctx, "*"))
	must[switchboard.Entry](t)(c.LookUp(ctx, "com.example.a")) // the events come before its reply
	noError(t, w.Close())
	for range 2 {
		_, err := w.Next(ctx)
		wantError(t, err, net.ErrClosed)
	}
}

func TestAbandonedClaim(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	c := client(t, dir)
	for i := range 200 { // somewhere in between, the reply is under way
		ctx, cancel := context.WithTimeout(ctx, time.Duration(i)*time.Microsecond)
		l, err := c.Listen(ctx, "com.example.a")
		cancel()
		if err == nil {
			l.Close()
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	// Whatever was obtained for nobody is given back.
	eventually(t, func() error {
		_, err := client(t, dir).LookUp(ctx, "com.example.a")
		if !errors.Is(err, switchboard.ErrUnavailable) {
			return fmt.Errorf("somebody still has it: %v", err)
		}
		return nil
	})
	l := must[*switchboard.Listener](t)(c.Listen(ctx, "com.example.a"))
	noError(t, l.Close())
}
