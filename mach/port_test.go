// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	receive, send := newPort(t)
	inner, innerSend := newPort(t)
	back, reply, err := mach.NewReplyPort()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	keep, err := innerSend.Copy()
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	data := bytes.Repeat([]byte("memory"), 100_000)
	memory, err := mach.NewMemory(data)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := mach.NewMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &mach.Message{
		ID: 500, Body: []byte("body"), Rights: []mach.Right{innerSend, nil, inner}, Memory: []*mach.Memory{memory, empty}, Reply: reply,
	}
	if err := send.Send(ctx, m); err != nil {
		t.Fatal(err)
	}
	if m.Rights != nil || m.Memory != nil || m.Reply != nil {
		t.Errorf("still in the message: %+v", m)
	}
	wantIs(t, "receive at a right that was sent", second(inner.Receive(ctx)), mach.ErrClosed)
	wantIs(t, "send with a right that was sent", innerSend.Send(ctx, &mach.Message{}), mach.ErrClosed)
	wantIs(t, "memory that was sent", second(memory.Bytes()), mach.ErrClosed)
	wantIs(t, "reply with a right that was sent", reply.Send(ctx, &mach.Message{}), mach.ErrClosed)

	got, err := receive.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != 500 || string(got.Body) != "body" || len(got.Rights) != 3 || got.Rights[1] != nil ||
		len(got.Memory) != 2 || got.Reply == nil {
		t.Fatalf("%+v", got)
	}
	for i, want := range [][]byte{data, nil} {
		if b, err := got.Memory[i].Bytes(); err != nil || !bytes.Equal(b, want) || got.Memory[i].Len() != len(want) {
			t.Errorf("memory %d: %d bytes, %v", i, len(b), err)
		}
		if b, err := got.Memory[i].Map(); err != nil || !bytes.Equal(b, want) {
			t.Errorf("mapped memory %d: %d bytes, %v", i, len(b), err)
		}
	}
	// The rights lead to each other, and the copy that was kept does too.
	for _, to := range []*mach.SendRight{got.Rights[0].(*mach.SendRight), keep} {
		if err := to.Send(ctx, &mach.Message{ID: 7}); err != nil {
			t.Fatal(err)
		}
		if m, err := got.Rights[2].(*mach.ReceiveRight).Receive(ctx); err != nil || m.ID != 7 {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if err := got.Reply.Send(ctx, &mach.Message{ID: 600}); err != nil {
		t.Fatal(err)
	}
	wantIs(t, "reply twice", got.Reply.Send(ctx, &mach.Message{ID: 600}), mach.ErrClosed)
	if m, err := back.Receive(ctx); err != nil || m.ID != 600 {
		t.Fatalf("%+v, %v", m, err)
	}
	wantIs(t, "after the reply", second(back.Receive(ctx)), mach.ErrNoSenders)
	got.Close()
	waitUntil(t, keep.Dead) // what another test forks has a copy of the receive right until it execs
	wantCode(t, "send to a dead port", keep.Send(ctx, &mach.Message{}), mach.ServerDied)
}

func second[T any](_ T, err error) error { return err }

func TestDoubleUse(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	receive, send := newPort(t)
	other, otherSend := newPort(t)
	for what, m := range map[string]*mach.Message{
		"twice":           {Rights: []mach.Right{other, other}},
		"to itself":       {Rights: []mach.Right{send, send}},
		"reply and right": replyAndRight(t),
		"too many":        {Rights: many(t, 254)},
	} {
		err := send.Send(ctx, m)
		if err == nil {
			t.Errorf("%s: sent", what)
		}
		t.Log(err)
		m.Rights = append(m.Rights, nil) // still the caller's
		if what != "twice" && what != "to itself" {
			m.Close()
		}
	}
	// All is as it was.
	if err := otherSend.Send(ctx, &mach.Message{ID: 1}); err != nil {
		t.Error(err)
	}
	if m, err := other.Receive(ctx); err != nil || m.ID != 1 {
		t.Error(m, err)
	}
	// A right may be sent through itself.
	if err := send.Send(ctx, &mach.Message{Rights: []mach.Right{send}}); err != nil {
		t.Error(err)
	}
	m, err := receive.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Rights[0].(*mach.SendRight).Send(ctx, &mach.Message{ID: 2}); err != nil {
		t.Error(err)
	}
	m.Close()
	receive.Close()
	receive.Close()
	wantIs(t, "receive after Close", second(receive.Receive(ctx)), mach.ErrClosed)
	wantIs(t, "file after Close", second(receive.File()), mach.ErrClosed)
	wantIs(t, "copy after Close", second(send.Copy()), mach.ErrClosed)
}

func replyAndRight(t *testing.T) *mach.Message {
	back, reply, err := mach.NewReplyPort()
	if err != nil {
		t.Fatal(err)
	}
	back.Close()
	return &mach.Message{Rights: []mach.Right{reply}, Reply: reply}
}

func many(t *testing.T, n int) (rights []mach.Right) {
	_, send := newPort(t)
	for range n {
		right, err := send.Copy()
		if err != nil {
			t.Fatal(err)
		}
		rights = append(rights, right)
	}
	return rights
}

func TestCall(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	receive, send := newPort(t)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			m, err := receive.Receive(ctx)
			if err != nil {
				wantIs(t, "server", err, mach.ErrClosed)
				return
			}
			switch m.ID {
			case 1: // closed without a reply
			case 2: // lost: the descriptor goes, and nothing is said
				r, w, _ := mach.NewPort()
				if err := w.Send(ctx, &mach.Message{Rights: []mach.Right{m.Reply}}); err != nil {
					t.Error(err)
				}
				m.Reply = nil
				r.Close()
				w.Close()
			default:
				if err := m.Reply.Send(ctx, &mach.Message{ID: m.ID + 100, Body: m.Body}); err != nil {
					t.Error(err)
				}
			}
			m.Close()
		}
	})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 50 {
				body := fmt.Sprint(i, j)
				m, err := send.Call(ctx, &mach.Message{ID: 500, Body: []byte(body)})
				if err != nil || m.ID != 600 || string(m.Body) != body {
					t.Errorf("%+v, %v", m, err)
					return
				}
			}
		})
	}
	callers.Wait()
	wantCode(t, "closed", second(send.Call(ctx, &mach.Message{ID: 1})), mach.ServerDied)
	wantCode(t, "lost", second(send.Call(ctx, &mach.Message{ID: 2})), mach.ServerDied)
	receive.Close()
	work.Wait()
	wantCode(t, "dead", second(send.Call(ctx, &mach.Message{ID: 3})), mach.ServerDied)
}

// TestUnreadCall: what is unread when a receive right closes dies, and its callers are told.
func TestUnreadCall(t *testing.T) {
	t.Parallel()
	receive, send := newPort(t)
	called := make(chan error, 1)
	go func() { called <- second(send.Call(testContext(t), &mach.Message{ID: 1})) }()
	waitUntil(t, func() bool { return queued(t, receive) })
	receive.Close()
	wantCode(t, "unread", <-called, mach.ServerDied)
}

// queued reports whether a message waits.
func queued(t *testing.T, r *mach.ReceiveRight) bool {
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return readable(f)
}

func waitUntil(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestContexts(t *testing.T) {
	t.Parallel()
	receive, send := newPort(t)
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	wantIs(t, "receive", second(receive.Receive(soon)), context.DeadlineExceeded)
	wantIs(t, "call", second(send.Call(soon, &mach.Message{ID: 1})), context.DeadlineExceeded)

	// A call that was given up leaves its message, whose reply goes nowhere.
	calling, giveUp := context.WithCancel(testContext(t))
	defer giveUp()
	called := make(chan error, 1)
	go func() { called <- second(send.Call(calling, &mach.Message{ID: 2})) }()
	m, err := receive.Receive(testContext(t))
	if err != nil || m.ID != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	giveUp()
	wantIs(t, "call", <-called, context.Canceled)
	wantCode(t, "late reply", m.Reply.Send(testContext(t), &mach.Message{}), mach.ServerDied)
	m.Close()

	// A full queue makes senders wait, until there is room, or ctx ends.
	n := 0
	for ; ; n++ {
		short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := send.Send(short, &mach.Message{Body: make([]byte, 10_000), Rights: []mach.Right{nil}})
		cancel()
		if err != nil {
			wantIs(t, "send", err, context.DeadlineExceeded)
			break
		}
	}
	sent := make(chan error, 1)
	go func() { sent <- send.Send(testContext(t), &mach.Message{ID: 99}) }()
	for i := range n + 1 {
		m, err := receive.Receive(testContext(t))
		if err != nil || (m.ID == 99) != (i == n) {
			t.Fatalf("message %d of %d: %+v, %v", i, n, m, err)
		}
		m.Close()
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}

	// Close wakes who waits.
	woken := make(chan error, 3)
	for range cap(woken) {
		go func() { woken <- second(receive.Receive(context.Background())) }()
	}
	time.AfterFunc(5*time.Millisecond, func() { receive.Close() })
	for range cap(woken) {
		wantIs(t, "receive", <-woken, mach.ErrClosed)
	}
}

// TestLong: a message longer than a packet can be is the sender's mistake.
func TestLong(t *testing.T) {
	t.Parallel()
	receive, send := newPort(t)
	body := make([]byte, 200_000)
	if err := send.Send(testContext(t), &mach.Message{Body: body}); err != nil {
		t.Fatal(err)
	}
	if m, err := receive.Receive(testContext(t)); err != nil || len(m.Body) != len(body) {
		t.Fatal(err)
	}
	wantCode(t, "too long", send.Send(testContext(t), &mach.Message{Body: make([]byte, 400_000)}), mach.InvalidArgument)
}

// TestFlags: the descriptors of rights are as others made them, blocking or not, whatever is done here.
func TestFlags(t *testing.T) {
	t.Parallel()
	receive, send := newPort(t)
	soon, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	wantIs(t, "receive", second(receive.Receive(soon)), context.DeadlineExceeded)
	for name, file := range map[string]func() (*os.File, error){"receive": receive.File, "send": send.File} {
		f, err := file()
		if err != nil {
			t.Fatal(err)
		}
		if nonblocking(f) {
			t.Errorf("the %s right does not block any more", name)
		}
		f.Close()
	}
}

// TestShutDown: who has a send right can end the port for all; the receiver is told, and does not go round in circles.
func TestShutDown(t *testing.T) {
	t.Parallel()
	receive, send := rawPair(t)
	if _, err := sys.Send(send.Int(), wire.Message{Header: wire.Header{ID: 3}}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := sys.ShutdownWrite(send.Int()); err != nil {
		t.Fatal(err)
	}
	if m, err := receive.Receive(testContext(t)); err != nil || m.ID != 3 {
		t.Fatal(m, err)
	}
	wantIs(t, "receive at the end", second(receive.Receive(testContext(t))), mach.ErrNoSenders)
}
