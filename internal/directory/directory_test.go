// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// exchange is an event and the actions that must follow.
type exchange struct {
	event directory.Event
	want  []directory.Action
}

func on(ev directory.Event, want ...directory.Action) exchange { return exchange{ev, want} }

// play applies events in order and compares what follows of each; then the state must be sound.
func play(t *testing.T, d *directory.Directory, exchanges ...exchange) {
	t.Helper()
	for _, x := range exchanges {
		if diff := cmp.Diff(x.want, d.Apply(x.event), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%T%+v (-want +got):\n%s", x.event, x.event, diff)
		}
		if err := d.Check(); err != nil {
			t.Fatalf("after %T%+v: %v", x.event, x.event, err)
		}
	}
}

var (
	up     = directory.Peer{PID: 100, UID: 1000, Exe: "/usr/bin/up"}
	caller = directory.Peer{PID: 300, UID: 1000}
)

// hello opens session id, whose client and process have the same number.
func hello(id, namespace directory.ID) directory.OpenSession {
	return directory.OpenSession{Session: id, Client: [16]byte{byte(id)}, Process: directory.Process(id), Peer: up, Namespace: namespace, Request: 1}
}

// opened is a directory in which sessions have been opened in the root.
func opened(t *testing.T, l directory.Limits, ids ...directory.ID) *directory.Directory {
	t.Helper()
	d := directory.New(l)
	for _, id := range ids {
		play(t, d, on(hello(id, directory.Root), directory.Welcome{Session: id, Request: 1, Namespace: "/"}))
	}
	return d
}

func request(session directory.ID, sequence uint64, op directory.Op) directory.Change {
	return directory.Change{Session: session, Request: uint32(10 + sequence), Sequence: sequence, Op: op}
}

func claim(lease directory.ID, name string) directory.Claim {
	return directory.Claim{Lease: lease, Name: name, Kind: directory.Service, Since: 1234}
}

func granted(session directory.ID, sequence uint64, r directory.Reply) directory.Answer {
	return directory.Answer{Session: session, Request: uint32(10 + sequence), Sequence: sequence, Reply: r}
}

func denied(session directory.ID, sequence uint64, reason directory.Reason, text string) directory.Answer {
	return granted(session, sequence, directory.Reply{Refusal: directory.Refusal{Reason: reason, Text: text}})
}

func entry(lease, session, namespace directory.ID, name string) directory.Entry {
	return directory.Entry{
		Lease: lease, Session: session, Name: name, Namespace: namespace, Kind: directory.Service, State: directory.Active, Owner: up, Since: 1234,
	}
}

// own claims a name in the root as a session's next change.
func own(t *testing.T, d *directory.Directory, session directory.ID, sequence uint64, lease directory.ID, name string) {
	t.Helper()
	play(t, d, on(request(session, sequence, claim(lease, name)),
		directory.Publish{Entry: entry(lease, session, directory.Root, name)}, granted(session, sequence, directory.Reply{ID: lease})))
}

func refusal(r directory.Reason, text string) directory.Refusal {
	return directory.Refusal{Reason: r, Text: text}
}

func TestNameHasOneOwner(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10, 11)
	own(t, d, 10, 1, 20, "com.example.up")
	play(t, d,
		on(directory.AddWatch{Session: 11, Request: 5, Pattern: "com.example.*"}, directory.Answer{Session: 11, Request: 5}),
		on(request(11, 1, claim(21, "com.example.up")),
			denied(11, 1, directory.NameTaken, `name "com.example.up" is taken by process 100 (/usr/bin/up) of user 1000`)),
		on(request(11, 2, directory.Release{Lease: 20}), denied(11, 2, directory.Unknown, "this session has no such lease")),
		on(request(10, 2, directory.Release{Lease: 20}),
			directory.Unpublish{Namespace: directory.Root, Name: "com.example.up"},
			directory.Notify{Session: 11, Watch: 5, Kind: directory.Gone, Entry: entry(20, 10, directory.Root, "com.example.up"), Reason: "it was given back"},
			directory.EndLease{Lease: 20, Session: 10, Reason: "it was given back"},
			granted(10, 2, directory.Reply{})),
		on(request(11, 3, claim(21, "com.example.up")),
			directory.Publish{Entry: entry(21, 11, directory.Root, "com.example.up")},
			directory.Notify{Session: 11, Watch: 5, Kind: directory.Appeared, Entry: entry(21, 11, directory.Root, "com.example.up")},
			granted(11, 3, directory.Reply{ID: 21})),
		on(directory.RemoveWatch{Session: 11, Request: 6, Watch: 5}, directory.Answer{Session: 11, Request: 6}),
		on(directory.RemoveWatch{Session: 11, Request: 7, Watch: 5},
			directory.Answer{Session: 11, Request: 7, Reply: directory.Reply{Refusal: refusal(directory.Unknown, "this session has no watch 5")}}),
		on(directory.EndSession{Session: 11, Reason: "process 100 exited"},
			directory.Unpublish{Namespace: directory.Root, Name: "com.example.up"},
			directory.EndLease{Lease: 21, Session: 11, Reason: "process 100 exited"}),
	)
	if r := d.Claimable(10, directory.Claim{Name: "com.example.up"}); r.Reason != directory.OK {
		t.Errorf("the name of an ended session cannot be claimed: %+v", r)
	}
	if r := d.Claimable(11, directory.Claim{Name: "a"}); r != refusal(directory.Unknown, "the session has ended") {
		t.Errorf("an ended session could claim: %+v", r)
	}
}

func TestSequence(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10, 11, 12)
	own(t, d, 10, 1, 20, "a")
	closed := func(session directory.ID, text string) directory.CloseSession {
		return directory.CloseSession{Session: session, Refusal: refusal(directory.Malformed, text)}
	}
	play(t, d,
		// The same again: the same answer, whatever is asked for now.
		on(request(10, 1, claim(21, "a")), granted(10, 1, directory.Reply{ID: 20})),
		on(request(10, 1, directory.Release{Lease: 20}), granted(10, 1, directory.Reply{ID: 20})),
		on(request(10, 2, directory.Fail{Refusal: refusal(directory.Malformed, "no")}), denied(10, 2, directory.Malformed, "no")),
		on(request(10, 1, directory.Release{Lease: 20}),
			closed(10, "the sequence is out of order"),
			directory.Unpublish{Namespace: directory.Root, Name: "a"},
			directory.EndLease{Lease: 20, Session: 10, Reason: "its owner broke the protocol"}),
		on(request(11, 0, directory.Release{}), closed(11, "a request that changes something needs a sequence")),
		on(request(12, 2, directory.Release{}), closed(12, "the sequence is out of order")),
		on(request(12, 1, claim(22, "a")), // one that is no more gets no answer, but an end
			directory.CloseSession{Session: 12, Refusal: refusal(directory.OwnerGone, "the session has ended")}),
	)
}

func TestResume(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{TakeOver: 100}, 10)
	own(t, d, 10, 1, 20, "a")
	again := hello(11, directory.Root)
	again.Client, again.Process, again.Now = [16]byte{10}, 10, 150
	other := again
	other.Session, other.Process = 12, 99
	nobody := again
	nobody.Session, nobody.Process = 13, 0
	play(t, d,
		on(directory.AddWatch{Session: 10, Request: 5, Pattern: "*"}, directory.Answer{Session: 10, Request: 5}),
		on(directory.Call{Connection: 30, Namespace: directory.Root, Name: "a", Caller: caller, Now: 90}, directory.HandOver{Connection: 30, Session: 10, Lease: 20}),
		on(directory.NotDelivered{Connection: 30}),
		on(other, directory.Answer{Session: 12, Request: 1, Reply: directory.Reply{Refusal: refusal(directory.Denied,
			"this session id belongs to another process: choose one at random")}}),
		on(nobody, directory.Answer{Session: 13, Request: 1, Reply: directory.Reply{Refusal: refusal(directory.Denied,
			"this session id belongs to another process: choose one at random")}}),
		// What waited is sent to the new connection, after the welcome. Its time runs from the first attempt.
		on(again, directory.Welcome{Session: 11, Request: 1, Resumed: 10, Sequence: 1, Namespace: "/"}, directory.HandOver{Connection: 30, Session: 10, Lease: 20}),
		on(directory.Tick{Now: 189}),
		on(directory.Taken{Session: 10, Connection: 30, Now: 189}, directory.Forget{Connection: 30}),
		on(request(10, 1, claim(21, "a")), granted(10, 1, directory.Reply{ID: 20})),
	)
	if n := d.Watches(10); n != 0 {
		t.Errorf("%d watches outlived their connection", n)
	}
}

func TestWatchSeesItsNamespaceAndThoseBelow(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{WatchesPerSession: 2}, 10)
	play(t, d,
		on(request(10, 1, directory.JoinNamespace{New: 40, Name: "ci"}), granted(10, 1, directory.Reply{ID: 40, Path: "/ci"})),
		on(hello(11, 40), directory.Welcome{Session: 11, Request: 1, Namespace: "/ci"}))
	own(t, d, 10, 2, 20, "a.b")
	refused := func(request uint32, reason directory.Reason, text string) directory.Answer {
		return directory.Answer{Session: 10, Request: request, Reply: directory.Reply{Refusal: refusal(reason, text)}}
	}
	play(t, d,
		on(directory.AddWatch{Session: 10, Request: 5, Pattern: "a.*"}, directory.Answer{Session: 10, Request: 5}),
		on(directory.AddWatch{Session: 10, Request: 6, Pattern: "a*b"}, refused(6, directory.Malformed,
			`pattern "a*b" has '*' at byte 2: a pattern is a name, "*" for all names, or a name followed by ".*" for all below it`)),
		on(directory.AddWatch{Session: 10, Request: 5, Pattern: "*"}, refused(5, directory.Malformed,
			"watch 5 exists already: give each request an id of its own")),
		on(directory.AddWatch{Session: 10, Request: 7, Pattern: "*", Kind: directory.Port}, directory.Answer{Session: 10, Request: 7}),
		on(directory.AddWatch{Session: 10, Request: 8, Pattern: "*"}, refused(8, directory.LimitHit, "a session may have 2 watches")),
		on(directory.AddWatch{Session: 11, Request: 5, Pattern: "*"}, directory.Answer{Session: 11, Request: 5}),
		on(request(11, 1, claim(21, "a.b")),
			directory.Publish{Entry: entry(21, 11, 40, "a.b")},
			directory.Notify{Session: 10, Watch: 5, Kind: directory.Appeared, Entry: entry(21, 11, 40, "a.b")},
			directory.Notify{Session: 11, Watch: 5, Kind: directory.Appeared, Entry: entry(21, 11, 40, "a.b")},
			granted(11, 1, directory.Reply{ID: 21})),
		on(request(10, 3, directory.Release{Lease: 20}),
			directory.Unpublish{Namespace: directory.Root, Name: "a.b"},
			directory.Notify{Session: 10, Watch: 5, Kind: directory.Gone, Entry: entry(20, 10, directory.Root, "a.b"), Reason: "it was given back"},
			directory.EndLease{Lease: 20, Session: 10, Reason: "it was given back"},
			granted(10, 3, directory.Reply{})),
	)
	if diff := cmp.Diff([]directory.ID{21}, d.Matching(10, 5)); diff != "" {
		t.Errorf("watch 5 sees (-want +got):\n%s", diff)
	}
	if ids := d.Matching(10, 6); ids != nil {
		t.Errorf("a watch that was refused sees %v", ids)
	}
}

func TestVersionAndScope(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10)
	versioned := claim(20, "a")
	versioned.Version, versioned.Scope = "1.4.0", "/opt/project"
	port := claim(21, "p")
	port.Kind = directory.Port
	listening := claim(22, "l")
	listening.Accept, listening.Path = directory.Path, "/run/l"
	for i, op := range []directory.Claim{versioned, port, listening} {
		d.Apply(request(10, uint64(i+1), op))
	}
	tests := []struct {
		name, version, scope string
		want                 directory.Action
	}{
		{name: "a", want: directory.HandOver{Connection: 30, Session: 10, Lease: 20}},
		{name: "a", version: "1.4.0", scope: "/opt/project", want: directory.HandOver{Connection: 30, Session: 10, Lease: 20}},
		{name: "a", version: "^1.2", want: directory.HandOver{Connection: 30, Session: 10, Lease: 20}},
		{name: "a", version: ">=1.2,<2", want: directory.HandOver{Connection: 30, Session: 10, Lease: 20}},
		{name: "a", version: "^2", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.Mismatch,
			`name "a" has version "1.4.0", and "^2" was asked for`)}},
		{name: "a", version: "new", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.Malformed,
			`version constraint "new" is malformed: write 1.2.3, ^1.2, ~1.2 or >=1.2,<2`)}},
		{name: "a", scope: "/srv", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.Mismatch,
			`name "a" is for /opt/project, not for /srv`)}},
		{name: "p", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.WrongKind, `name "p" is a port, not a service`)}},
		{name: "l", scope: "/srv", want: directory.Redirect{Connection: 30, Path: "/run/l"}},
		{name: "l", version: "^1", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.Mismatch,
			`name "l" has version "", and "^1" was asked for`)}},
		{name: "b", want: directory.Refuse{Connection: 30, Refusal: refusal(directory.Unknown,
			`name "b" is unknown: nobody has it now (switchboard ls shows the names there are)`)}},
	}
	image := d.Export()
	for _, test := range tests {
		d, err := directory.Import(image, directory.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		play(t, d, on(directory.Call{Connection: 30, Namespace: directory.Root, Name: test.name, Version: test.version, Scope: test.scope, Caller: caller}, test.want))
	}
}
