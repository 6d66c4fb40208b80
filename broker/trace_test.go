// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// asker sends Mach requests on a control connection, for those who trace.
type asker struct {
	t    *testing.T
	file *os.File
}

func newAsker(t *testing.T, fd *sys.FD) *asker {
	t.Helper()
	a := &asker{t, os.NewFile(uintptr(fd.Take()), "bootstrap")}
	t.Cleanup(func() { a.file.Close() })
	return a
}

// askerAt connects to bootstrap.sock.
func askerAt(t *testing.T, dir string) *asker {
	t.Helper()
	fd, err := sys.Connect(filepath.Join(dir, "bootstrap.sock"), sys.Seqpacket, false)
	if err != nil {
		t.Fatal(err)
	}
	return newAsker(t, fd)
}

// ask sends a request and waits for its reply, whatever it is. Rights that come with it are kept until the end of the test.
func (a *asker) ask(r mach.Request) {
	a.t.Helper()
	r.Token = 1
	packet, err := r.Append(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	a.say(packet)
	a.file.SetReadDeadline(time.Now().Add(deadline))
	raw, err := a.file.SyscallConn()
	if err != nil {
		a.t.Fatal(err)
	}
	buffer := sys.NewBuffer(256)
	n := 0
	if rerr := raw.Read(func(fd uintptr) bool {
		n, err = buffer.Recv(int(fd))
		return err != syscall.EAGAIN
	}); rerr != nil || err != nil || n == 0 {
		a.t.Fatalf("no reply to %v: %v", r.Routine, errors.Join(rerr, err))
	}
	if len(buffer.FDs) > 0 {
		a.t.Cleanup(buffer.Message.Close)
	}
}

func (a *asker) say(packet []byte) {
	a.t.Helper()
	if _, err := a.file.Write(packet); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asker) lookUp(name string) {
	a.t.Helper()
	a.ask(mach.Request{Routine: mach.LookUp, Service: name})
}

// trace begins a trace that must be granted, and returns its id.
func (s *rawSession) trace(pattern string) uint32 {
	s.t.Helper()
	m := s.call(session.OpTrace, session.Trace{Pattern: pattern}.Append(nil))
	if r := parse(s.t, session.ParseReply, m); r.Code != session.OK {
		s.t.Fatalf("cannot trace %q: %d %s", pattern, r.Code, r.Text)
	}
	return m.ID
}

// wantTraced waits for the next message of a trace: its routine, name, code and outcome.
func (s *rawSession) wantTraced(id uint32, want string) session.Traced {
	s.t.Helper()
	m := s.event(session.OpTraced)
	r := parse(s.t, session.ParseTraced, m)
	if got := fmt.Sprintf("%s %q %d %s", r.Routine, r.Name, int32(r.Code), r.Outcome); m.ID != id || got != want {
		s.t.Fatalf("trace %d tells %s, want trace %d and %s", m.ID, got, id, want)
	}
	return r
}

func TestTrace(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, narrow, a := open(t, b.dir), open(t, b.dir), askerAt(t, b.dir)
	all, some := s.trace(""), narrow.trace("com.example.some.*")
	before := time.Now().Truncate(time.Microsecond)
	a.lookUp("com.example.nobody")
	r := s.wantTraced(all, `look_up (canonical) "com.example.nobody" 1102 `+mach.UnknownService.String())
	if at := time.UnixMicro(int64(r.Time)); at.Before(before) || at.After(time.Now()) {
		t.Errorf("it was at %v", at)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if int(r.PID) != os.Getpid() || int(r.UID) != os.Getuid() || r.Program != filepath.Base(self) || r.Namespace != "/" || r.Protocol != "mach" ||
		r.ID != 404 || r.Lost != 0 {
		t.Errorf("traced: %+v", r)
	}
	a.ask(mach.Request{Routine: mach.CheckIn2, Service: "com.example.some.port"})
	a.ask(mach.Request{Routine: mach.SeedLookUp, Service: "com.example.some.port"})
	a.ask(mach.Request{Routine: mach.SeedCheckIn, Service: "com.example.some.port"})
	a.ask(mach.Request{Routine: mach.Reboot2})
	for _, trace := range []struct {
		s  *rawSession
		id uint32
	}{{s, all}, {narrow, some}} {
		trace.s.wantTraced(trace.id, `check_in2 (canonical) "com.example.some.port" 0 `+mach.OK.String())
		trace.s.wantTraced(trace.id, `look_up (seed) "com.example.some.port" 0 `+mach.OK.String())
		trace.s.wantTraced(trace.id, `check_in (seed) "com.example.some.port" 1103 `+mach.ServiceActive.String())
	}
	s.wantTraced(all, `reboot2 (canonical) "" 1100 `+mach.NotPrivileged.String())

	// UNWATCH ends a trace, and nothing of it comes behind the reply.
	if r := parse(t, session.ParseReply, s.call(session.OpUnwatch, session.Unwatch{Watch: all}.Append(nil))); r.Code != session.OK {
		t.Errorf("UNWATCH: %d %s", r.Code, r.Text)
	}
	a.lookUp("com.example.some.other")
	narrow.wantTraced(some, `look_up (canonical) "com.example.some.other" 1102 `+mach.UnknownService.String())
	if s.lookUp("com.example.none"); len(s.events) > 0 {
		t.Errorf("after UNWATCH: %v", s.events)
	}
}

// What is unknown is told by its number and size, and so is what ends a connection.
func TestTraceUnknown(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, c := open(t, b.dir), bootstrap(t, b.dir)
	all := s.trace("")
	message := func(id int32, size int) []byte {
		h := mach.Header{Bits: mach.NewBits(false, mach.CopySend, mach.MakeSendOnce), Remote: 1, Local: 7, ID: id}
		return mach.Message{Header: h, Body: make([]byte, size-mach.HeaderSize)}.Append(nil)
	}
	c.mustSend(message(999, 160))
	s.wantTraced(all, `unknown 999@160 "" -303 `+mach.BadID.String())
	c.next()
	c.mustSend(message(404, 164))
	s.wantTraced(all, `unknown 404@164 "" -304 `+mach.BadArguments.String())
	c.next()
	for r, want := range map[mach.Routine]string{mach.LookUp2: "look_up2", mach.LookUp3: "look_up3", mach.LookUp: "look_up"} {
		c.unknownAs(r, "com.example.nobody")
		s.wantTraced(all, want+` (canonical) "com.example.nobody" 1102 `+mach.UnknownService.String())
	}
	bad := message(404, 160)
	bad[4]++ // its size
	c.mustSend(bad)
	s.wantTraced(all, `look_up (canonical) "" -304 closed: `+framing(t, bad))
}

// unknownAs is unknown by one of the routines for that.
func (c *machConn) unknownAs(r mach.Routine, name string) {
	c.t.Helper()
	c.want(mach.UnknownService, mach.Request{Routine: r, Service: name})
}

// framing returns what is wrong with the framing of a packet.
func framing(t *testing.T, packet []byte) string {
	t.Helper()
	_, err := mach.ParseRequest(packet, 0)
	var f *mach.FramingError
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	return f.Error()
}

// A request is told before it is answered: who begins to trace after that is not told of it.
func TestTraceBeforeReply(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, a := open(t, b.dir), askerAt(t, b.dir)
	for range 200 {
		a.lookUp("com.example.before")
		id := s.trace("")
		if s.lookUp("com.example.none"); len(s.events) > 0 {
			t.Fatalf("it is told of what was answered before: %v", s.events)
		}
		s.call(session.OpUnwatch, session.Unwatch{Watch: id}.Append(nil))
	}
}

// Each notification is told, with the port that it is about if that has a name; and each name of an array.
func TestTraceNotifications(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, c := open(t, b.dir), bootstrap(t, b.dir)
	receive, send := portPair(t)
	dead := c.notify(mach.DeadName, mach.CopySend, send)
	answer := c.createService("com.example.queue").question()
	c.checkIn("com.example.array")
	all := s.trace("")
	receive.close()
	dead.told(deadName)
	s.wantTraced(all, fmt.Sprintf(`%s "" 0 sent`, mach.DeadName))
	c.undeclare("com.example.queue")
	answer.died()
	s.wantTraced(all, fmt.Sprintf(`%s "com.example.queue" 0 sent`, mach.SendOnceDied))
	s.wantTraced(all, `register (canonical) "com.example.queue" 0 `+mach.OK.String())

	narrow := open(t, b.dir)
	some := narrow.trace("com.example.array")
	data := mach.AppendNames(nil, "com.example.none", "com.example.array")
	memory, err := sys.SealedMemory("names", data)
	if err != nil {
		t.Fatal(err)
	}
	c.call(mach.Request{Routine: mach.LookUpArray, Names: mach.Memory{Fd: 1, Length: uint32(len(data))}, Count: 2}, newMach(t, memory))
	narrow.wantTraced(some, `look_up_array (canonical) "com.example.none com.example.array" 0 `+mach.OK.String())
}

// Who is confined to a namespace sees that and what is below.
func TestTraceConfined(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	root := open(t, b.dir)
	ns := root.joinNamespace("ci")
	inside := sessionOn(t, through(t, root.door(ns.Namespace), sys.Seqpacket))
	inside.hello(newClient())
	deeper := inside.joinNamespace("job")
	askers := map[string]*asker{"/": askerAt(t, b.dir)}
	for path, door := range map[string]*sys.FD{"/ci": root.door(ns.Namespace), "/ci/job": inside.door(deeper.Namespace)} {
		ours, theirs, err := sys.Pair(sys.Seqpacket)
		if err != nil {
			t.Fatal(err)
		}
		packet, err := mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sys.Send(door.Int(), packet, theirs.Int()); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		askers[path] = newAsker(t, ours)
		askers[path].lookUp("com.example.first") // its connect is behind it
	}
	all, some := root.trace("com.example.*"), inside.trace("com.example.*")
	for _, path := range []string{"/", "/ci", "/ci/job", "/"} {
		name := strings.ReplaceAll("com.example"+path, "/", ".x")
		askers[path].lookUp(name)
		want := fmt.Sprintf(`look_up (canonical) %q 1102 `, name) + mach.UnknownService.String()
		if r := root.wantTraced(all, want); r.Namespace != path {
			t.Errorf("%s is in %s, want %s", name, r.Namespace, path)
		}
		if path != "/" {
			inside.wantTraced(some, want)
		}
	}
	if inside.lookUp("com.example.none"); len(inside.events) > 0 {
		t.Errorf("inside, it is told too: %v", inside.events)
	}
}

// What a session has no room for is counted, and nobody waits for it.
func TestTraceLost(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, a := open(t, b.dir), askerAt(t, b.dir)
	id := s.trace("*")
	const n = 3000
	for range n {
		a.lookUp("com.example.nobody")
	}
	// Those that are there, then one that has room.
	told, lost := 0, 0
	count := func() {
		r := parse(t, session.ParseTraced, s.event(session.OpTraced))
		told, lost = told+1, lost+int(r.Lost)
	}
	s.lookUp("com.example.none")
	for len(s.events) > 0 {
		count()
	}
	a.lookUp("com.example.last")
	count()
	if told+lost != n+1 || lost == 0 {
		t.Errorf("%d were told, and %d lost, of %d", told, lost, n+1)
	}
	s.call(session.OpUnwatch, session.Unwatch{Watch: id}.Append(nil))
	a.lookUp("com.example.nobody")
}

func TestTraceRefused(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	refused := func(pattern string, want session.Code, text string) {
		t.Helper()
		r := parse(t, session.ParseReply, s.call(session.OpTrace, session.Trace{Pattern: pattern}.Append(nil)))
		if r.Code != want || !strings.Contains(r.Text, text) {
			t.Errorf("%q: %d %s, want %d", pattern, r.Code, r.Text, want)
		}
	}
	refused("com/example", session.Usage, "/")
	for range 16 {
		s.trace("")
	}
	refused("", session.TryAgain, "16")
	s.call(session.OpUnwatch, session.Unwatch{Watch: 3}.Append(nil))
	s.trace("")
	refused("", session.TryAgain, "16")
	// They end with their connection.
	s.close()
	open(t, b.dir).trace("")
}
