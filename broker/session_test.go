// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

func TestClaimAndLookUp(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: limits(3)})
	s, other := open(t, b.dir), open(t, b.dir)
	lease := s.own("com.example.a")
	r := other.lookUp("com.example.a")
	if r.Code != session.OK || r.Entry.Lease != lease || r.Entry.PID != uint32(os.Getpid()) || r.Entry.Exe == "" || r.Entry.Namespace != "/" {
		t.Errorf("look-up: %+v", r)
	}
	for _, c := range []struct {
		claim session.Claim
		code  session.Code
		text  string
	}{
		{session.Claim{Name: "com.example.a"}, session.TryAgain, fmt.Sprintf(`name "com.example.a" is taken by process %d`, os.Getpid())},
		{session.Claim{Name: "com/example"}, session.Usage, `'/' at byte`},
		{session.Claim{Name: "x", Version: "one"}, session.Usage, `version "one" is malformed`},
		{session.Claim{Name: "x", Scope: "here"}, session.Usage, `scope "here" must be the absolute path`},
		{session.Claim{Name: "x", Path: "/x"}, session.Usage, "a path goes with accept PATH only"},
		{session.Claim{Name: "x", Accept: session.AcceptPath, Path: "x"}, session.Usage, `path "x" must be absolute`},
		{session.Claim{Name: "x", Accept: 9}, session.Usage, "accept 9 is unknown"},
		{session.Claim{Name: "x", Kind: session.EntryPort}, session.Usage, "a session claims services and channels"},
		{session.Claim{Name: "x"}, session.OK, ""},
		{session.Claim{Name: "y"}, session.OK, ""},
		{session.Claim{Name: "z"}, session.OK, ""},
		{session.Claim{Name: "too.many"}, session.TryAgain, "a session may have 3 leases"},
	} {
		if r, _ := other.claim(c.claim); r.Code != c.code || !strings.Contains(r.Text, c.text) {
			t.Errorf("%+v: %d %q, want %d %q", c.claim, r.Code, r.Text, c.code, c.text)
		}
	}
	if r := parse(t, session.ParseLookUpReply, s.call(session.OpLookUp, session.LookUp{Name: "x", Kind: session.EntryPort}.Append(nil))); r.Code != session.Unavailable || !strings.Contains(r.Text, "is a service, not a port") {
		t.Errorf("look-up of another kind: %+v", r)
	}
	release := func(lease uint64) session.Code {
		return parse(t, session.ParseReply, s.call(session.OpRelease, session.Release{Lease: lease}.Append(nil))).Code
	}
	if c := release(lease + 1000); c != session.Unavailable {
		t.Errorf("release of nothing: %d", c)
	}
	if c := release(lease); c != session.OK {
		t.Errorf("release: %d", c)
	}
	if r := other.lookUp("com.example.a"); r.Code != session.Unavailable {
		t.Errorf("look-up of a released name: %d", r.Code)
	}
}

// Each fault ends its session with a reason, and no other; nothing that came with it stays open.
func TestFaults(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	header := func(kind session.Kind, op session.Op, fds uint8, id uint32, seq uint64) []byte {
		return session.Header{Kind: kind, Op: op, Descriptors: fds, ID: id, Sequence: seq}.Append(nil)
	}
	request := func(op session.Op, id uint32, seq uint64, payload ...byte) []byte {
		return append(header(session.KindRequest, op, 0, id, seq), payload...)
	}
	pipe := func(t *testing.T) (fds []int) {
		p := make([]int, 2)
		if err := syscall.Pipe2(p, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sys.CloseAll(p) })
		return p
	}
	for _, c := range []struct {
		name   string
		packet []byte
		fds    int
		reason string // "" : the connection just ends
	}{
		{"an empty packet", []byte{}, 0, ""},
		{"half a header", []byte{1, 1, 2}, 0, "header"},
		{"another version", append([]byte{2}, request(session.OpStatus, 1, 0)[1:]...), 0, "version"},
		{"an unknown operation", request(99, 1, 0), 0, "99"},
		{"a reply", header(session.KindReply, session.OpStatus, 0, 1, 0), 0, "broker"},
		{"an event", header(session.KindEvent, session.OpBye, 0, 0, 0), 0, "broker"},
		{"id 0", request(session.OpStatus, 0, 0), 0, "id"},
		{"a change without a sequence", request(session.OpRelease, 1, 0), 0, "sequence"},
		{"a sequence out of order", request(session.OpRelease, 1, 5), 0, "out of order"},
		{"a look-up with a sequence", request(session.OpLookUp, 1, 5), 0, "sequence"},
		{"a second HELLO", request(session.OpHello, 1, 0), 0, "HELLO"},
		{"a payload that does not decode", request(session.OpLookUp, 1, 0, 0x0a, 0x05, 'x'), 0, "LookUp"},
		{"descriptors where none belong", request(session.OpStatus, 1, 0), 2, "descriptors"},
		{"fewer descriptors than announced", header(session.KindRequest, session.OpDoor, 1, 1, 1), 0, "descriptors"},
		{"CONNECT in a session", header(session.KindOneWay, session.OpConnect, 1, 0, 0), 1, "CONNECT"},
		{"a packet that is too long", append(request(session.OpLookUp, 1, 0), make([]byte, session.MaxPacket)...), 0, "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, b.dir)
			if err := s.send(c.packet, pipe(t)[:c.fds]...); err != nil {
				t.Fatal(err)
			}
			if c.reason != "" {
				bye := parse(t, session.ParseBye, s.event(session.OpBye))
				if bye.Code != session.Usage || !strings.Contains(bye.Reason, c.reason) {
					t.Errorf("BYE %d %q, want something with %q", bye.Code, bye.Reason, c.reason)
				}
			}
			if m, err := s.receive(); err != errClosed {
				t.Errorf("after the fault: %v, %v", m.Op, err)
			}
		})
	}
	t.Run("before HELLO", func(t *testing.T) {
		t.Parallel()
		s := connect(t, b.dir)
		s.send(request(session.OpStatus, 1, 0))
		if bye := parse(t, session.ParseBye, s.event(session.OpBye)); !strings.Contains(bye.Reason, "HELLO comes first") {
			t.Errorf("BYE %q", bye.Reason)
		}
	})
}

// A client that breaks things costs only itself.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	go s.serve()
	for i := range 64 {
		switch i % 4 {
		case 0:
			dial(t, b.dir, "DIAL com.example")
		case 1: // never reads its replies
			h := open(t, b.dir)
			for h.id = 1; h.id < 3000; h.id++ {
				p := session.LookUp{Name: "com.example.up"}.Append(session.Header{Kind: session.KindRequest, Op: session.OpLookUp, ID: h.id}.Append(nil))
				if _, err := sys.Send(h.fd.Int(), p); err != nil {
					break // its queue is full: it is not read any more
				}
			}
		case 2: // never reads its events
			open(t, b.dir).request(session.OpWatch, session.Watch{Pattern: "*"}.Append(nil))
		case 3:
			h := open(t, b.dir)
			h.send(session.Header{Kind: session.KindRequest, Op: session.OpStatus, ID: 1}.Append(nil), 0, 1, 2)
		}
	}
	good := open(t, b.dir)
	for i := range 200 {
		good.own(fmt.Sprintf("com.example.n%d", i))
		if r := good.lookUp("com.example.up"); r.Code != session.OK {
			t.Fatal(r.Text)
		}
		c := dial(t, b.dir, "DIAL com.example.up\n")
		if v := verdict(t, c); v != "OK" {
			t.Fatal(v)
		}
		c.Close()
	}
}

// Pipelined look-ups of a client that does not read are answered when it does, all and once.
func TestRepliesWaitForRoom(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.up")
	sent := make(map[uint32]bool)
	for full := false; !full; s.id++ {
		p := session.LookUp{Name: "com.example.up"}.Append(session.Header{Kind: session.KindRequest, Op: session.OpLookUp, ID: s.id + 1}.Append(nil))
		_, err := sys.Send(s.fd.Int(), p)
		if full = err == syscall.EAGAIN; !full {
			sent[s.id+1] = true
		}
	}
	for len(sent) > 0 {
		m, err := s.receive()
		if err != nil || !sent[m.ID] {
			t.Fatalf("reply %d, %v; %d are missing", m.ID, err, len(sent))
		}
		delete(sent, m.ID)
	}
}

func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	id := newClient()
	s := connect(t, b.dir)
	s.hello(id)
	lease := s.own("com.example.a")
	s.sequence-- // the same again
	if again := s.own("com.example.a"); again != lease {
		t.Errorf("the repeat was answered with lease %d, not %d", again, lease)
	}
	// The same process goes on with its session on another connection.
	next := connect(t, b.dir)
	r := next.hello(id)
	if !r.Resumed || r.Sequence != s.sequence {
		t.Errorf("resumed %t at %d, want true at %d", r.Resumed, r.Sequence, s.sequence)
	}
	if _, err := s.receive(); err != errClosed {
		t.Errorf("the old connection: %v", err)
	}
	next.sequence = r.Sequence - 1
	if again := next.own("com.example.a"); again != lease {
		t.Errorf("after resuming, the repeat was answered with lease %d, not %d", again, lease)
	}
	go next.serve()
	if v := verdict(t, dial(t, b.dir, "DIAL com.example.a\n")); v != "OK" {
		t.Errorf("after resuming: %s", v)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: limits(5000)})
	s := open(t, b.dir)
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("com.example.n%d", i)
		s.own(name)
		want = append(want, name)
	}
	s.own("org.example.other")
	w := open(t, b.dir)
	if _, got := w.watch("com.example.*"); !slices.Equal(got, want) {
		t.Fatalf("the watch begins with %d names, and there are %d", len(got), len(want))
	}
	lease := s.own("com.example.new")
	if c := w.change(); c.Kind != session.ChangeAppeared || c.Entry.Name != "com.example.new" || c.Entry.Lease != lease {
		t.Errorf("%v %+v", c.Kind, c.Entry)
	}
	s.call(session.OpRelease, session.Release{Lease: lease}.Append(nil))
	if c := w.change(); c.Kind != session.ChangeGone || c.Reason != "it was given back" {
		t.Errorf("%v %q", c.Kind, c.Reason)
	}
	r := parse(t, session.ParseReply, w.call(session.OpWatch, session.Watch{Pattern: "a*"}.Append(nil)))
	if r.Code != session.Usage {
		t.Errorf("a bad pattern: %d %s", r.Code, r.Text)
	}
}

// A watcher that does not read gets one OVERFLOW and nothing more, and may watch again.
func TestOverflow(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: limits(5000)})
	w, s := open(t, b.dir), open(t, b.dir)
	id, _ := w.watch("*")
	for i := range 2000 {
		s.own(fmt.Sprintf("n%d", i))
	}
	seen := 0
	for {
		m, err := w.receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Op == session.OpOverflow && m.ID == id {
			break
		}
		seen += len(parse(t, session.ParseChange, m).Changed)
	}
	if seen == 0 || seen >= 2000 {
		t.Errorf("%d changes came before the overflow", seen)
	}
	s.own("after")
	if r := parse(t, session.ParseReply, w.call(session.OpUnwatch, session.Unwatch{Watch: id}.Append(nil))); r.Code != session.Unavailable {
		t.Errorf("the watch is still there: %d", r.Code)
	}
	if _, names := w.watch("*"); len(names) != 2001 {
		t.Errorf("the second watch begins with %d names of 2001", len(names))
	}
}

// A service that accepts for itself: its socket is bound by the broker, callers see the owner as their peer, and
// the socket goes with its owner.
func TestListenerService(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	r, m := s.claim(session.Claim{Name: "com.example.web", Accept: session.AcceptListener})
	if r.Code != session.OK || len(m.fds) != 1 || r.Path != filepath.Join(b.dir, "s", "com.example.web") {
		t.Fatalf("%+v with %d descriptors", r, len(m.fds))
	}
	if err := sys.Relisten(m.fds[0], 16); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(m.fds[0]), "listener")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if v := verdict(t, dial(t, b.dir, "DIAL com.example.web\n")); v != "AT "+r.Path {
		t.Errorf("verdict %q", v)
	}
	c, err := sys.Connect(r.Path, sys.Stream, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if cred, err := sys.PeerCred(c.Int()); err != nil || cred.PID != os.Getpid() {
		t.Errorf("the caller sees process %d, %v", cred.PID, err)
	}
	if a, err := l.Accept(); err != nil {
		t.Error(err)
	} else {
		a.Close()
	}
	s.close()
	eventually(t, func() string {
		if _, err := os.Lstat(r.Path); err == nil {
			return "the socket is still there"
		}
		return ""
	})
}
