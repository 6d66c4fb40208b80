// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/mach"
)

// TestThroughPort: a child in a namespace of its own, to which it has nothing but a descriptor.
func TestThroughPort(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	hold, requestor := newPort(t)
	defer hold.Close()
	space, err := b.Subset(ctx, requestor)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	f, err := space.File()
	if err != nil {
		t.Fatal(err)
	}
	const name = "com.example.inside"
	child := start(t, []string{switchboard.EnvBootstrapFD + "=3"}, []*os.File{f}, "own", name)
	f.Close()
	wantCode(t, "outside", second(b.LookUp(ctx, name)), mach.UnknownService)
	right, err := connect(t, mach.Options{Port: space}).LookUp(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	if reply, err := right.Call(ctx, &mach.Message{ID: 1}); err != nil || string(reply.Body) != strconv.Itoa(child.cmd.Process.Pid) {
		t.Errorf("%+v, %v", reply, err)
	}
	called := make(chan error, 1)
	go func() { called <- second(right.Call(ctx, &mach.Message{ID: holdID})) }()
	if line := child.line(); line != "held" {
		t.Errorf("%q", line)
	}
	child.kill()
	wantCode(t, "call", <-called, mach.ServerDied)
}

// TestSpawn: a program that the broker starts is in the namespace of who asked.
func TestSpawn(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBrokerWith(t, broker.Config{Allow: []string{broker.AllowLaunch}})
	b := connect(t, mach.Options{RuntimeDir: dir})
	_, requestor := newPort(t)
	space, err := b.Subset(ctx, requestor)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	inner := connect(t, mach.Options{Port: space})
	const name = "com.example.spawned"
	send, err := inner.CreateService(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer send.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := inner.Spawn(ctx, mach.Launch{Path: self, Args: []string{"own", name}, Env: []string{roleVariable + "=own"}})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if reply, err := send.Call(ctx, &mach.Message{ID: 1}); err != nil || string(reply.Body) != strconv.Itoa(pid) {
		t.Errorf("%+v, %v", reply, err)
	}
	wantCode(t, "no path", second(inner.Spawn(ctx, mach.Launch{Path: "true", Args: []string{"true"}})), mach.InvalidArgument)
	wantCode(t, "no program", second(inner.Spawn(ctx, mach.Launch{Path: "/nothing", Args: []string{"true"}})), mach.Failure)
	long := mach.Launch{Path: "/bin/true", Args: make([]string, 20_000)}
	wantCode(t, "too long", second(inner.Spawn(ctx, long)), mach.InvalidArgument)
}

func TestBadPorts(t *testing.T) {
	for _, number := range []string{"x", "-1", "9999", "0"} {
		t.Setenv(switchboard.EnvBootstrapFD, number)
		_, err := mach.Connect(testContext(t), mach.Options{})
		wantCode(t, number, err, mach.InvalidRight)
		if !strings.Contains(fmt.Sprint(err), "unset the variable") {
			t.Error(err)
		}
	}
	receive, send := newPort(t)
	receive.Close()
	_, err := mach.Connect(testContext(t), mach.Options{Port: send})
	wantCode(t, "closed", err, mach.ServerDied)
}

func TestByPath(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	const name = "com.example.path"
	start(t, []string{switchboard.EnvBootstrap + "=" + dir + "/" + mach.Socket}, nil, "own", name)
	right, err := connect(t, mach.Options{RuntimeDir: dir}).LookUp(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	right.Close()
}

// TestScarce: a process without free descriptors gets errors that say so, and goes on.
func TestScarce(t *testing.T) {
	t.Parallel()
	dir := newBroker(t)
	right, err := connect(t, mach.Options{RuntimeDir: dir}).CreateService(testContext(t), "com.example.x")
	if err != nil {
		t.Fatal(err)
	}
	right.Close()
	start(t, inFolder(dir), nil, "scarce", "com.example.x")
}

// TestQueueSurvives: what the killed owner of a service had not read is read by the next one, in order.
func TestQueueSurvives(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	const name, read, all = "com.example.survives", 3, 20
	send, err := b.CreateService(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer send.Close()
	child := start(t, inFolder(dir), nil, "own", name, strconv.Itoa(read))
	for i := range all {
		if err := send.Send(ctx, &mach.Message{ID: int32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range read {
		if line := child.line(); line != fmt.Sprint("read ", i) {
			t.Fatalf("%q", line)
		}
	}
	child.kill()
	var receive *mach.ReceiveRight
	waitUntil(t, func() bool {
		receive, err = b.CheckIn(ctx, name)
		return mach.CodeOf(err) != mach.ServiceActive
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	for i := read; i < all; i++ {
		if m, err := receive.Receive(ctx); err != nil || m.ID != int32(i) {
			t.Fatalf("message %d: %+v, %v", i, m, err)
		}
	}
}

func wantNotification(t *testing.T, at *mach.ReceiveRight, event mach.Event) mach.Notification {
	t.Helper()
	m, err := at.Receive(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	n, ok := m.Notification()
	if !ok || n.Event != event {
		t.Fatalf("%+v, want %v", m, event)
	}
	return n
}

func TestNotifyDead(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	const name = "com.example.mortal"
	child := start(t, inFolder(dir), nil, "own", name)
	right, err := b.LookUp(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	at, to := newPort(t)
	token, err := b.NotifyDead(ctx, right, to)
	if err != nil {
		t.Fatal(err)
	}
	child.kill()
	if n := wantNotification(t, at, mach.DeadName); n.Name != token {
		t.Errorf("%d died, want %d", n.Name, token)
	}
	back, once, err := mach.NewReplyPort()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if token, err = b.NotifyDead(ctx, right, once); err != nil {
		t.Fatal(err)
	}
	if n := wantNotification(t, back, mach.DeadName); n.Name != token {
		t.Errorf("%d died, want %d", n.Name, token)
	}
	wantIs(t, "the send-once right", once.Send(ctx, &mach.Message{}), mach.ErrClosed)
	_, err = b.NotifyDead(ctx, right, at)
	wantCode(t, "told at a receive right", err, mach.TypeError)
}

func TestNotifyNoSenders(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	receive, err := b.CheckIn(ctx, "com.example.wanted")
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	holder := start(t, inFolder(dir), nil, "hold", "com.example.wanted")
	right, err := b.LookUp(ctx, "com.example.wanted")
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	at, to := newPort(t)
	if err := b.NotifyNoSenders(ctx, right, to); err != nil {
		t.Fatal(err)
	}
	holder.kill()
	if n := wantNotification(t, at, mach.NoSenders); n.Count != 2 {
		t.Errorf("%d send rights were made, want 2", n.Count)
	}
	other, otherSend := newPort(t)
	defer other.Close()
	wantCode(t, "somebody else's port", b.NotifyNoSenders(ctx, otherSend, to), mach.NotPrivileged)
}

func TestNotifyDestroyed(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	at, err := b.CheckIn(ctx, "com.example.heir")
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	child := start(t, inFolder(dir), nil, "return", "com.example.heir")
	child.kill()
	n := wantNotification(t, at, mach.PortDestroyed)
	defer n.Right.Close()
	if m, err := n.Right.Receive(ctx); err != nil || m.ID != 33 {
		t.Error(m, err)
	}
}

// TestStartsBroker: where none runs, one is started.
func TestStartsBroker(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := mach.Connect(ctx, mach.Options{RuntimeDir: dir, Binary: os.Args[0]})
	if err != nil {
		if strings.Contains(err.Error(), "sandbox") {
			t.Skip("needs a place outside of a sandbox: ", err)
		}
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Info(ctx); err != nil {
		t.Error(err)
	}
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	defer c.Close()
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	wantCode(t, "after the end", waitForEnd(b), mach.ServerDied)
}

func waitForEnd(b *mach.Bootstrap) (err error) {
	for err == nil {
		_, err = b.Info(context.Background())
	}
	return err
}
