// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

type outcome struct {
	n   int
	err error
}

// verb is Client.Stop, Restart or Retire.
type verb func(c *switchboard.Client, ctx context.Context, name string, opts ...switchboard.SelectOption) (int, error)

func TestBackends(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	f := newFakeSession(t, dir)
	c := client(t, dir)
	ask := func(do verb) <-chan outcome {
		done := make(chan outcome, 1)
		go func() {
			n, err := do(c, ctx, "com.example.up", switchboard.WithVersion("^1"), switchboard.WithScope("/srv"))
			done <- outcome{n, err}
		}()
		return done
	}
	answer := func(op session.Op, reply session.BackendsReply) {
		h, payload := f.receive(op)
		m := must[session.Select](t)(session.ParseSelect(payload))
		if diff := cmp.Diff(session.Select{Name: "com.example.up", Version: "^1", Scope: "/srv"}, m); diff != "" {
			t.Errorf("%v (-want +got):\n%s", op, diff)
		}
		f.reply(h, reply.Append(nil))
	}
	ended := func(id uint64, reason string) {
		f.event(session.OpEnded, session.Ended{Lease: id, Reason: reason}.Append(nil))
	}
	want := func(o outcome, n int) {
		t.Helper()
		if o.err != nil || o.n != n {
			t.Errorf("%d backends and %v, not %d", o.n, o.err, n)
		}
	}

	stopped := ask((*switchboard.Client).Stop)
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	answer(session.OpStop, session.BackendsReply{Backends: []uint64{5, 6}})
	ended(6, "it was told to")
	ended(9, "of somebody else")
	select {
	case <-stopped:
		t.Error("it did not wait for all")
	default:
	}
	ended(5, "it was told to")
	want(<-stopped, 2)

	stopped = ask((*switchboard.Client).Stop)
	answer(session.OpStop, session.BackendsReply{})
	want(<-stopped, 0)

	stopped = ask((*switchboard.Client).Stop)
	answer(session.OpStop, session.BackendsReply{Code: session.Unavailable, Text: "it is unknown"})
	wantError(t, (<-stopped).err, switchboard.ErrUnavailable, `cannot stop "com.example.up"`, "it is unknown")

	restarted := ask((*switchboard.Client).Restart)
	answer(session.OpRestart, session.BackendsReply{Backends: []uint64{7}})
	f.event(session.OpStarted, session.Started{Lease: 7}.Append(nil))
	want(<-restarted, 1)

	restarted = ask((*switchboard.Client).Restart)
	answer(session.OpRestart, session.BackendsReply{Backends: []uint64{8, 9}})
	ended(8, "it exited with status 3")
	f.event(session.OpStarted, session.Started{Lease: 9}.Append(nil))
	wantError(t, (<-restarted).err, switchboard.ErrUnavailable, `cannot restart "com.example.up"`, "status 3")

	retired := ask((*switchboard.Client).Retire)
	answer(session.OpRetire, session.BackendsReply{Backends: []uint64{9}})
	want(<-retired, 1)

	stopped = ask((*switchboard.Client).Stop)
	answer(session.OpStop, session.BackendsReply{Backends: []uint64{9}})
	f.hangUp()
	wantError(t, (<-stopped).err, switchboard.ErrTryAgain, "went away")

	stopped = ask((*switchboard.Client).Stop)
	f.greet(session.HelloReply{Broker: [16]byte{2}})
	f.receive(session.OpStop)
	f.hangUp()
	wantError(t, (<-stopped).err, switchboard.ErrTryAgain, "went away")
}

func TestBackendsWithoutBroker(t *testing.T) {
	t.Parallel()
	c := switchboard.New(switchboard.Config{RuntimeDir: filepath.Join(t.TempDir(), "none"), Binary: os.Args[0]})
	defer c.Close()
	for _, do := range []verb{(*switchboard.Client).Stop, (*switchboard.Client).Restart, (*switchboard.Client).Retire} {
		_, err := do(c, testContext(t), "com.example.up")
		wantError(t, err, switchboard.ErrUnavailable, "no broker runs")
		_, err = do(c, testContext(t), "com/example")
		wantError(t, err, switchboard.ErrUsage)
	}
}

// TestStopGivenUp: the wait for the end of a backend ends with the context, and with the Client.
func TestStopGivenUp(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	f := newFakeSession(t, dir)
	for _, how := range []string{"context", "Client"} {
		ctx, cancel := context.WithCancel(testContext(t))
		c := newClient(dir)
		stopped := make(chan error, 1)
		go func() {
			_, err := c.Stop(ctx, "com.example.up")
			stopped <- err
		}()
		f.greet(session.HelloReply{Broker: [16]byte{1}})
		h, _ := f.receive(session.OpStop)
		f.reply(h, session.BackendsReply{Backends: []uint64{5}}.Append(nil))
		if how == "context" {
			cancel()
			wantError(t, <-stopped, context.Canceled)
		}
		noError(t, c.Close())
		if how == "Client" {
			wantError(t, <-stopped, net.ErrClosed)
		}
		cancel()
		f.hangUp()
	}
}

// TestShutdownOptions: what is launched is kept if that is asked for.
func TestShutdownOptions(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	f := newFakeSession(t, dir)
	c := client(t, dir)
	for _, keep := range []bool{false, true} {
		var opts []switchboard.ShutdownOption
		if keep {
			opts = append(opts, switchboard.KeepBackends())
		}
		done := make(chan error, 1)
		go func() { done <- c.Shutdown(ctx, opts...) }()
		f.greet(session.HelloReply{Broker: [16]byte{1}})
		h, payload := f.receive(session.OpShutdown)
		if m := must[session.Shutdown](t)(session.ParseShutdown(payload)); m.KeepBackends != keep {
			t.Errorf("shutdown: %+v", m)
		}
		f.reply(h, nil)
		f.hangUp()
		noError(t, <-done)
	}
}

// TestPassedListener: a process that was launched with a listening socket accepts on it, without a broker, and leaves it as it was.
func TestPassedListener(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	path := filepath.Join(dir, "x")
	l := must[*net.UnixListener](t)(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path}))
	defer l.Close()
	file := must[*os.File](t)(l.File())
	defer file.Close()
	p := startWith(t, "passed", []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=com.example.up", "SWITCHBOARD_SOCKET=" + path}, []*os.File{file}, dir)
	if at := p.expect("ready at"); at != path {
		t.Errorf("it accepts at %q", at)
	}
	c := must[net.Conn](t)(net.Dial("unix", path))
	text := must[[]byte](t)(io.ReadAll(c))
	c.Close()
	if string(text) != "hello" {
		t.Errorf("it said %q", text)
	}
	p.expect("closed")
	<-p.done
	c = must[net.Conn](t)(net.Dial("unix", path)) // who launched it goes on
	defer c.Close()
	noError(t, must[net.Conn](t)(l.Accept()).Close())
}
