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

// TestLapsedWatch: a watch that nobody reads ends, and is listed anew when it is read.
func TestLapsedWatch(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	watching := make(chan *switchboard.Watcher, 1)
	go func() {
		w, err := c.Watch(ctx, "*")
		if err != nil {
			t.Error(err)
		}
		watching <- w
	}()
	fake.greet(session.HelloReply{Broker: [16]byte{1}})
	begun, _ := fake.receive(session.OpWatch)
	fake.reply(begun, nil)
	w := <-watching
	const packets, each = 66, 1000 // the last one is too much
	appeared := func(id uint32, packet int) {
		var m session.Change
		for i := range each {
			n := packet*each + i
			m.Changed = append(m.Changed, session.Changed{Kind: session.ChangeAppeared, Entry: session.Entry{Lease: uint64(n + 1), Name: fmt.Sprintf("n%d", n)}})
		}
		h := session.Header{Kind: session.KindEvent, Op: session.OpChange, ID: id}
		must[int](t)(fake.c.Write(append(h.Append(nil), m.Append(nil)...)))
	}
	for p := range packets {
		appeared(begun.ID, p)
	}
	h, _ := fake.receive(session.OpUnwatch)
	fake.reply(h, nil)
	told := 0
	next := func() switchboard.Event { return must[switchboard.Event](t)(w.Next(ctx)) }
	for ; told < 65536; told++ {
		if e := next(); e.Kind != switchboard.Appeared {
			t.Fatalf("event %d is %v", told, e.Kind)
		}
	}
	anew := make(chan uint32, 1)
	go func() {
		h, _ := fake.receive(session.OpWatch)
		fake.reply(h, nil)
		for p := 1; p < packets+1; p++ {
			appeared(h.ID, p)
		}
		must[int](t)(fake.c.Write(session.Header{Kind: session.KindEvent, Op: session.OpSynced, ID: h.ID}.Append(nil)))
		anew <- h.ID
	}()
	gone := 0
	for e := next(); e.Kind != switchboard.Synced; e = next() {
		switch e.Kind {
		case switchboard.Appeared:
			told++
		case switchboard.Gone:
			gone++
		}
	}
	if told != (packets+1)*each || gone != each {
		t.Errorf("%d names appeared, %d are gone", told, gone)
	}
	if id := <-anew; id == begun.ID {
		t.Error("the id of the watch is used twice")
	}
}

// TestLostByBye: a broker that does not serve this program any more ends its watches and traces, with the reason.
func TestLostByBye(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	for op, begin := range map[session.Op]func(c *switchboard.Client) (next func() error, err error){
		session.OpWatch: func(c *switchboard.Client) (func() error, error) {
			w, err := c.Watch(ctx, "*")
			return func() error { _, err := w.Next(ctx); return err }, err
		},
		session.OpTrace: func(c *switchboard.Client) (func() error, error) {
			tracer, err := c.Trace(ctx, "")
			return func() error { _, err := tracer.Next(ctx); return err }, err
		},
	} {
		dir := runtimeDir(t)
		fake, c := newFakeSession(t, dir), client(t, dir)
		lost := make(chan error, 1)
		go func() {
			next, err := begin(c)
			if err == nil {
				err = next()
			}
			lost <- err
		}()
		fake.greet(session.HelloReply{Broker: [16]byte{1}})
		h, _ := fake.receive(op)
		fake.reply(h, nil)
		noError(t, fake.l.Close())
		fake.event(session.OpBye, session.Bye{Code: session.NotAllowed, Reason: "for a test"}.Append(nil))
		wantError(t, <-lost, switchboard.ErrNotAllowed, "for a test")
	}
}

// TestClosedWhileBegunAnew: a watch or trace that is closed while a new broker is asked for it is ended there too.
func TestClosedWhileBegunAnew(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	for op, begin := range map[session.Op]func(c *switchboard.Client) (io.Closer, error){
		session.OpWatch: func(c *switchboard.Client) (io.Closer, error) { return c.Watch(ctx, "*") },
		session.OpTrace: func(c *switchboard.Client) (io.Closer, error) { return c.Trace(ctx, "") },
	} {
		for range 100 {
			c := newClient(dir)
			var work sync.WaitGroup
			var begun io.Closer
			work.Go(func() {
				var err error
				if begun, err = begin(c); err != nil {
					t.Error(err)
				}
			})
			fake.greet(session.HelloReply{Broker: [16]byte{1}})
			h, _ := fake.receive(op)
			fake.reply(h, nil)
			work.Wait()
			fake.hangUp()
			lookUp := func() {
				_, err := c.LookUp(ctx, "com.example.a")
				wantError(t, err, switchboard.ErrUnavailable)
			}
			work.Go(lookUp)
			fake.greet(session.HelloReply{Broker: [16]byte{2}})
			h, _ = fake.receive(op)
			work.Go(func() { begun.Close() })
			fake.reply(h, nil)
			ended := false
			looked := func(h session.Header) {
				fake.reply(h, session.LookUpReply{Code: session.Unavailable}.Append(nil))
			}
			for seen := 0; seen < 2; {
				h, _ := fake.receiveAny()
				switch h.Op {
				case session.OpUnwatch:
					ended = true
				case session.OpLookUp:
					looked(h)
					if seen++; seen == 1 {
						work.Wait()
						work.Go(lookUp)
					}
				default:
					t.Fatalf("%v came", h.Op)
				}
			}
			work.Wait()
			if !ended {
				t.Fatalf("%v was not ended", op)
			}
			noError(t, c.Close())
			fake.hangUp()
		}
	}
}
