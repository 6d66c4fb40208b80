// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// joinNamespace asks for a namespace below the session's.
func (s *rawSession) joinNamespace(name string) session.NamespaceReply {
	s.t.Helper()
	r := parse(s.t, session.ParseNamespaceReply, s.call(session.OpNamespace, session.Namespace{Name: name}.Append(nil)))
	if r.Code != session.OK {
		s.t.Fatalf("cannot join %s: %s", name, r.Text)
	}
	return r
}

// door opens a door and returns the end that a child would inherit.
func (s *rawSession) door(namespace uint64) *sys.FD {
	s.t.Helper()
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer ours.Close()
	s.t.Cleanup(func() { theirs.Close() })
	r := parse(s.t, session.ParseDoorReply, s.call(session.OpDoor, session.Door{Namespace: namespace}.Append(nil), ours.Int()))
	if r.Code != session.OK {
		s.t.Fatalf("cannot open a door: %s", r.Text)
	}
	return theirs
}

// through sends one end of a fresh pair through a door and returns the other.
func through(t fataler, door *sys.FD, typ sys.SocketType) *sys.FD {
	t.Helper()
	ours, theirs, err := sys.Pair(typ)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	h := session.Header{Kind: session.KindOneWay, Op: session.OpConnect, Descriptors: 1}
	if _, err := sys.Send(door.Int(), h.Append(nil), theirs.Int()); err != nil {
		t.Fatal(err)
	}
	return ours
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	root := open(t, b.dir)
	root.own("com.example.outside")
	root.own("com.example.both")
	ns := root.joinNamespace("ci")
	if ns.Path != "/ci" {
		t.Errorf("path %q", ns.Path)
	}
	inside := sessionOn(t, through(t, root.door(ns.Namespace), sys.Seqpacket))
	if r := inside.hello(newClient()); r.Namespace != "/ci" {
		t.Fatalf("the session is in %q", r.Namespace)
	}
	lease := inside.own("com.example.both") // shadows the one outside
	inside.own("com.example.inside")
	if r := inside.lookUp("com.example.both"); r.Entry.Lease != lease || r.Entry.Namespace != "/ci" {
		t.Errorf("inside: %+v", r.Entry)
	}
	if r := inside.lookUp("com.example.outside"); r.Code != session.OK || r.Entry.Namespace != "/" {
		t.Errorf("a miss does not go to the parent: %+v", r)
	}
	if r := root.lookUp("com.example.inside"); r.Code != session.Unavailable {
		t.Errorf("the parent sees into its child: %+v", r)
	}
	if r := parse(t, session.ParseReply, inside.call(session.OpShutdown, nil)); r.Code != session.NotAllowed {
		t.Errorf("shutdown from a namespace: %d", r.Code)
	}
	// A watch outside sees it; one inside does not see out.
	if _, names := root.watch("*"); len(names) != 4 {
		t.Errorf("the watch outside sees %v", names)
	}
	if _, names := inside.watch("*"); len(names) != 2 {
		t.Errorf("the watch inside sees %v", names)
	}
	// A connection through the door is dialled in its namespace.
	door := root.door(ns.Namespace)
	go inside.serve()
	f := os.NewFile(uintptr(through(t, door, sys.Stream).Take()), "caller")
	defer f.Close()
	f.SetDeadline(time.Now().Add(deadline))
	f.WriteString("DIAL com.example.inside\n")
	got := make([]byte, 3)
	if _, err := f.Read(got); err != nil || string(got) != "OK\n" {
		t.Errorf("through the door: %q, %v", got, err)
	}
}

// A namespace ends with the last session that asked for it, and takes with it what is in it.
func TestNamespaceEnds(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	watcher, first, second := open(t, b.dir), open(t, b.dir), open(t, b.dir)
	ns := first.joinNamespace("ci")
	if again := second.joinNamespace("ci"); again.Namespace != ns.Namespace {
		t.Fatalf("two namespaces of one name: %d and %d", ns.Namespace, again.Namespace)
	}
	inside := sessionOn(t, through(t, first.door(ns.Namespace), sys.Seqpacket))
	inside.hello(newClient())
	inside.own("com.example.inside")
	deeper := inside.joinNamespace("job")
	deep := sessionOn(t, through(t, inside.door(deeper.Namespace), sys.Seqpacket))
	deep.hello(newClient())
	deep.own("com.example.deep")
	watcher.watch("*")
	first.close()
	if r := inside.lookUp("com.example.inside"); r.Code != session.OK {
		t.Fatal("the namespace ended with the first of the two that asked for it")
	}
	second.close()
	for range 2 {
		if c := watcher.change(); c.Kind != session.ChangeGone {
			t.Errorf("%v of %s", c.Kind, c.Entry.Name)
		}
	}
	for _, s := range []*rawSession{inside, deep} {
		m, err := s.receive()
		for m.Op == session.OpEnded { // its own door into the namespace below
			m, err = s.receive()
		}
		if err != nil || m.Op != session.OpBye {
			t.Fatalf("%v, %v; want BYE", m.Op, err)
		}
		if bye := parse(t, session.ParseBye, m); !strings.Contains(bye.Reason, "ended") {
			t.Errorf("BYE %q", bye.Reason)
		}
	}
}

// A door lets in what its sender made, and nothing else.
func TestRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	door := s.door(0)
	connect := session.Header{Kind: session.KindOneWay, Op: session.OpConnect, Descriptors: 1}.Append(nil)

	// A connection that another process made: its end of a socket pair carries the other's identity.
	foreign, err := sys.Connect(b.dir+"/broker.sock", sys.Stream, false)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	listening, err := sys.Listen(b.dir+"/listening", sys.Stream, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, fd := range []int{foreign.Int(), listening.Int(), int(null.Fd())} {
		if _, err := sys.Send(door.Int(), connect, fd); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sys.Send(door.Int(), []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Send(door.Int(), []byte{}); err != nil {
		t.Fatal(err)
	}
	// It still lets in who belongs there.
	in := sessionOn(t, through(t, door, sys.Seqpacket))
	in.hello(newClient())
	in.own("com.example.a")
	os.Remove(b.dir + "/listening")
}
