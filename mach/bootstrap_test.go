// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/mach"
)

func TestCheckIn(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	server, client := connect(t, mach.Options{RuntimeDir: dir}), connect(t, mach.Options{RuntimeDir: dir})
	const name = "com.example.echo"
	wantCode(t, "unknown", second(client.LookUp(ctx, name)), mach.UnknownService)
	wantCode(t, "strict", second(server.CheckIn(ctx, name, mach.StrictCheckIn)), mach.UnknownService)
	receive, err := server.CheckIn(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	if receive.Instance() == ([16]byte{}) {
		t.Error("the port has no instance")
	}
	wantCode(t, "twice", second(server.CheckIn(ctx, name)), mach.ServiceActive)
	wantCode(t, "by somebody else", second(client.CheckIn(ctx, name)), mach.ServiceActive)
	other, otherSend := newPort(t)
	defer other.Close()
	wantCode(t, "register", client.Register(ctx, name, otherSend), mach.NameInUse)
	wantCode(t, "create", second(client.CreateService(ctx, name)), mach.NameInUse)
	for _, bad := range []string{"", "a b", "a/b", "com.example.x~12", string(make([]byte, 200))} {
		wantCode(t, bad, second(client.LookUp(ctx, bad)), mach.BadArguments)
	}

	send, err := client.LookUp(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer send.Close()
	served := make(chan error, 1)
	go func() {
		m, err := receive.Receive(ctx)
		if err == nil {
			err = m.Reply.Send(ctx, &mach.Message{ID: m.ID + 100, Body: m.Body})
		}
		served <- err
	}()
	reply, err := send.Call(ctx, &mach.Message{ID: 500, Body: []byte("hello")})
	if err != nil || reply.ID != 600 || string(reply.Body) != "hello" {
		t.Errorf("%+v, %v", reply, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	same, err := client.LookUpInstance(ctx, name, receive.Instance())
	if err != nil {
		t.Fatal(err)
	}
	same.Close()
	wantCode(t, "another instance", second(client.LookUpInstance(ctx, name, [16]byte{1})), mach.UnknownService)

	// The name goes with the connection, the port with its receive right.
	server.Close()
	wantIs(t, "after Close", second(server.LookUp(ctx, name)), mach.ErrClosed)
	waitUntil(t, func() bool {
		right, err := client.LookUp(ctx, name)
		if err == nil {
			right.Close()
		}
		return mach.CodeOf(err) == mach.UnknownService
	})
	if send.Dead() {
		t.Error("the port is dead before its receive right is closed")
	}
	receive.Close()
	waitUntil(t, send.Dead) // what another test forks has a copy until it execs
}

func TestRegister(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	server, client := connect(t, mach.Options{RuntimeDir: dir}), connect(t, mach.Options{RuntimeDir: dir})
	receive, send := newPort(t)
	const name = "com.example.registered"
	if err := server.Register(ctx, name, send); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "check in", second(server.CheckIn(ctx, name)), mach.ServiceActive)
	wantCode(t, "take back", server.Register(ctx, name, nil), mach.NameInUse)
	if state, err := client.Status(ctx, name); err != nil || state != mach.Active {
		t.Error(state, err)
	}
	right, err := client.LookUp(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	if err := right.Send(ctx, &mach.Message{ID: 5}); err != nil {
		t.Fatal(err)
	}
	if m, err := receive.Receive(ctx); err != nil || m.ID != 5 {
		t.Error(m, err)
	}
	receive.Close()
	waitUntil(t, func() bool {
		_, err := client.Status(ctx, name)
		return mach.CodeOf(err) == mach.UnknownService
	})
	// A dead port is success, and gone.
	if err := server.Register(ctx, name, send); err != nil {
		t.Error(err)
	}
	waitUntil(t, func() bool {
		_, err := client.Status(ctx, name)
		return mach.CodeOf(err) == mach.UnknownService
	})
}

// TestQueue: what was sent to a service before anybody checked it in is read by who does, and a nil right takes it back.
func TestQueue(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	const name = "com.example.created"
	send, err := b.CreateService(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer send.Close()
	for i := range 5 {
		if err := send.Send(ctx, &mach.Message{ID: int32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := b.Status(ctx, name); err != nil || state != mach.Inactive {
		t.Error(state, err)
	}
	receive, err := b.CheckIn(ctx, name, mach.StrictCheckIn)
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	for i := range 5 {
		if m, err := receive.Receive(ctx); err != nil || m.ID != int32(i) {
			t.Fatal(m, err)
		}
	}
	// A call that nobody has read is answered when the service is taken back.
	taken, err := b.CreateService(ctx, "com.example.taken")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	called := make(chan error, 1)
	go func() { called <- second(taken.Call(ctx, &mach.Message{ID: 1})) }()
	waitUntil(t, func() bool { return inQueue(t, taken) })
	if err := b.Register(ctx, "com.example.taken", nil); err != nil {
		t.Error(err)
	}
	wantCode(t, "call", <-called, mach.ServerDied)
	wantCode(t, "taken back", second(b.LookUp(ctx, "com.example.taken")), mach.UnknownService)
	if err := b.Register(ctx, "com.example.taken", nil); err != nil {
		t.Error("take back what is not there:", err)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	if services, err := b.Info(ctx); err != nil || len(services) != 0 {
		t.Error(services, err)
	}
	if rights, err := b.LookUpMany(ctx); err != nil || len(rights) != 0 {
		t.Error(rights, err)
	}
	rights, err := b.LookUpMany(ctx, "com.example.no", "com.example.nothing")
	if err != nil || !slices.Equal(rights, []*mach.SendRight{nil, nil}) {
		t.Error(rights, err)
	}
	var names []string
	for i := range 5 {
		name := fmt.Sprintf("com.example.s%d", i)
		names = append(names, name)
		if i == 3 {
			continue
		}
		receive, err := b.CheckIn(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		defer receive.Close()
		go func() { // tells which one it is
			for {
				m, err := receive.Receive(ctx)
				if err != nil {
					return
				}
				_ = m.Reply.Send(ctx, &mach.Message{Body: []byte(name)})
				m.Close()
			}
		}()
	}
	own, err := b.CheckIn(ctx, "com.example.own", mach.PerPID)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	rights, err = b.LookUpMany(ctx, names...)
	if err != nil || len(rights) != 5 {
		t.Fatal(rights, err)
	}
	for i, right := range rights {
		if (right == nil) != (i == 3) {
			t.Fatalf("%v", rights)
		}
		if right == nil {
			continue
		}
		if reply, err := right.Call(ctx, &mach.Message{ID: 1}); err != nil || string(reply.Body) != names[i] {
			t.Errorf("%d: %+v, %v", i, reply, err)
		}
		right.Close()
	}
	services, err := b.Info(ctx)
	if err != nil || len(services) != 4 || services[0].Name != names[0] || services[0].State != mach.Active || services[0].Job == "" {
		t.Errorf("%+v, %v", services, err)
	}
	wantCode(t, "21 names", second(b.LookUpMany(ctx, slices.Repeat([]string{"com.example.s0"}, 21)...)), mach.BadCount)

	wantCode(t, "a process' own", second(b.LookUp(ctx, "com.example.own")), mach.UnknownService)
	right, err := b.LookUpProcess(ctx, "com.example.own", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	right.Close()
	wantCode(t, "another process' own", second(b.LookUpProcess(ctx, "com.example.own", 1)), mach.UnknownService)
}

func TestSubset(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	for _, name := range []string{"com.example.outer", "com.example.both"} {
		receive, err := b.CheckIn(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		defer receive.Close()
	}
	wantCode(t, "no requestor", second(b.Subset(ctx, nil)), mach.NotPrivileged)
	hold, requestor := newPort(t)
	port, err := b.Subset(ctx, requestor)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	inner := connect(t, mach.Options{Port: port})
	receive, err := inner.CheckIn(ctx, "com.example.both")
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	right, err := inner.LookUp(ctx, "com.example.outer")
	if err != nil {
		t.Fatal(err)
	}
	right.Close()
	wantCode(t, "strict", second(inner.LookUp(ctx, "com.example.outer", mach.StrictLookup)), mach.UnknownService)
	if services, err := inner.Info(ctx); err != nil || len(services) != 1 {
		t.Error(services, err)
	}
	for what, get := range map[string]func(context.Context) (*mach.SendRight, error){
		"parent": inner.Parent, "root": inner.Root, "own parent": b.Parent,
	} {
		way, err := get(ctx)
		if err != nil {
			t.Fatal(what, err)
		}
		back := connect(t, mach.Options{Port: way})
		if services, err := back.Info(ctx); err != nil || len(services) != 2 {
			t.Error(what, services, err)
		}
		way.Close()
	}

	hold.Close() // the requestor dies, and the namespace with it
	waitUntil(t, func() bool {
		right, err := inner.CreateService(ctx, "com.example.late")
		if err == nil {
			right.Close()
		}
		return mach.CodeOf(err) == mach.NotPrivileged
	})
	right, err = inner.LookUp(ctx, "com.example.outer")
	if err != nil {
		t.Fatal("look-ups still climb:", err)
	}
	right.Close()
	wantCode(t, "dead requestor", second(b.Subset(ctx, requestor)), mach.InvalidRight)
	wantCode(t, "spawn", second(b.Spawn(ctx, mach.Launch{Path: "/bin/true", Args: []string{"true"}})), mach.NotPrivileged)
}

// TestPipelining: many goroutines on one connection, some of whom give up; every right that was got is another descriptor, and none stays.
func TestPipelining(t *testing.T) {
	dir := newBroker(t) // not in parallel: it counts descriptors
	ctx := testContext(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	receive, err := b.CheckIn(ctx, "com.example.echo")
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	before := leaktest.Descriptors()
	var work sync.WaitGroup
	for i := range 32 {
		work.Go(func() {
			for j := range 100 {
				ctx := ctx
				if (i+j)%7 == 0 {
					short, cancel := context.WithTimeout(ctx, time.Duration(j)*time.Microsecond)
					defer cancel()
					ctx = short
				}
				right, err := b.LookUp(ctx, "com.example.echo")
				switch {
				case err == nil:
					right.Close()
				case ctx.Err() == nil:
					t.Error(err)
					return
				}
				if j%10 == 0 {
					wantCode(t, "unknown", second(b.Status(testContext(t), "com.example.nobody")), mach.UnknownService)
				}
			}
		})
	}
	work.Wait()
	if _, err := b.Status(ctx, "com.example.echo"); err != nil { // and with it every reply that was late
		t.Error(err)
	}
	waitUntil(t, func() bool { return leaktest.Descriptors() <= before }) // the broker is in this process, and may have closed some
}

// TestAbandoned: requests that nobody waits for any more do not fill the connection up for ever.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	dir := newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	receive, err := b.CheckIn(testContext(t), "com.example.echo")
	if err != nil {
		t.Fatal(err)
	}
	defer receive.Close()
	for range 3000 {
		ctx, cancel := context.WithCancel(context.Background())
		stop := context.AfterFunc(ctx, func() {})
		time.AfterFunc(20*time.Microsecond, cancel)
		if right, err := b.LookUp(ctx, "com.example.echo"); err == nil {
			right.Close()
		}
		stop()
		cancel()
	}
	right, err := b.LookUp(testContext(t), "com.example.echo")
	if err != nil {
		t.Fatal(err)
	}
	right.Close()
}

func TestBrokerEnds(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	var b *mach.Bootstrap
	var receive *mach.ReceiveRight
	t.Run("broker", func(t *testing.T) {
		dir := newBroker(t)
		var err error
		if b, err = mach.Connect(ctx, mach.Options{RuntimeDir: dir}); err != nil {
			t.Fatal(err)
		}
		if receive, err = b.CheckIn(ctx, "com.example.orphan"); err != nil {
			t.Fatal(err)
		}
	})
	defer b.Close()
	defer receive.Close()
	_, err := receive.Receive(ctx)
	wantIs(t, "the broker had the only send right", err, mach.ErrNoSenders)
	wantCode(t, "receive", err, mach.ServerDied)
	wantCode(t, "the broker has ended", second(b.Info(ctx)), mach.ServerDied)
	wantCode(t, "and again", second(b.Info(ctx)), mach.ServerDied)
	_, err = mach.Connect(ctx, mach.Options{RuntimeDir: filepath.Join(t.TempDir(), "x"), NoAutostart: true})
	wantCode(t, "no broker", err, mach.Failure)
}

// BenchmarkLookUp is a round trip, with a right that is got and closed.
func BenchmarkLookUp(b *testing.B) {
	dir := newBroker(b)
	c := connect(b, mach.Options{RuntimeDir: dir})
	receive, err := c.CheckIn(testContext(b), "com.example.echo")
	if err != nil {
		b.Fatal(err)
	}
	defer receive.Close()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		right, err := c.LookUp(ctx, "com.example.echo")
		if err != nil {
			b.Fatal(err)
		}
		right.Close()
	}
}

// BenchmarkCall is a message to a port and its reply.
func BenchmarkCall(b *testing.B) {
	receive, send := newPort(b)
	ctx := context.Background()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			m, err := receive.Receive(ctx)
			if err != nil {
				return
			}
			if err := m.Reply.Send(ctx, &mach.Message{ID: m.ID + 100}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		reply, err := send.Call(ctx, &mach.Message{ID: 1, Body: []byte("x")})
		if err != nil {
			b.Fatal(err)
		}
		reply.Close()
	}
	receive.Close()
	work.Wait()
}
