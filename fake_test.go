// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// What a broker that works never does, done by one that is made for it.

// fakeVerdicts answers the nth call on broker.sock with the nth row of strings, written one by one.
func fakeVerdicts(t *testing.T, dir string, answers ...[]string) {
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	n := 0
	serve(t, l, func(c net.Conn) {
		defer c.Close()
		line := make([]byte, 100)
		if n == len(answers) {
			return
		}
		c.Read(line)
		for _, part := range answers[n] {
			io.WriteString(c, part)
			waitRead(t, c)
		}
		n++
	})
}

// waitRead waits until all that was written has been read, or never will be.
func waitRead(t *testing.T, c net.Conn) {
	raw := must[syscall.RawConn](t)(c.(*net.UnixConn).SyscallConn())
	for n := 1; n > 0; {
		noError(t, raw.Control(func(fd uintptr) {
			n, _ = sys.Unread(int(fd))
		}))
		runtime.Gosched()
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	served := must[net.Listener](t)(net.Listen("unix", path))
	serve(t, served, func(c net.Conn) {
		io.WriteString(c, "there")
		c.Close()
	})
	for name, test := range map[string]struct {
		answers [][]string
		want    string
		err     error
	}{
		"at once":       {[][]string{{"OK\n"}}, "", nil},
		"with bytes":    {[][]string{{"OK\nhello"}}, "hello", nil},
		"with lines":    {[][]string{{"OK\nERR 75 x\n"}}, "ERR 75 x\n", nil},
		"in pieces":     {[][]string{{"O", "K", "\n", "h", "i"}}, "hi", nil},
		"refused":       {[][]string{{"ERR 75 it is busy\n"}}, "it is busy", switchboard.ErrTryAgain},
		"refused, slow": {[][]string{{"E", "RR 77 no", "t you\n"}}, "not you", switchboard.ErrNotAllowed},
		"third time":    {[][]string{{}, {"O"}, {"OK\nyes"}}, "yes", nil},
		"at a path":     {[][]string{{"AT " + path + "\n"}}, "there", nil},
		"nonsense":      {[][]string{{"HTTP/1.1 400 Bad Request\r\n"}}, "verdict", switchboard.ErrUnavailable},
		"endless":       {[][]string{{"ERR 69 " + strings.Repeat("x", 5000)}}, "verdict", switchboard.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := runtimeDir(t)
			fakeVerdicts(t, dir, test.answers...)
			c, err := client(t, dir).Dial(testContext(t), "com.example.a")
			if test.err != nil {
				wantError(t, err, test.err, test.want)
				return
			}
			noError(t, err)
			defer c.Close()
			if text := must[[]byte](t)(io.ReadAll(c)); string(text) != test.want {
				t.Errorf("read %q, not %q", text, test.want)
			}
			id := must[switchboard.Identity](t)(switchboard.Peer(c))
			defer id.Close()
			if id.PID != os.Getpid() {
				t.Errorf("the peer is %d, not this process", id.PID)
			}
		})
	}
}

// TestNoVerdict: attempts end with the context, with the patience, and with the Client.
func TestNoVerdict(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	ctx, cancel := context.WithCancel(testContext(t))
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	defer l.Close()
	calls, held := 0, make(chan net.Conn)
	serve(t, l, func(c net.Conn) {
		switch calls++; calls {
		case 3:
			cancel()
		case 4:
			held <- c
			return
		}
		c.Close()
	})
	_, err := client(t, dir).Dial(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "closed the connection")

	c := client(t, dir)
	failed := dialing(testContext(t), c, "com.example.a")
	conn := <-held
	defer conn.Close()
	noError(t, c.Close())
	wantError(t, <-failed, net.ErrClosed)

	c = client(t, dir)
	c.SetPatience(short)
	_, err = c.Dial(forever(t), "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "closed the connection")
}

func TestFolder(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	above := t.TempDir()
	open, other := filepath.Join(above, "switchboard-open"), filepath.Join(above, "other")
	noError(t, os.Mkdir(open, 0o755))
	noError(t, os.Mkdir(other, 0o755))
	link := filepath.Join(above, "link")
	noError(t, os.Mkdir(filepath.Join(above, "good"), 0o700))
	noError(t, os.Symlink("good", link))
	file := filepath.Join(above, "file")
	noError(t, os.WriteFile(file, nil, 0o700))
	for dir, word := range map[string]string{open: "chmod 700 " + open, other: "must be 0700; choose another", link: "symbolic link", file: "not a folder"} {
		for _, auto := range []bool{false, true} {
			c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: !auto, Binary: os.Args[0]})
			_, err := c.Dial(ctx, "com.example.a")
			wantError(t, err, switchboard.ErrNotAllowed, dir, word)
			_, err = c.LookUp(ctx, "com.example.a")
			wantError(t, err, switchboard.ErrNotAllowed, dir, word)
			noError(t, c.Close())
		}
	}
	missing := filepath.Join(above, "missing")
	c := client(t, missing)
	_, err := c.Dial(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs in "+missing, "serve")
	_, err = c.Listen(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs in "+missing, "serve")
	if _, err := os.Stat(missing); err == nil {
		t.Error("the folder was made for nothing")
	}
	err = c.Shutdown(ctx)
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs")
}

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

// TestHandOver looks at what a taker does, in which order, and what it leaves alone.
func TestHandOver(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	listening := make(chan *switchboard.Listener, 1)
	go func() {
		l, err := c.Listen(ctx, "com.example.a")
		if err != nil {
			t.Error(err)
		}
		listening <- l
	}()
	fake.greet(session.HelloReply{Broker: [16]byte{1}})
	h, _ := fake.receive(session.OpClaim)
	fake.reply(h, session.ClaimReply{Lease: 7}.Append(nil))
	hand := func(connection, lease uint64) *os.File {
		ours, theirs, err := sys.Pair(sys.Stream)
		noError(t, err)
		fake.event(session.OpHandOver, session.HandOver{Connection: connection, Lease: lease, Preamble: []byte("OK\n")}.Append(nil), theirs.Int())
		theirs.Close()
		f := os.NewFile(uintptr(ours.Take()), "caller")
		t.Cleanup(func() { f.Close() })
		return f
	}
	wantTaken := func(connection uint64) {
		t.Helper()
		_, payload := fake.receive(session.OpTaken)
		if m := must[session.Taken](t)(session.ParseTaken(payload)); m.Connection != connection {
			t.Fatalf("connection %d was taken, not %d", m.Connection, connection)
		}
	}
	stray := hand(1, 8) // of a lease that it has not
	if text := must[[]byte](t)(io.ReadAll(stray)); len(text) != 0 {
		t.Fatalf("a stray connection was answered %q", text)
	}
	gone := hand(2, 7)
	gone.Close() // most often before it is taken
	mine := hand(3, 7)
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
	listening := make(chan *switchboard.Listener, 1)
	go func() {
		l, err := c.Listen(ctx, "com.example.a")
		if err != nil {
			t.Error(err)
		}
		listening <- l
	}()
	fake.greet(session.HelloReply{Broker: [16]byte{1}})
	h, _ := fake.receive(session.OpClaim)
	fake.reply(h, session.ClaimReply{Lease: 7}.Append(nil))
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
	hand := func(connection, lease uint64) *os.File {
		ours, theirs, err := sys.Pair(sys.Stream)
		noError(t, err)
		fake.event(session.OpHandOver, session.HandOver{Connection: connection, Lease: lease, Preamble: []byte("OK\n")}.Append(nil), theirs.Int())
		theirs.Close()
		return os.NewFile(uintptr(ours.Take()), "caller")
	}
	const callers = 1000 // the socket has room for what is said of less than half of them
	var hungUp sync.WaitGroup
	for i := range uint64(callers) {
		caller := hand(i, 7)
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
	stray := hand(callers, 8) // of a lease that there is not: when it is closed, all before it were looked at
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
