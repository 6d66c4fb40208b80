// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

func dial(connection directory.ID, name string, now int64) directory.Call {
	return directory.Call{Connection: connection, Namespace: directory.Root, Name: name, Caller: caller, Now: now}
}

func handOver(connection, session, lease directory.ID) directory.HandOver {
	return directory.HandOver{Connection: connection, Session: session, Lease: lease}
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10, 11)
	own(t, d, 10, 1, 20, "a")
	socket := directory.Socket(7)
	play(t, d,
		on(dial(30, "a", 5), handOver(30, 10, 20)),
		on(directory.HangUp{Connection: 30}),             // the owner will see that it hung up
		on(directory.Taken{Session: 11, Connection: 30}), // not the owner
		on(directory.Taken{Session: 10, Connection: 31}), // not handed over
		on(directory.Taken{Session: 10, Connection: 30, Socket: socket, Now: 6}, directory.Forget{Connection: 30}),
		on(directory.Taken{Session: 10, Connection: 30, Socket: socket, Now: 7}),
		on(directory.Tick{Now: 1e12}),
	)
	e, ok := d.Entry(20)
	want := directory.Caller{Connection: 30, PID: 300, UID: 1000, Socket: socket}
	if !ok || len(e.Callers) != 1 || e.Callers[0] != want {
		t.Errorf("entry is %+v, %t; want one caller %+v", e, ok, want)
	}
	play(t, d, on(directory.Disconnected{Connections: []directory.ID{30, 99}}))
	if e, _ = d.Entry(20); len(e.Callers) != 0 {
		t.Errorf("callers are still %+v", e.Callers)
	}
}

func TestNotTakenInTime(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{InFlightPerName: 1}, 10)
	own(t, d, 10, 1, 20, "a")
	late := refusal(directory.NotTakenUp,
		`the owner of "a", process 100 (/usr/bin/up) of user 1000, did not take the connection within 2000 ms: it is stopped or busy, try again later`)
	play(t, d,
		on(dial(30, "a", 0), handOver(30, 10, 20)),
		on(dial(31, "a", 1e9)),
		on(directory.Tick{Now: 2e9 - 1}),
		on(directory.Tick{Now: 2e9}, directory.Refuse{Connection: 30, Refusal: late, Untaken: true}, handOver(31, 10, 20)),
		on(directory.Taken{Session: 10, Connection: 30, Now: 2e9}), // too late
		on(dial(32, "a", 25e8)),
		on(directory.Tick{Now: 4e9}, directory.Refuse{Connection: 31, Refusal: late, Untaken: true}, handOver(32, 10, 20)),
	)
	if at, ok := d.Deadline(); !ok || at != 6e9 {
		t.Errorf("the next deadline is %d, %t; want 6e9", at, ok)
	}
	var overdue []directory.ID
	d.Overdue(6e9, func(s directory.ID) { overdue = append(overdue, s) })
	if fmt.Sprint(overdue) != "[10]" {
		t.Errorf("overdue are %v", overdue)
	}
}

func TestOwnerGone(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{InFlightPerName: 1}, 10)
	own(t, d, 10, 1, 20, "a")
	gone := refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: process 100 exited`)
	play(t, d,
		on(dial(30, "a", 0), handOver(30, 10, 20)),
		on(dial(31, "a", 0)),
		on(dial(32, "a", 0)),
		on(directory.HangUp{Connection: 31}, directory.Forget{Connection: 31}),
		on(directory.EndSession{Session: 10, Reason: "process 100 exited"},
			directory.Unpublish{Namespace: directory.Root, Name: "a"},
			directory.Refuse{Connection: 30, Refusal: gone, Untaken: true}, // it came first
			directory.Refuse{Connection: 32, Refusal: gone},
			directory.EndLease{Lease: 20, Session: 10, Reason: "process 100 exited"}),
	)
}

func TestOwnerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{InFlightPerName: 2}, 10)
	own(t, d, 10, 1, 20, "a")
	play(t, d,
		on(dial(30, "a", 0), handOver(30, 10, 20)),
		on(directory.NotDelivered{Connection: 30}),
		on(dial(31, "a", 1)),
		on(directory.Writable{Session: 10, Now: 2}, handOver(30, 10, 20), handOver(31, 10, 20)),
		on(directory.NotDelivered{Connection: 31}), // last first
		on(directory.NotDelivered{Connection: 30}),
		on(dial(32, "a", 3)),
		on(directory.Writable{Session: 10, Now: 4}, handOver(30, 10, 20), handOver(31, 10, 20)),
		on(directory.Writable{Session: 10, Now: 5}),
		on(directory.Taken{Session: 10, Connection: 30, Now: 6}, directory.Forget{Connection: 30}, handOver(32, 10, 20)),
	)
}

// TestRoomGoesToOthers: whatever frees room in flight, those who wait for it get it at once, and have their full time from then.
func TestRoomGoesToOthers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		event directory.Event
		first []directory.Action // before the hand-over
		then  []directory.Action
	}{
		{name: "taken", event: directory.Taken{Session: 10, Connection: 30, Now: 1}, first: []directory.Action{directory.Forget{Connection: 30}}},
		{name: "not delivered", event: directory.NotDelivered{Connection: 30}},
		{name: "owner gone", event: directory.EndSession{Session: 10, Reason: "gone", Now: 1e9},
			first: []directory.Action{
				directory.Unpublish{Namespace: directory.Root, Name: "a"},
				directory.Refuse{Connection: 30, Untaken: true, Refusal: refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: gone`)},
			},
			then: []directory.Action{directory.EndLease{Lease: 20, Session: 10, Reason: "gone"}}},
		{name: "given back", event: directory.Change{Session: 10, Request: 12, Sequence: 2, Op: directory.Release{Lease: 20}, Now: 1e9},
			first: []directory.Action{
				directory.Unpublish{Namespace: directory.Root, Name: "a"},
				directory.Refuse{Connection: 30, Untaken: true, Refusal: refusal(directory.OwnerGone, `the owner of "a" is gone before it took the connection: it was given back`)},
			},
			then: []directory.Action{directory.EndLease{Lease: 20, Session: 10, Reason: "it was given back"}, granted(10, 2, directory.Reply{})}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := opened(t, directory.Limits{InFlight: 9}, 10, 11) // a share of 2 with none in flight or one, else of 1
			own(t, d, 10, 1, 20, "a")
			own(t, d, 11, 1, 21, "b")
			play(t, d,
				on(dial(30, "a", 0), handOver(30, 10, 20)),
				on(dial(31, "b", 0), handOver(31, 11, 21)),
				on(dial(32, "b", 0)),
				on(test.event, append(append(test.first, handOver(32, 11, 21)), test.then...)...),
			)
			if test.name == "not delivered" { // it has no time of its own
				return
			}
			want := int64(2e9)
			d.Apply(directory.Taken{Session: 11, Connection: 31}) // so that 32 is next
			if test.name != "taken" {
				want += 1e9
			} else {
				want++
			}
			if at, ok := d.Deadline(); !ok || at != want {
				t.Errorf("the next deadline is %d, %t; want %d", at, ok, want)
			}
		})
	}
}

// TestDefaultLimits: what docs/session.md promises in numbers.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	d := opened(t, directory.Limits{}, 10)
	own(t, d, 10, 1, 20, "a")
	sent, waits, refused := 0, 0, 0
	for id := directory.ID(1000); id < 2100; id++ {
		actions := d.Apply(dial(id, "a", 0))
		switch {
		case len(actions) == 0:
			waits++
		case actions[0] == directory.Action(handOver(id, 10, 20)):
			sent++
		case actions[0] == directory.Action(directory.Refuse{Connection: id, Refusal: refusal(directory.LimitHit, `1024 callers wait for "a" already: try again later`)}):
			refused++
		default:
			t.Fatalf("a call led to %+v", actions)
		}
	}
	// 51 is a quarter of the 205 that it leaves of 256; 52 would be more than a quarter of 204.
	if sent != 51 || waits != 1024 || refused != 1100-51-1024 {
		t.Errorf("%d were handed over, %d wait and %d were refused", sent, waits, refused)
	}
	for i := uint64(2); i <= 1024; i++ {
		d.Apply(request(10, i, claim(directory.ID(10000+i), fmt.Sprint("n", i))))
	}
	const text = "a session may have 1024 leases: release one, or raise names_per_session in the broker's configuration"
	play(t, d,
		on(request(10, 1025, claim(5000, "more")), denied(10, 1025, directory.LimitHit, text)),
		on(request(10, 1026, directory.OpenDoor{Lease: 5000}), denied(10, 1026, directory.LimitHit, "a session may have 1024 leases")),
	)
	d.SetLimits(directory.Limits{NamesPerSession: 1025})
	own(t, d, 10, 1027, 5000, "more")

	// 1,025 leases go in slices of 256.
	for slice, ev := range []directory.Event{directory.EndSession{Session: 10, Reason: "gone"}, directory.Continue{}, directory.Continue{}, directory.Continue{}, directory.Continue{}} {
		ended := 0
		for _, a := range d.Apply(ev) {
			if _, ok := a.(directory.EndLease); ok {
				ended++
			}
		}
		want := 256
		if slice == 4 {
			want = 1
		}
		if ended != want || d.Unfinished() != (slice < 4) {
			t.Errorf("slice %d ended %d leases, unfinished %t", slice, ended, d.Unfinished())
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Callers(); n != 0 {
		t.Errorf("%d callers have no answer", n)
	}
}
