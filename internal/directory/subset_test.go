// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// lingering is a session that stays when its namespace ends.
func lingering(id, namespace directory.ID) directory.OpenSession {
	ev := hello(id, namespace)
	ev.Lingers = true
	return ev
}

func in(e directory.Entry, namespace directory.ID) directory.Entry {
	e.Namespace = namespace
	return e
}

// TestSubset shadows what is around it, falls through to it, and ends with its port, leaves first.
func TestSubset(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{Slice: 2}, 10)
	gone := func(lease, namespace directory.ID) []directory.Action {
		return []directory.Action{
			directory.Unpublish{Namespace: namespace, Name: "p"}, directory.EndLease{Lease: lease, Session: lease - 10, Reason: "its namespace ended"}}
	}
	s.play(
		on(directory.MakeSubset{Session: 10, New: 2}, directory.PortAnswer{Session: 10, Namespace: 2}),
		on(directory.MakeSubset{Session: 10, New: 3}, directory.PortAnswer{Session: 10, Namespace: 3}),
		on(lingering(12, 2), directory.Welcome{Session: 12, Request: 1, Namespace: "/100.subset.1"}),
		on(directory.MakeSubset{Session: 12, New: 4}, directory.PortAnswer{Session: 12, Namespace: 4}),
		on(lingering(14, 4), directory.Welcome{Session: 14, Request: 1, Namespace: "/100.subset.1/100.subset.3"}),
		on(hello(15, 4), directory.Welcome{Session: 15, Request: 1, Namespace: "/100.subset.1/100.subset.3"}),
		on(checkIn(10, 20, "p"), publish(portEntry(20, 10, directory.Active)), made(10, 20)),
		on(checkIn(10, 21, "q"), publish(named(portEntry(21, 10, directory.Active), "q")), made(10, 21)),
		on(checkIn(12, 22, "p"), publish(in(portEntry(22, 12, directory.Active), 2)), made(12, 22)),
		on(checkIn(14, 24, "p"), publish(in(portEntry(24, 14, directory.Active), 4)), made(14, 24)),
		on(directory.CreatePort{Session: 12, Lease: 30, Name: "r", Since: 1234},
			publish(declared(named(in(portEntry(30, 0, directory.Inactive), 2), "r"))), made(12, 30)),
		on(request(10, 1, directory.JoinNamespace{New: 5, Name: "100.subset.2"}),
			denied(10, 1, directory.Denied, `namespace "100.subset.2" is held by a port, and cannot be joined`)),
		on(directory.EndNamespace{Namespace: directory.Root}), on(directory.EndNamespace{Namespace: 77}))
	finds := func(namespace directory.ID, name string, want directory.ID) {
		t.Helper()
		if e, r := s.d.LookUp(namespace, name, "", "", directory.Port); e.Lease != want {
			t.Errorf("%q in %d is %+v, %+v; want lease %d", name, namespace, e, r, want)
		}
	}
	finds(4, "p", 24)
	finds(4, "q", 21)
	finds(3, "p", 20)
	s.play(on(directory.EndNamespace{Namespace: 2, Reason: "its requestor died"}, slices.Concat([]directory.Action{
		directory.CloseSession{Session: 15, Refusal: refusal(directory.Unknown, "namespace /100.subset.1/100.subset.3 ended")},
		directory.EndSubset{Namespace: 4, Reason: "its namespace ended"},
		directory.EndSubset{Namespace: 2, Reason: "its requestor died"}}, gone(24, 4), gone(22, 2))...))
	finds(4, "p", 20) // look-ups still climb, also while leases are left
	finds(2, "r", 0)
	s.play(
		on(directory.Continue{}, directory.Unpublish{Namespace: 2, Name: "r"}, directory.EndLease{Lease: 30, Reason: "its namespace ended"}),
		on(directory.EndNamespace{Namespace: 4}),
		on(checkIn(14, 31, "p"), refusedPort(14, directory.Denied, namespaceGone)),
		on(register(14, 31), refusedPort(14, directory.Denied, namespaceGone)),
		on(create(14, 31), refusedPort(14, directory.Denied, namespaceGone)),
		on(undeclare(14), refusedPort(14, directory.Denied, namespaceGone)),
		on(directory.MakeSubset{Session: 14, New: 6}, refusedPort(14, directory.Denied, namespaceGone)),
		on(directory.EndSession{Session: 14, Reason: "it exited"}),
		on(directory.EndSession{Session: 12, Reason: "it exited"}),
		on(directory.EndNamespace{Namespace: 3, Reason: "its requestor died"}, directory.EndSubset{Namespace: 3, Reason: "its requestor died"}))
	if c := s.d.Counts(); c.Namespaces != 1 || c.Sessions != 1 || s.d.Unfinished() {
		t.Errorf("left are %+v", c)
	}
}

// TestSubsetsWithoutSessions end in the same way: nobody is in them any more.
func TestSubsetsWithoutSessions(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	at := directory.Root
	for i := directory.ID(0); i < 3; i++ {
		s.apply(lingering(20+i, at))
		s.play(on(directory.MakeSubset{Session: 20 + i, New: 2 + i}, directory.PortAnswer{Session: 20 + i, Namespace: 2 + i}))
		at = 2 + i
	}
	for i := directory.ID(0); i < 3; i++ {
		s.play(on(directory.EndSession{Session: 20 + i, Reason: "it exited"}))
	}
	s.play(on(directory.EndNamespace{Namespace: 2, Reason: "it died"},
		directory.EndSubset{Namespace: 4, Reason: "its namespace ended"}, directory.EndSubset{Namespace: 3, Reason: "its namespace ended"},
		directory.EndSubset{Namespace: 2, Reason: "it died"}))
	if c := s.d.Counts(); c.Namespaces != 1 {
		t.Errorf("left are %+v", c)
	}
}

// TestSubsetsHaveADepth: the hundredth is the last.
func TestSubsetsHaveADepth(t *testing.T) {
	t.Parallel()
	d := directory.New(directory.Limits{})
	at := directory.Root
	for i := directory.ID(1); i <= 101; i++ {
		d.Apply(lingering(1000+i, at))
		want := directory.PortAnswer{Session: 1000 + i, Namespace: 2000 + i}
		if i == 101 {
			want = refusedPort(1000+i, directory.LimitHit, "namespaces may be 100 deep")
		}
		play(t, d, on(directory.MakeSubset{Session: 1000 + i, New: 2000 + i}, want))
		at = 2000 + i
	}
	if n := len(d.Apply(directory.EndNamespace{Namespace: 2001})); n != 100 {
		t.Errorf("the end of 100 namespaces takes %d actions", n)
	}
}

// TestSealedNamespace: nothing but its list can be seen from it.
func TestSealedNamespace(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	join := func(sequence uint64, name string, sealed bool, only ...string) directory.Change {
		return request(10, sequence, directory.JoinNamespace{New: directory.ID(sequence + 1), Name: name, Sealed: sealed, Only: only})
	}
	const another = `namespace "s" exists, and is not sealed in this way: choose another name`
	s.play(
		on(join(1, "s", true, "p", "up"), granted(10, 1, directory.Reply{ID: 2, Path: "/s"})),
		on(join(2, "s", true, "up", "p"), granted(10, 2, directory.Reply{ID: 2, Path: "/s"})), // in any order
		on(join(3, "s", false), granted(10, 3, directory.Reply{ID: 2, Path: "/s"})),
		on(join(4, "s", true), denied(10, 4, directory.Malformed, another)),
		on(join(5, "s", true, "p"), denied(10, 5, directory.Malformed, another)),
		on(join(6, "open", false), granted(10, 6, directory.Reply{ID: 7, Path: "/open"})),
		on(join(7, "open", true), denied(10, 7, directory.Malformed, `namespace "open" exists, and is not sealed in this way: choose another name`)),
		on(join(8, "x", false, "p"), denied(10, 8, directory.Malformed, "only a sealed namespace has a list of names")),
		on(lingering(12, 2), directory.Welcome{Session: 12, Request: 1, Namespace: "/s"}),
		on(directory.MakeSubset{Session: 12, New: 30}, directory.PortAnswer{Session: 12, Namespace: 30}),
		on(checkIn(10, 20, "p"), publish(portEntry(20, 10, directory.Active)), made(10, 20)),
		on(checkIn(10, 21, "q"), publish(named(portEntry(21, 10, directory.Active), "q")), made(10, 21)),
		on(request(10, 9, claim(22, "up")), publish(entry(22, 10, directory.Root, "up")), granted(10, 9, directory.Reply{ID: 22})),
		on(request(10, 10, claim(23, "down")), publish(entry(23, 10, directory.Root, "down")), granted(10, 10, directory.Reply{ID: 23})))
	for _, test := range []struct {
		namespace directory.ID
		name      string
		want      directory.ID
	}{{2, "p", 20}, {2, "q", 0}, {2, "up", 22}, {2, "down", 0}, {30, "p", 20}, {30, "q", 0}, {directory.Root, "q", 21}} {
		if e, r := s.d.LookUp(test.namespace, test.name, "", "", directory.AnyKind); e.Lease != test.want {
			t.Errorf("%q from %d is %+v, %+v; want lease %d", test.name, test.namespace, e, r, test.want)
		}
	}
	call := func(connection directory.ID, name string) directory.Call {
		c := dial(connection, name, 1)
		c.Namespace = 30
		return c
	}
	s.play(
		on(call(40, "up"), handOver(40, 10, 22)),
		on(call(41, "down"), directory.Refuse{Connection: 41, Refusal: directory.UnknownName("down")}))
	only := map[string]struct{}{"p": {}, "up": {}}
	want := []directory.Step{{Namespace: 30}, {Namespace: 2, Only: only}, {Namespace: directory.Root}}
	if got := s.d.Chain(30); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the chain is %v, want %v", got, want)
	}
	for _, bad := range []directory.JoinNamespace{{Sealed: true, Only: []string{"a/b"}}, {Sealed: true, Only: make([]string, 257)}} {
		bad.New, bad.Name = 90, "y"
		twin, err := directory.Import(s.d.Export(), directory.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range twin.Apply(request(10, 11, bad)) {
			if a, ok := a.(directory.Answer); !ok || a.Reply.Reason != directory.Malformed {
				t.Errorf("joined with %d bad names: %+v", len(bad.Only), a)
			}
		}
	}
}

// TestSealedAgainstEverything: an empty list lets nothing through.
func TestSealedAgainstEverything(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	s.play(
		on(request(10, 1, directory.JoinNamespace{New: 2, Name: "s", Sealed: true}), granted(10, 1, directory.Reply{ID: 2, Path: "/s"})),
		on(request(10, 2, directory.JoinNamespace{New: 3, Name: "s", Sealed: true}), granted(10, 2, directory.Reply{ID: 2, Path: "/s"})),
		on(checkIn(10, 20, "p"), publish(portEntry(20, 10, directory.Active)), made(10, 20)))
	if e, r := s.d.LookUp(2, "p", "", "", directory.AnyKind); r.Reason != directory.Unknown {
		t.Errorf("found %+v, %+v", e, r)
	}
	if c := s.d.Chain(2); c[0].Only == nil || len(c[0].Only) != 0 {
		t.Errorf("the chain is %v", c)
	}
}
