// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/mach"
)

// lookUpPort asks for a port that nobody has.
func lookUpPort(t *testing.T, dir, name string) {
	t.Helper()
	b := must[*mach.Bootstrap](t)(mach.Connect(testContext(t), mach.Options{RuntimeDir: dir, NoAutostart: true}))
	defer b.Close()
	if _, err := b.LookUp(testContext(t), name); mach.CodeOf(err) != mach.UnknownService {
		t.Fatalf("look up %s: %v", name, err)
	}
}

// wantTraced waits for the next message of a trace.
func wantTraced(t *testing.T, tracer *switchboard.Tracer, name string) {
	t.Helper()
	m := must[switchboard.Traced](t)(tracer.Next(testContext(t)))
	got := fmt.Sprintf("%d %d %s %s %d %s %s %d %d", m.PID, m.UID, m.Namespace, m.Protocol, m.ID, m.Routine, m.Name, m.Code, m.Lost)
	want := fmt.Sprintf("%d %d / mach 404 look_up3 (canonical) %s 1102 0", os.Getpid(), os.Getuid(), name)
	if got != want || m.Program == "" || m.Outcome == "" || m.Time.IsZero() {
		t.Fatalf("told %s (%+v), want %s", got, m, want)
	}
}

// TestTrace: messages are told as they come, also by a broker that takes the place of one that was killed.
func TestTrace(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	first := start(t, "broker", dir)
	first.expect("ready")
	c := client(t, dir)
	all := must[*switchboard.Tracer](t)(c.Trace(ctx, ""))
	defer all.Close()
	some := must[*switchboard.Tracer](t)(c.Trace(ctx, "com.example.some.*"))
	defer some.Close()
	for range 2 {
		for _, name := range []string{"com.example.one", "com.example.some.one"} {
			lookUpPort(t, dir, name)
			wantTraced(t, all, name)
		}
		wantTraced(t, some, "com.example.some.one")
		first.kill()
		first = start(t, "broker", dir)
		first.expect("ready")
		must[switchboard.Status](t)(c.Status(ctx)) // before this returns, all is restored
	}
	noError(t, some.Close())
	noError(t, some.Close())
	_, err := some.Next(ctx)
	wantError(t, err, net.ErrClosed)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = all.Next(cancelled)
	wantError(t, err, context.Canceled)
	lookUpPort(t, dir, "com.example.some.last")
	wantTraced(t, all, "com.example.some.last")
	_, err = c.Trace(ctx, "com/example")
	wantError(t, err, switchboard.ErrUsage, "'/' at byte 4")
	noError(t, c.Close())
	_, err = all.Next(ctx)
	wantError(t, err, net.ErrClosed)
}

// TestSealed: in a sealed namespace nothing of those around it is seen but what was named.
func TestSealed(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	embed(t, dir)
	outer := start(t, "owner", dir, "com.example.outer")
	outer.expect("ready")
	c := client(t, dir)
	box := must[*switchboard.Namespace](t)(c.Namespace(ctx, "box", switchboard.Sealed("com.example.outer")))
	shut := must[*switchboard.Namespace](t)(c.Namespace(ctx, "shut", switchboard.Sealed()))
	for _, test := range []struct {
		space *switchboard.Namespace
		says  string
	}{
		{box, fmt.Sprintf("ready in /box, called %d: %d", outer.cmd.Process.Pid, outer.cmd.Process.Pid)},
		{shut, "cannot dial"},
	} {
		door := must[*os.File](t)(test.space.Door(ctx))
		defer door.Close()
		inside := startWith(t, "inside", []string{switchboard.EnvSessionFD + "=3"}, []*os.File{door}, "com.example.inner", "com.example.outer")
		inside.expect(test.says)
	}
	other := client(t, dir)
	must[*switchboard.Namespace](t)(other.Namespace(ctx, "box", switchboard.Sealed("com.example.outer")))
	must[*switchboard.Namespace](t)(other.Namespace(ctx, "shut"))
	_, err := other.Namespace(ctx, "box", switchboard.Sealed())
	wantError(t, err, switchboard.ErrUsage, "box")
	_, err = other.Namespace(ctx, "third", switchboard.Sealed("com/example"))
	wantError(t, err, switchboard.ErrUsage, "'/' at byte 4")
}
