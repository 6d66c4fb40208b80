// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// TestStop: newcomers wait for the next, those who waited are refused.
func TestStop(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
	const who = "it was stopped by process 100 (/usr/bin/up) of user 1000"
	stop := func(sequence uint64, sel directory.Select, now int64) directory.Change {
		c := request(10, sequence, directory.StopBackends{Select: sel})
		c.Now = now
		return c
	}
	up := directory.Select{Name: "up"}
	nobody := `no process that the broker launched has name "up" and the version and scope asked for (switchboard ls shows what there is)`
	s.play(on(stop(1, up, 0), denied(10, 1, directory.Unknown, nobody)))
	s.up(1, 30, def, 1)
	s.play(
		on(stop(2, directory.Select{Name: "up", Scope: "/f"}, 2), denied(10, 2, directory.Unknown, nobody)),
		on(stop(3, directory.Select{Name: "up", Version: "one"}, 2), denied(10, 3, directory.Malformed,
			`version constraint "one" is malformed: write 1.2.3, ^1.2, ~1.2 or >=1.2,<2`)),
		on(stop(4, up, 2), unpublish(), directory.EndLease{Lease: nth(2), Reason: who}, directory.Stop{Backend: nth(2)},
			granted(10, 4, directory.Reply{Backends: []directory.ID{nth(2)}})),
		on(stop(4, up, 2), granted(10, 4, directory.Reply{Backends: []directory.ID{nth(2)}})), // the same again
		on(ask(31, 3, def)),
		on(directory.Tick{Now: 2 + stopTime}, directory.Stop{Backend: nth(2), Kill: true}),
		on(directory.Ended{Backend: nth(2), Status: "was killed", Failed: true, Now: 1e9},
			directory.Tell{Session: 10, Backend: nth(2), Reason: "its process was killed"}, launch(nth(3), def)),
		// One that has not started.
		on(stop(5, up, 1e9), refuse(31, directory.OwnerGone, `service "up" does not start: `+who),
			granted(10, 5, directory.Reply{Backends: []directory.ID{nth(3)}})),
		on(directory.Launched{Backend: nth(3), Owner: started, Now: 1e9}, directory.Stop{Backend: nth(3), Kill: true}),
		on(directory.Ended{Backend: nth(3), Status: "was killed", Now: 1e9}, directory.Tell{Session: 10, Backend: nth(3), Reason: "its process was killed"}))
	own(t, s.d, 10, 6, 20, "up")
	s.play(
		on(stop(7, up, 1e9), denied(10, 7, directory.WrongKind,
			`name "up" belongs to process 100 (/usr/bin/up) of user 1000, which the broker did not launch: end that process itself`)),
		on(directory.EndSession{Session: 10, Reason: "exited"}, unpublish(), directory.EndLease{Lease: 20, Session: 10, Reason: "exited"}))
	s.gone()
}

// TestClaimWhileItStops: a name that callers wait for is not another's before they have it.
func TestClaimWhileItStops(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
	s.up(1, 30, def, 1)
	s.apply(request(10, 1, directory.StopBackends{Select: directory.Select{Name: "up"}}))
	s.play(
		on(ask(31, 2, def)),
		on(request(10, 2, claim(20, "up")), denied(10, 2, directory.NameTaken, `name "up" is taken: the broker has launched /usr/bin/up for it`)),
		on(directory.Ended{Backend: nth(2), Now: 3}, directory.Tell{Session: 10, Backend: nth(2), Reason: "its process ended"}, launch(nth(3), def)),
		launched(nth(3), "/run/up", 3),
		on(directory.Ready{Backend: nth(3), Now: 4},
			directory.Publish{Entry: running(nth(3), def, "/run/up")}, directory.Redirect{Connection: 31, Path: "/run/up"}))
	// Without anybody who waits, it is free.
	s.apply(request(10, 3, directory.StopBackends{Select: directory.Select{Name: "up"}}))
	own(t, s.d, 10, 4, 20, "up")
	s.play(
		on(ask(32, 5, def), handOver(32, 10, 20)),
		on(request(10, 5, directory.Restart{Select: directory.Select{Name: "up"}, Definitions: []directory.Definition{def}}),
			denied(10, 5, directory.LimitHit, `service "up" is stopping: try again`)),
		on(directory.Ended{Backend: nth(3), Now: 6}, directory.Tell{Session: 10, Backend: nth(3), Reason: "its process ended"}),
		on(directory.Knock{Key: key0(def), Definition: def, Now: 7}, directory.Flush{Key: key0(def)}))
}

// TestAfterAnEndedSession: a launched process has the name though a session's end has not come to its slice.
func TestAfterAnEndedSession(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{Slice: 1}, 10), definition(directory.Path)
	own(t, s.d, 10, 1, 20, "up")
	own(t, s.d, 10, 2, 21, "other")
	s.play(
		on(directory.EndSession{Session: 10, Reason: "exited"},
			directory.Unpublish{Namespace: directory.Root, Name: "other"}, directory.EndLease{Lease: 21, Session: 10, Reason: "exited"}),
		on(ask(30, 1, def), launch(nth(2), def)), launched(nth(2), "/run/up", 1),
		on(directory.Ready{Backend: nth(2), Now: 2},
			unpublish(), directory.EndLease{Lease: 20, Session: 10, Reason: "exited"},
			directory.Publish{Entry: running(nth(2), def, "/run/up")}, directory.Redirect{Connection: 30, Path: "/run/up"}))
}

// TestRetire: newcomers get another, and the old one ends when its last caller has gone.
func TestRetire(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
	s.up(1, 30, def, 0)
	s.play(on(directory.AddWatch{Session: 10, Request: 5, Pattern: "up"}, directory.Answer{Session: 10, Request: 5}))
	e := running(nth(2), def, "/run/up1")
	e.State = directory.Retiring
	gone := e
	gone.State = directory.Stopping
	retire := request(10, 1, directory.RetireBackends{Select: directory.Select{Name: "up"}})
	s.play(
		on(retire, unpublish(),
			directory.Notify{Session: 10, Watch: 5, Kind: directory.Changed, Entry: e, Reason: "it was retired"},
			directory.Retire{Backend: nth(2), Key: key0(def)},
			granted(10, 1, directory.Reply{Backends: []directory.ID{nth(2)}})),
		on(ask(31, 1, def), launch(nth(3), def)),
		on(directory.Tick{Now: 250e6}, directory.Count{Backend: nth(2)}),
		on(directory.Counted{Backend: nth(2), Open: 1, Now: 260e6}),
		on(directory.Tick{Now: 510e6}, directory.Count{Backend: nth(2)}),
		on(directory.Counted{Backend: nth(2), Now: 510e6},
			directory.Notify{Session: 10, Watch: 5, Kind: directory.Gone, Entry: gone, Reason: "it was retired, and its last caller has gone"},
			directory.EndLease{Lease: nth(2), Reason: "it was retired, and its last caller has gone"},
			directory.Stop{Backend: nth(2)}),
		on(directory.Ended{Backend: nth(2), Status: "exited", Now: 510e6}),
		launched(nth(3), "/run/up", 510e6),
		// One that is starting ends at once; those who wait get another.
		on(request(10, 2, directory.RetireBackends{Select: directory.Select{Name: "up"}}),
			directory.Stop{Backend: nth(3)}, launch(nth(4), def), granted(10, 2, directory.Reply{Backends: []directory.ID{nth(3)}})))
}

// TestRestart of a native service: what it had not taken goes to the new one.
func TestRestart(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{InFlightPerName: 1}, 9), definition(directory.HandedOver)
	s.play(on(ask(30, 0, def), launch(nth(2), def)))
	s.native(2, 10, 20, def, 1, 30)
	changed := def
	changed.Summary = "/usr/bin/up -v"
	up := directory.Select{Name: "up"}
	s.play(
		on(ask(31, 2, def)),
		on(request(9, 1, directory.Restart{Select: up, Definitions: []directory.Definition{changed}}),
			unpublish(), directory.Retire{Backend: nth(2), Key: key0(def)}, launch(nth(3), changed),
			granted(9, 1, directory.Reply{Backends: []directory.ID{nth(3)}})))
	second := hello(11, directory.Root)
	second.Backend = nth(3)
	e := entry(21, 11, directory.Root, "up")
	e.Backend = nth(3)
	s.play(
		launched(nth(3), "", 3), on(second, directory.Welcome{Session: 11, Request: 1, Namespace: "/"}),
		on(request(11, 1, claim(21, "up")), directory.Publish{Entry: e}, granted(11, 1, directory.Reply{ID: 21}),
			directory.Tell{Session: 9, Backend: nth(3), Started: true}, handOver(31, 11, 21)),
		on(directory.Taken{Session: 10, Connection: 30, Now: 4}, directory.Forget{Connection: 30}),
		on(directory.Counted{Backend: nth(2), Now: 5}), // it has a caller
		on(directory.Disconnected{Connections: []directory.ID{30}}),
		on(directory.Counted{Backend: nth(2), Now: 6},
			directory.EndLease{Lease: 20, Session: 10, Reason: "it was retired, and its last caller has gone"}, directory.Stop{Backend: nth(2)}),
		on(directory.Ended{Backend: nth(2), Now: 7}), on(directory.EndSession{Session: 10, Reason: "exited"}))

	// What is broken, or stopping, is not restarted; what fails to start says so.
	broken := changed
	broken.Broken = "up.toml:3: what?"
	s.play(
		on(request(9, 2, directory.Restart{Select: up, Definitions: []directory.Definition{broken}}),
			denied(9, 2, directory.NotStarted, `service "up" cannot be started: up.toml:3: what?`)),
		on(request(9, 3, directory.Restart{Select: up}), unpublish(), directory.Retire{Backend: nth(3), Key: key0(def)}, launch(nth(4), changed),
			granted(9, 3, directory.Reply{Backends: []directory.ID{nth(4)}})),
		on(directory.Ended{Backend: nth(4), Status: "exited", Now: 8}, directory.Tell{Session: 9, Backend: nth(4),
			Reason: `service "up" did not start: it exited before it claimed the name; it is tried again after 100 ms`}),
		on(request(9, 4, directory.StopBackends{Select: up}),
			// It may have taken what it was handed, which waits for its end.
			directory.Stop{Backend: nth(3)}, granted(9, 4, directory.Reply{Backends: []directory.ID{nth(3)}})),
		on(directory.Ended{Backend: nth(3), Status: "exited", Now: 9},
			refuse(31, directory.BackingOff, `service "up" is not tried again for 100 ms: it exited before it claimed the name`),
			directory.EndLease{Lease: 21, Session: 11, Tell: true, Reason: "its process exited"},
			directory.Tell{Session: 9, Backend: nth(3), Reason: "its process exited"}))
}

// TestRestartOfWhatDoesNotRun starts it, if a file defines it and it is not one for each caller.
func TestRestartOfWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	s, up := newScene(t, directory.Limits{}, 10), directory.Select{Name: "up"}
	restart := func(sequence uint64, defs ...directory.Definition) directory.Change {
		return request(10, sequence, directory.Restart{Select: up, Definitions: defs})
	}
	one, two := versioned(definition(directory.Path), "1.2.0"), versioned(definition(directory.Path), "2.0.0")
	broken := two
	broken.Broken = "no"
	s.play(
		on(restart(1), denied(10, 1, directory.Unknown, `no process that the broker launched has name "up", and it has no definition`)),
		on(restart(2, one, broken), denied(10, 2, directory.NotStarted, `service "up" cannot be started: no`)),
		on(restart(3, definition(directory.Connection)), granted(10, 3, directory.Reply{})))
	s.gone2(1)
	s.play(
		on(restart(4, one, two), launch(nth(3), two), granted(10, 4, directory.Reply{Backends: []directory.ID{nth(3)}})),
		on(directory.Close{Reason: "the broker ends"}),
		on(restart(5, one), denied(10, 5, directory.OwnerGone, "the broker ends")))
}

// TestIdle: a service ends when nobody has called it for a while, and is not counted idle before all connections are over.
func TestIdle(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), definition(directory.Path)
	def.Idle = 1e9
	s.up(1, 30, def, 0)
	count := func(now int64, open int, want ...directory.Action) {
		t.Helper()
		if at, ok := s.d.Deadline(); !ok || at != now {
			t.Errorf("the next deadline is %d, %t; want %d", at, ok, now)
		}
		s.play(on(directory.Tick{Now: now}, directory.Count{Backend: nth(2)}), on(directory.Counted{Backend: nth(2), Open: open, Now: now}, want...))
	}
	count(25e7, 0)
	count(50e7, 1)
	count(75e7, 0)
	s.play(on(ask(31, 80e7, def), directory.Redirect{Connection: 31, Path: "/run/up1"}))
	count(100e7, 0)
	for at := int64(125e7); at < 180e7; at += 25e7 {
		count(at, 0)
	}
	if s.d.WouldStop(nth(2), 180e7-1) || !s.d.WouldStop(nth(2), 180e7) {
		t.Error("it is idle at another time")
	}
	count(200e7, 0, unpublish(), directory.EndLease{Lease: nth(2), Reason: "nobody has called it for 1000 ms"}, directory.Stop{Backend: nth(2)})
	s.play(
		on(directory.Counted{Backend: nth(2), Now: 200e7}),
		on(ask(32, 200e7, def)),
		on(directory.Ended{Backend: nth(2), Now: 210e7}, launch(nth(3), def)))

	// One that is handed its callers knows them itself.
	s, def.Accept = newScene(t, directory.Limits{}), directory.HandedOver
	s.play(on(ask(30, 0, def), launch(nth(2), def)))
	s.native(2, 10, 20, def, 1, 30)
	s.play(
		on(directory.Counted{Backend: nth(2), Now: 1e9}),
		on(directory.Taken{Session: 10, Connection: 30, Now: 1e9}, directory.Forget{Connection: 30}),
		on(directory.Counted{Backend: nth(2), Now: 5e9}),
		on(directory.Disconnected{Connections: []directory.ID{30}}),
		on(directory.Counted{Backend: nth(2), Now: 6e9 - 1}),
		on(directory.Counted{Backend: nth(2), Now: 6e9}, unpublish(),
			directory.EndLease{Lease: 20, Session: 10, Reason: "nobody has called it for 1000 ms"}, directory.Stop{Backend: nth(2)}))
}

// TestClose: nothing is launched any more, and what was ends or is left.
func TestClose(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
		two := versioned(def, "2.0.0")
		s.up(1, 30, def, 1)
		s.play(on(ask(31, 2, two), launch(nth(4), two)), launched(nth(4), "/run/2", 2))
		want := []directory.Action{refuse(31, directory.OwnerGone, "the broker ends")}
		if !keep {
			want = append(want, unpublish(), directory.EndLease{Lease: nth(2), Reason: "the broker ends"}, directory.Stop{Backend: nth(2)})
		}
		s.play(
			on(directory.Close{Reason: "the broker ends", Keep: keep, Now: 3}, append(want, directory.Stop{Backend: nth(4)})...),
			on(ask(32, 3, two), refuse(32, directory.OwnerGone, "the broker ends")),
			on(ask(33, 3, versioned(def, "3.0.0")), refuse(33, directory.OwnerGone, "the broker ends")),
			on(directory.Knock{Key: key0(two), Definition: two, Now: 3}),
			on(directory.Ended{Backend: nth(4), Now: 4}),
			on(directory.Knock{Key: key0(two), Definition: two, Now: 4}, directory.Flush{Key: key0(two)}))
		if keep {
			s.play(on(ask(34, 5), directory.Redirect{Connection: 34, Path: "/run/up1"}))
			continue
		}
		s.play(on(directory.Ended{Backend: nth(2), Now: 5}))
		s.gone()
	}
}
