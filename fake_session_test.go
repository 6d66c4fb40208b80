// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// fakeSession speaks the session protocol with one client at a time.
type fakeSession struct {
	t *testing.T
	l *net.UnixListener
	c *net.UnixConn
}

func newFakeSession(t *testing.T, dir string) *fakeSession {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: filepath.Join(dir, "session.sock")})
	noError(t, err)
	noError(t, l.SetDeadline(time.Now().Add(deadline)))
	f := &fakeSession{t: t, l: l}
	t.Cleanup(func() {
		l.Close()
		f.hangUp()
	})
	return f
}

func (f *fakeSession) hangUp() {
	if f.c != nil {
		f.c.Close()
	}
}

// greet accepts a connection and answers HELLO.
func (f *fakeSession) greet(reply session.HelloReply) [16]byte {
	c, err := f.l.AcceptUnix()
	noError(f.t, err)
	f.c = c
	noError(f.t, c.SetDeadline(time.Now().Add(deadline)))
	h, payload := f.receive(session.OpHello)
	f.reply(h, reply.Append(nil))
	return must[session.Hello](f.t)(session.ParseHello(payload)).Session
}

func (f *fakeSession) receive(op session.Op) (session.Header, []byte) {
	f.t.Helper()
	h, payload := f.receiveAny()
	if h.Op != op {
		f.t.Fatalf("%v came, not %v", h.Op, op)
	}
	return h, payload
}

func (f *fakeSession) receiveAny() (session.Header, []byte) {
	f.t.Helper()
	b := make([]byte, session.MaxPacket)
	n, err := f.c.Read(b)
	noError(f.t, err)
	h, payload, err := session.ParseHeader(b[:n])
	noError(f.t, err)
	return h, payload
}

func (f *fakeSession) reply(h session.Header, payload []byte) {
	h.Kind, h.Descriptors = session.KindReply, 0
	f.c.Write(append(h.Append(nil), payload...))
}

func (f *fakeSession) event(op session.Op, payload []byte, fds ...int) {
	raw := must[interface{ Control(func(uintptr)) error }](f.t)(f.c.SyscallConn())
	packet := append(session.Header{Kind: session.KindEvent, Op: op, Descriptors: uint8(len(fds))}.Append(nil), payload...)
	noError(f.t, raw.Control(func(fd uintptr) { must[int](f.t)(sys.Send(int(fd), packet, fds...)) }))
}

// listens has a client claim a name as its first call, which is granted; the Listener follows.
func (f *fakeSession) listens(ctx context.Context, c *switchboard.Client, name string, lease uint64) <-chan *switchboard.Listener {
	listening := make(chan *switchboard.Listener, 1)
	go func() {
		l, err := c.Listen(ctx, name)
		if err != nil {
			f.t.Error(err)
		}
		listening <- l
	}()
	f.greet(session.HelloReply{Broker: [16]byte{1}})
	h, _ := f.receive(session.OpClaim)
	f.reply(h, session.ClaimReply{Lease: lease}.Append(nil))
	return listening
}

// handOver hands a connection over, and returns the caller's end.
func (f *fakeSession) handOver(connection, lease uint64) *os.File {
	ours, theirs, err := sys.Pair(sys.Stream)
	noError(f.t, err)
	f.event(session.OpHandOver, session.HandOver{Connection: connection, Lease: lease, Preamble: []byte("OK\n")}.Append(nil), theirs.Int())
	theirs.Close()
	caller := os.NewFile(uintptr(ours.Take()), "caller")
	f.t.Cleanup(func() { caller.Close() })
	return caller
}

// TestLostReply: a request whose reply was lost is asked again with its number where the session goes on, and anew where it does not.
func TestLostReply(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	listening := make(chan error, 1)
	go func() {
		l, err := c.Listen(ctx, "com.example.a")
		if err == nil {
			err = l.Close()
		}
		listening <- err
	}()
	id := fake.greet(session.HelloReply{Broker: [16]byte{1}})
	for i, resumed := range []bool{true, false, true} {
		h, _ := fake.receive(session.OpClaim)
		if h.Sequence != 1 {
			t.Fatalf("the sequence is %d", h.Sequence)
		}
		fake.hangUp()
		reply := session.HelloReply{Broker: [16]byte{byte(2 + i)}, Resumed: resumed}
		if resumed {
			reply.Sequence = 1
		}
		if other := fake.greet(reply); other != id {
			t.Fatal("the session id is another")
		}
	}
	h, payload := fake.receive(session.OpClaim)
	if claim := must[session.Claim](t)(session.ParseClaim(payload)); claim.Name != "com.example.a" || h.Sequence != 1 {
		t.Fatalf("%+v with sequence %d", claim, h.Sequence)
	}
	fake.reply(h, session.ClaimReply{Lease: 7}.Append(nil))
	fake.reply(h, session.ClaimReply{Lease: 8}.Append(nil)) // one too many
	h, payload = fake.receive(session.OpRelease)
	if release := must[session.Release](t)(session.ParseRelease(payload)); release.Lease != 7 || h.Sequence != 2 {
		t.Fatalf("%+v with sequence %d", release, h.Sequence)
	}
	fake.reply(h, nil)
	noError(t, <-listening)
}

// TestDoorClosedOnTheWay: a door that is closed while a new broker is asked for what was held is not asked for, and spoils nothing.
func TestDoorClosedOnTheWay(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	type held struct {
		space *switchboard.Namespace
		door  *os.File
	}
	made := make(chan held, 1)
	go func() {
		space, err := c.Namespace(ctx, "ci")
		if err != nil {
			t.Error(err)
		}
		door, err := space.Door(ctx)
		if err != nil {
			t.Error(err)
		}
		made <- held{space, door}
	}()
	joined := func() {
		h, _ := fake.receive(session.OpNamespace)
		fake.reply(h, session.NamespaceReply{Namespace: 2, Path: "/ci"}.Append(nil))
	}
	fake.greet(session.HelloReply{Broker: [16]byte{1}})
	joined()
	h, _ := fake.receive(session.OpDoor)
	fake.reply(h, session.DoorReply{Lease: 7}.Append(nil))
	was := <-made
	defer was.door.Close()
	fake.hangUp()
	fake.greet(session.HelloReply{Broker: [16]byte{2}})
	h, _ = fake.receive(session.OpNamespace)
	noError(t, was.space.Close())
	eventually(t, func() error {
		if !sys.HungUp(int(was.door.Fd())) {
			return errors.New("the door is open")
		}
		return nil
	})
	fake.reply(h, session.NamespaceReply{Namespace: 2, Path: "/ci"}.Append(nil))
	lookedUp := make(chan error, 1)
	go func() {
		_, err := c.LookUp(ctx, "com.example.a")
		lookedUp <- err
	}()
	h, _ = fake.receive(session.OpLookUp)
	fake.reply(h, session.LookUpReply{Code: session.Unavailable, Text: "for a test"}.Append(nil))
	wantError(t, <-lookedUp, switchboard.ErrUnavailable, "for a test")
}

// TestUnknownAfterCrash: a broker that does not know a name may be one that has not heard yet what this Client holds. It is asked again
// when it has, and once only.
func TestUnknownAfterCrash(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	verdicts := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	defer verdicts.Close()
	verdict := func(text string) {
		conn := must[net.Conn](t)(verdicts.Accept())
		defer conn.Close()
		must[int](t)(conn.Read(make([]byte, 100)))
		must[int](t)(io.WriteString(conn, text))
		waitRead(t, conn)
	}
	claimed := func(lease uint64) {
		h, _ := fake.receive(session.OpClaim)
		fake.reply(h, session.ClaimReply{Lease: lease}.Append(nil))
	}
	c := client(t, dir)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if _, err := c.Listen(ctx, "com.example.a"); err != nil {
			t.Error(err)
		}
	})
	fake.greet(session.HelloReply{Broker: [16]byte{1}})
	claimed(7)
	work.Wait()
	dial := func(want error) {
		work.Go(func() {
			conn, err := c.Dial(ctx, "com.example.a")
			if err == nil {
				conn.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("dial: %v, not %v", err, want)
			}
		})
	}
	dial(nil)
	fake.hangUp()
	verdict("ERR 69 it is unknown\n")
	fake.greet(session.HelloReply{Broker: [16]byte{2}})
	claimed(8)
	lookedUp := func() {
		h, _ := fake.receive(session.OpLookUp)
		fake.reply(h, session.LookUpReply{Code: session.Unavailable}.Append(nil))
	}
	lookedUp()
	verdict("OK\n")
	work.Wait()

	dial(switchboard.ErrUnavailable) // and now it knows
	verdict("ERR 69 it is unknown\n")
	lookedUp()
}
