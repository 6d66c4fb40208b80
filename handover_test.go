// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// TestHandOver looks at what a taker does, in which order, and what it leaves alone.
func TestHandOver(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	listening := fake.listens(ctx, c, "com.example.a", 7)
	wantTaken := func(connection uint64) {
		t.Helper()
		_, payload := fake.receive(session.OpTaken)
		if m := must[session.Taken](t)(session.ParseTaken(payload)); m.Connection != connection {
			t.Fatalf("connection %d was taken, not %d", m.Connection, connection)
		}
	}
	stray := fake.handOver(1, 8) // of a lease that it has not
	if text := must[[]byte](t)(io.ReadAll(stray)); len(text) != 0 {
		t.Fatalf("a stray connection was answered %q", text)
	}
	gone := fake.handOver(2, 7)
	gone.Close() // most often before it is taken
	mine := fake.handOver(3, 7)
	wantTaken(2)
	wantTaken(3)
	buf := make([]byte, 3)
	must[int](t)(io.ReadFull(mine, buf))
	if string(buf) != "OK\n" {
		t.Fatalf("the preamble is %q", buf)
	}
	l := <-listening
	var work sync.WaitGroup
	work.Go(func() {
		for { // one or two
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "hi")
			conn.Close()
		}
	})
	if text := must[[]byte](t)(io.ReadAll(mine)); string(text) != "hi" {
		t.Fatalf("read %q", text)
	}
	fake.event(session.OpEnded, session.Ended{Lease: 7, Reason: "for a test"}.Append(nil))
	work.Wait()
	_, err := l.Accept()
	wantError(t, err, switchboard.ErrUnavailable, "for a test")
}

// TestCloseWithoutRoom: a Listener is closed although the broker does not read what it is sent: who was handed over meanwhile is hung up on, and the
// name is given back behind the acknowledgements when the broker goes on.
func TestCloseWithoutRoom(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	listening := fake.listens(ctx, c, "com.example.a", 7)
	l := <-listening
	var work sync.WaitGroup
	work.Go(func() { // and reads what the broker sends
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	const callers = 1000 // the socket has room for what is said of less than half of them
	var hungUp sync.WaitGroup
	for i := range uint64(callers) {
		caller := fake.handOver(i, 7)
		hungUp.Go(func() {
			defer caller.Close()
			if text, err := io.ReadAll(caller); err != nil || string(text) != "OK\n" {
				t.Errorf("a caller read %q: %v", text, err)
			}
		})
		if i%50 == 0 {
			waitRead(t, fake.c)
		}
	}
	waitRead(t, fake.c)
	stray := fake.handOver(callers, 8) // of a lease that there is not: when it is closed, all before it were looked at
	defer stray.Close()
	must[[]byte](t)(io.ReadAll(stray))
	noError(t, l.Close())
	work.Wait()
	for i := range uint64(callers) {
		_, payload := fake.receive(session.OpTaken)
		if m := must[session.Taken](t)(session.ParseTaken(payload)); m.Connection != i {
			t.Fatalf("connection %d was taken, not %d", m.Connection, i)
		}
	}
	h, payload := fake.receive(session.OpRelease)
	if m := must[session.Release](t)(session.ParseRelease(payload)); m.Lease != 7 {
		t.Fatalf("%+v", m)
	}
	fake.reply(h, nil)
	hungUp.Wait()
}
