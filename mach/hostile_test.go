// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// server is the other end of a connection, which the test plays.
type server struct {
	t  *testing.T
	fd *sys.FD
}

// newServer returns a connection to a server that does what the test wants.
func newServer(t *testing.T) (*mach.Bootstrap, *server) {
	t.Helper()
	port, way, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	f := os.NewFile(uintptr(way.Take()), "port")
	right, err := mach.AdoptSend(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	b := connect(t, mach.Options{Port: right})
	buffer := sys.NewBuffer(4096)
	n, err := buffer.Recv(port.Int())
	if err != nil {
		t.Fatal(err)
	}
	r, replies, err := wire.ParseBootstrapRequest(buffer.Data[:n], len(buffer.FDs))
	if err != nil || replies || r.Routine != wire.Connect || r.Token != 0 || n != 40 {
		t.Fatalf("%+v, %t, %v", r, replies, err)
	}
	s := &server{t, sys.NewFD(buffer.FDs[0])}
	t.Cleanup(func() { s.fd.Close() })
	return b, s
}

// request waits for a request; its descriptors are closed.
func (s *server) request() wire.Request {
	buffer := sys.NewBuffer(4096)
	var n int
	waitUntil(s.t, func() (ok bool) {
		var err error
		n, err = buffer.Recv(s.fd.Int())
		return err == nil
	})
	defer buffer.Message.Close()
	r, err := wire.ParseRequest(buffer.Data[:n], len(buffer.FDs))
	if err != nil {
		s.t.Error(err)
	}
	return r
}

func (s *server) send(packet []byte, fds ...int) {
	if _, err := sys.Send(s.fd.Int(), packet, fds...); err != nil {
		s.t.Error(err)
	}
}

func (s *server) reply(r wire.Reply, fds ...int) {
	packet, err := r.Append(nil)
	if err != nil {
		s.t.Error(err)
	}
	s.send(packet, fds...)
}

// TestStrangeReplies: whatever a server answers is an error of the one call that it is about, and no descriptor stays.
func TestStrangeReplies(t *testing.T) {
	b, s := newServer(t) // not in parallel: it counts descriptors
	a, other, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer other.Close()
	if _, err := b.Info(expired()); err == nil {
		t.Fatal("a context that has ended is no obstacle")
	}
	before := leaktest.Descriptors()
	for name, c := range map[string]struct {
		answer func(r wire.Request)
		code   mach.Code
	}{
		"another id":  {func(r wire.Request) { g := r.Granted(); g.ID++; s.reply(g, a.Int()) }, mach.ReplyMismatch},
		"71":          {func(r wire.Request) { s.send(notification(t, wire.SendOnceDied, r.Token)) }, mach.ServerDied},
		"72":          {func(r wire.Request) { s.send(notification(t, wire.DeadName, r.Token)) }, mach.ReplyMismatch},
		"a code":      {func(r wire.Request) { s.reply(r.Refused(mach.NotPrivileged)) }, mach.NotPrivileged},
		"no right":    {func(r wire.Request) { g := r.Granted(); g.Right.Fd = wire.Null; s.reply(g) }, mach.InvalidRight},
		"a success":   {func(r wire.Request) { s.reply(r.Refused(mach.OK)) }, mach.ReplyMismatch},
		"other shape": {func(r wire.Request) { g := r.Granted(); g.Shape = wire.ChildReply; s.reply(g, a.Int()) }, mach.ReplyMismatch},
		"no shape": {func(r wire.Request) {
			s.send(wire.Message{Header: wire.Header{Remote: r.Token, ID: 504}}.Append(nil))
		}, mach.TypeError},
		"after others": {func(r wire.Request) {
			g := r.Granted()
			g.Token += 1000
			s.reply(g, a.Int()) // to nobody: closed
			s.reply(r.Refused(mach.NoMemory))
		}, mach.NoMemory},
	} {
		done := make(chan error, 1)
		go func() { done <- second(b.LookUp(testContext(t), "com.example.x")) }()
		c.answer(s.request())
		wantCode(t, name, <-done, c.code)
	}
	// Lists that are not what they are said to be.
	memory, err := sys.SealedMemory("test", make([]byte, 256))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for name, change := range map[string]func(*wire.Reply){
		"counts differ": func(r *wire.Reply) { r.Counts[1] = 3 },
		"too many":      func(r *wire.Reply) { r.Counts = [3]uint32{1 << 30, 1 << 30, 1 << 30} },
		"other length":  func(r *wire.Reply) { r.Lists[0].Length = 128 },
		"shorter memory": func(r *wire.Reply) {
			r.Lists[2].Fd = 3
			r.Counts = [3]uint32{3, 3, 3}
			r.Lists[0].Length, r.Lists[1].Length, r.Lists[2].Length = 384, 384, 12
		},
	} {
		done := make(chan error, 1)
		go func() { done <- second(b.Info(testContext(t))) }()
		r := s.request().Granted()
		r.Counts = [3]uint32{2, 2, 2}
		r.Lists = [3]wire.Memory{{Fd: 1, Length: 256}, {Fd: 2, Length: 256}, {Fd: 3, Length: 8}}
		change(&r)
		s.reply(r, memory.Int(), memory.Int(), memory.Int())
		if err := <-done; err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, change := range map[string]func(*wire.Reply){
		"another count":   func(r *wire.Reply) { r.Count = 3 },
		"another length":  func(r *wire.Reply) { r.Ports.Length = 1 },
		"positions wrong": func(r *wire.Reply) {},
	} {
		done := make(chan error, 1)
		go func() { done <- second(b.LookUpMany(testContext(t), "com.example.x", "com.example.y")) }()
		r := s.request().Granted()
		r.Ports, r.Count = wire.Memory{Fd: 1, Length: 2}, 2
		change(&r)
		list, err := sys.SealedMemory("test", wire.AppendPorts(nil, 3, 2))
		if err != nil {
			t.Fatal(err)
		}
		s.reply(r, list.Int(), a.Int())
		list.Close()
		if err := <-done; err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if after := leaktest.Descriptors() - 1; after != before { // memory
		t.Errorf("%d descriptors are open, and there were %d", after, before)
	}

	// What is no message at all ends the connection, for all who wait.
	done := make(chan error, 3)
	for range cap(done) {
		go func() { done <- second(b.LookUp(testContext(t), "com.example.x")) }()
	}
	for range cap(done) {
		s.request()
	}
	s.send([]byte("nonsense"))
	for range cap(done) {
		wantCode(t, "nonsense", <-done, mach.ServerDied)
	}
}

func notification(t *testing.T, e wire.Event, port uint32) []byte {
	b, err := wire.Notification{Event: e, Port: port}.Append(nil)
	if err != nil {
		t.Error(err)
	}
	return b
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestSilentServer: who waits for a server that does not answer can give up, also where it does not even read; what comes later is for
// nobody, and the connection goes on.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	b, s := newServer(t)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	asking, giveUp := context.WithCancel(testContext(t))
	defer giveUp()
	unanswered := make(chan error, 1)
	go func() { unanswered <- second(b.LookUp(asking, "com.example.x")) }()
	late := s.request()
	giveUp()
	wantIs(t, "no reply", <-unanswered, context.Canceled)
	a, other, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s.reply(late.Granted(), other.Int())
	other.Close()

	full := soon()
	for full.Err() == nil {
		ctx, cancel := context.WithTimeout(full, 50*time.Microsecond)
		_, _ = b.LookUp(ctx, "com.example.x")
		cancel()
	}
	for range 3 { // the reader gives up, and others take over
		wantIs(t, "no room", second(b.LookUp(soon(), "com.example.y")), context.DeadlineExceeded)
	}
	done := make(chan error, 1)
	go func() { done <- second(b.Status(testContext(t), "com.example.z")) }()
	for {
		r := s.request()
		s.reply(r.Refused(mach.UnknownService))
		if r.Service == "com.example.z" {
			break
		}
	}
	wantCode(t, "the last one", <-done, mach.UnknownService)
	waitUntil(t, func() bool { return sys.HungUp(a.Int()) }) // the descriptor of the late reply; what another test forks has a copy until it execs
}
