// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// join has a session ask for a namespace, as id if it is new.
func join(t *testing.T, d *directory.Directory, session directory.ID, sequence uint64, id directory.ID, name, path string) {
	t.Helper()
	play(t, d, on(request(session, sequence, directory.JoinNamespace{New: id, Name: name}), granted(session, sequence, directory.Reply{ID: id, Path: path})))
}

func enter(t *testing.T, d *directory.Directory, session, namespace directory.ID, path string) {
	t.Helper()
	play(t, d, on(hello(session, namespace), directory.Welcome{Session: session, Request: 1, Namespace: path}))
}

func TestNamespaceFallsThroughToItsParents(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10)
	join(t, d, 10, 1, 40, "ci", "/ci")
	enter(t, d, 11, 40, "/ci")
	join(t, d, 11, 1, 41, "job", "/ci/job")
	enter(t, d, 12, 41, "/ci/job")
	own(t, d, 10, 2, 20, "a")
	from := func(connection, namespace directory.ID) directory.Call {
		return directory.Call{Connection: connection, Namespace: namespace, Name: "a", Caller: caller}
	}
	unknown := refusal(directory.Unknown, `name "a" is unknown: nobody has it now (switchboard ls shows the names there are)`)
	play(t, d,
		on(from(30, 41), handOver(30, 10, 20)),
		on(request(11, 2, claim(21, "a")), directory.Publish{Entry: entry(21, 11, 40, "a")}, granted(11, 2, directory.Reply{ID: 21})),
		on(from(31, 41), handOver(31, 11, 21)),
		on(from(32, directory.Root), handOver(32, 10, 20)),
		on(request(10, 3, directory.Release{Lease: 20}),
			directory.Unpublish{Namespace: directory.Root, Name: "a"},
			directory.Refuse{Connection: 30, Untaken: true, Refusal: refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: it was given back`)},
			directory.Refuse{Connection: 32, Untaken: true, Refusal: refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: it was given back`)},
			directory.EndLease{Lease: 20, Session: 10, Reason: "it was given back"},
			granted(10, 3, directory.Reply{})),
		on(from(33, directory.Root), directory.Refuse{Connection: 33, Refusal: unknown}), // never inwards
	)
	if diff := cmp.Diff([]directory.ID{41, 40, 1}, parents(d, 41)); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
}

func TestNamespaceEndsWithItsLastHolder(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10, 11)
	join(t, d, 10, 1, 40, "ci", "/ci")
	play(t, d, on(request(11, 1, directory.JoinNamespace{New: 49, Name: "ci"}), granted(11, 1, directory.Reply{ID: 40, Path: "/ci"})))
	play(t, d,
		on(request(11, 2, directory.OpenDoor{Lease: 50, Namespace: 40}), granted(11, 2, directory.Reply{ID: 50, Path: "/ci"})),
		on(request(11, 3, directory.OpenDoor{Lease: 51}), granted(11, 3, directory.Reply{ID: 51, Path: "/"})),
		on(request(11, 4, directory.OpenDoor{Lease: 52, Namespace: 77}),
			denied(11, 4, directory.Denied, "a door leads into the session's own namespace or one that it joined")))
	enter(t, d, 12, 40, "/ci")
	join(t, d, 12, 1, 41, "job", "/ci/job")
	enter(t, d, 13, 41, "/ci/job")
	play(t, d,
		on(request(13, 1, claim(20, "a")), directory.Publish{Entry: entry(20, 13, 41, "a")}, granted(13, 1, directory.Reply{ID: 20})),
		on(directory.AddWatch{Session: 10, Request: 5, Pattern: "a"}, directory.Answer{Session: 10, Request: 5}),
		on(directory.EndSession{Session: 10, Reason: "process 100 exited"}), // 11 holds it still
		on(directory.EndSession{Session: 11, Reason: "process 100 exited"},
			directory.CloseSession{Session: 13, Refusal: refusal(directory.Unknown, "namespace /ci/job ended")},
			directory.CloseSession{Session: 12, Refusal: refusal(directory.Unknown, "namespace /ci ended")},
			directory.EndLease{Lease: 50, Session: 11, Reason: "its namespace ended"},
			directory.EndLease{Lease: 51, Session: 11, Reason: "process 100 exited"},
			directory.Unpublish{Namespace: 41, Name: "a"},
			directory.EndLease{Lease: 20, Session: 13, Reason: "its namespace ended"}),
		on(hello(14, 40), directory.Answer{Session: 14, Request: 1, Reply: directory.Reply{Refusal: refusal(directory.Unknown, "the namespace of this door has ended")}}),
		on(directory.Call{Connection: 30, Namespace: 41, Name: "a"},
			directory.Refuse{Connection: 30, Refusal: refusal(directory.Unknown, "the namespace of this door has ended")}),
	)
	if c := d.Counts(); c != (directory.Counts{Namespaces: 1}) {
		t.Errorf("what is left is %+v", c)
	}
}

func TestNamespaceStaysUntilItsNamesAreGone(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{Slice: 1}, 10)
	join(t, d, 10, 1, 40, "ci", "/ci")
	enter(t, d, 11, 40, "/ci")
	join(t, d, 11, 1, 41, "job", "/ci/job")
	enter(t, d, 12, 41, "/ci/job")
	gone := func(lease directory.ID, name string) []directory.Action {
		return []directory.Action{directory.Unpublish{Namespace: 41, Name: name}, directory.EndLease{Lease: lease, Session: 12, Reason: "its namespace ended"}}
	}
	for i, name := range []string{"a", "b", "c"} {
		d.Apply(request(12, uint64(i+1), claim(directory.ID(20+i), name)))
	}
	play(t, d,
		on(directory.EndSession{Session: 11, Reason: "process 100 exited"}, append([]directory.Action{
			directory.CloseSession{Session: 12, Refusal: refusal(directory.Unknown, "namespace /ci/job ended")}}, gone(22, "c")...)...),
		// The parent ends too, and must outlast the names that are left below it.
		on(directory.EndSession{Session: 10, Reason: "process 100 exited"}, gone(21, "b")...))
	if path := d.NamespacePath(41); path != "/ci/job" {
		t.Errorf("the namespace that still has a name is %q", path)
	}
	play(t, d, on(directory.Continue{}, gone(20, "a")...))
	if path := d.NamespacePath(41) + d.NamespacePath(40); path != "" || d.Unfinished() {
		t.Errorf("%q is left, unfinished %t", path, d.Unfinished())
	}
}

// TestClaimBeforeTheSlice: a name whose owner has ended is free at once, even while its end waits for its slice.
func TestClaimBeforeTheSlice(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{Slice: 1}, 10, 11)
	own(t, d, 10, 1, 20, "a")
	own(t, d, 10, 2, 21, "b")
	play(t, d,
		on(dial(30, "a", 0), handOver(30, 10, 20)),
		on(directory.EndSession{Session: 10, Reason: "process 100 exited"},
			directory.Unpublish{Namespace: directory.Root, Name: "b"},
			directory.EndLease{Lease: 21, Session: 10, Reason: "process 100 exited"}),
		on(dial(31, "a", 0), directory.Refuse{Connection: 31, Refusal: refusal(directory.Unknown,
			`name "a" is unknown: nobody has it now (switchboard ls shows the names there are)`)}),
		on(request(11, 1, claim(22, "a")),
			directory.Unpublish{Namespace: directory.Root, Name: "a"},
			directory.Refuse{Connection: 30, Untaken: true, Refusal: refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: process 100 exited`)},
			directory.EndLease{Lease: 20, Session: 10, Reason: "process 100 exited"},
			directory.Publish{Entry: entry(22, 11, directory.Root, "a")},
			granted(11, 1, directory.Reply{ID: 22})),
		on(directory.Continue{}),
	)
	if d.Unfinished() {
		t.Error("something is left to do")
	}
}

func TestNamespaceLimits(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{NamesPerSession: 1}, 10)
	join(t, d, 10, 1, 40, "n", "/n")
	play(t, d,
		on(request(10, 2, directory.JoinNamespace{New: 41, Name: "m"}), denied(10, 2, directory.LimitHit, "a session may join 1 namespaces")),
		on(request(10, 3, directory.JoinNamespace{New: 41, Name: "n"}), granted(10, 3, directory.Reply{ID: 40, Path: "/n"})))
	path, session, ns := "/n", directory.ID(1000), directory.ID(40)
	for depth := 2; depth <= 101; depth++ {
		if depth == 50 { // an imported tree is as deep as it was
			var err error
			if d, err = directory.Import(d.Export(), directory.Limits{NamesPerSession: 1}); err != nil {
				t.Fatal(err)
			}
		}
		open := hello(session, ns)
		open.Client = [16]byte{1, byte(depth)}
		play(t, d, on(open, directory.Welcome{Session: session, Request: 1, Namespace: path}))
		if depth == 101 {
			play(t, d, on(request(session, 1, directory.JoinNamespace{New: session + 1, Name: "n"}),
				denied(session, 1, directory.LimitHit, "namespaces may be 100 deep")))
			break
		}
		path += "/n"
		join(t, d, session, 1, session+1, "n", path)
		session, ns = session+2, session+1
	}
	d.Apply(directory.EndSession{Session: 10, Reason: "gone"})
	if c := d.Counts(); c != (directory.Counts{Namespaces: 1}) {
		t.Errorf("what is left is %+v", c)
	}
}

// TestImportRefuses images that contradict themselves.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{InFlightPerName: 1}, 10)
	own(t, d, 10, 1, 20, "a")
	join(t, d, 10, 2, 40, "ci", "/ci")
	play(t, d,
		on(request(10, 3, directory.OpenDoor{Lease: 50, Namespace: 40}), granted(10, 3, directory.Reply{ID: 50, Path: "/ci"})),
		on(directory.AddWatch{Session: 10, Request: 5, Pattern: "a"}, directory.Answer{Session: 10, Request: 5}),
		on(dial(30, "a", 0), handOver(30, 10, 20)),
		on(dial(31, "a", 1)))
	if _, err := directory.Import(d.Export(), directory.Limits{}); err != nil {
		t.Fatalf("the sound image is refused: %v", err)
	}
	tests := []struct {
		spoil func(*directory.Image)
		want  string
	}{
		{func(i *directory.Image) { i.Namespaces[0].Parent = 7 }, "namespace 40 has no parent 7"},
		{func(i *directory.Image) { i.Namespaces[0].Joined = nil }, "namespace 40, ended false, is held by 0 sessions"},
		{func(i *directory.Image) { i.Sessions[0].Namespace = 7 }, "session 10 is in no namespace 7"},
		{func(i *directory.Image) { i.Sessions[0].Leases = i.Sessions[0].Leases[1:] }, `name "a" belongs to session 10, which does not hold it`},
		{func(i *directory.Image) { i.Sessions[0].Leases[0] = 7 }, "session 10 holds no lease 7"},
		{func(i *directory.Image) { i.Sessions[0].Ended = true }, "session 10, ended true, is not in the list of the ending as it should be"},
		{func(i *directory.Image) { i.Sessions[0].Watches[0].Pattern = "" },
			`session 10: pattern "" is empty: a pattern is a name, "*" for all names, or a name followed by ".*" for all below it`},
		{func(i *directory.Image) { i.Watching = nil }, "session 10 has 1 watches and is listed as watching: false"},
		{func(i *directory.Image) { i.Watching = []directory.ID{10, 10} }, "session or lease 10 is listed twice"},
		{func(i *directory.Image) { i.Ending = []directory.ID{7} }, "session 7 is listed and is no more"},
		{func(i *directory.Image) { i.Names[0].Entry.Namespace = 7 }, `name "a" has no namespace 7`},
		{func(i *directory.Image) { i.Names[0].Waiting = nil }, "caller 31 is in no queue"},
		{func(i *directory.Image) { i.Names[0].Waiting = []directory.ID{31, 32} }, "the counts of waiting callers or connections differ: -1, 0 of 0"},
		{func(i *directory.Image) { i.Names = nil }, "caller 30 waits for no lease 20 and no service 0"},
		{func(i *directory.Image) { i.Starved = nil }, `name "a" has waiting callers and is not listed`},
		{func(i *directory.Image) { i.Starved = []directory.ID{20, 7} }, "lease 7 is listed as waiting and is no more"},
		{func(i *directory.Image) { i.Doors[0].Namespace = 7 }, "door 50 of session 10 into namespace 7 is held by nobody or leads nowhere"},
		{func(i *directory.Image) {
			i.Deadlines = slices.DeleteFunc(i.Deadlines, func(e directory.DeadlineImage) bool { return e.Caller == 30 })
		}, "caller 30 waits for ever"},
		{func(i *directory.Image) { slices.Reverse(i.Deadlines) }, "the deadlines are out of order: 2000000000 after 2000000001"},
	}
	for _, test := range tests {
		image := d.Export()
		test.spoil(&image)
		_, err := directory.Import(image, directory.Limits{})
		if err == nil || fmt.Sprint(err) != test.want {
			t.Errorf("Import = %v, want %s", err, test.want)
		}
	}
}

// parents returns the namespaces that a look-up goes through, innermost first.
func parents(d *directory.Directory, id directory.ID) (chain []directory.ID) {
	for _, step := range d.Chain(id) {
		chain = append(chain, step.Namespace)
	}
	return chain
}
