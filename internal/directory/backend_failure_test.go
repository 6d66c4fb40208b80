// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// TestFailedStart: everybody is told why, and the next start waits twice as long each time.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	for _, accept := range []directory.Accept{directory.Listener, directory.Path, directory.HandedOver} {
		t.Run(fmt.Sprint(accept), func(t *testing.T) {
			t.Parallel()
			s, def := newScene(t, directory.Limits{}), definition(accept)
			now, id := int64(1), directory.ID(100)
			for i, ms := range []int64{100, 200, 400, 400} {
				b := nth(2 + i)
				s.play(on(ask(id, now, def), launch(b, def)), on(ask(id+1, now, def)), on(ask(id+2, now, def)), launched(b, "/run/up", now))
				reason := fmt.Sprintf("it exited with status 3; it is tried again after %d ms; its last output:\nno", ms)
				var want []directory.Action
				for k := range directory.ID(3) {
					want = append(want, refuse(id+k, directory.NotStarted, `service "up" did not start: `+reason))
				}
				if accept == directory.Listener {
					want = append(want, directory.Flush{Key: key0(def)})
				}
				s.play(
					on(directory.Ended{Backend: b, Status: "exited with status 3", Failed: true, Output: []string{"no"}, Now: now + 1e6}, want...),
					on(ask(id+3, now+2e6, def), refuse(id+3, directory.BackingOff, fmt.Sprintf("service \"up\" is not tried again for %d ms: it exited with status 3; its last output:\nno", ms-1))))
				id, now = id+10, now+1e6+ms*1e6
			}
			// Without a try for the longest time there is, it is forgotten.
			if at, ok := s.d.Deadline(); !ok || at != now+maxRetry {
				t.Errorf("the next deadline is %d, %t; want %d", at, ok, now+maxRetry)
			}
			s.play(on(directory.Tick{Now: now + maxRetry - 1}))
			if len(s.d.Export().Services) != 1 {
				t.Error("the failures were forgotten too early")
			}
			s.play(on(directory.Tick{Now: now + maxRetry}))
			s.gone()
		})
	}
}

// TestBackOffOfManyFailures: a long shortest delay, doubled many times, is still the longest.
func TestBackOffOfManyFailures(t *testing.T) {
	t.Parallel()
	s, def, now := newScene(t, directory.Limits{}), definition(directory.Path), int64(1)
	def.RetryMin, def.RetryMax = 20e9, 30e9
	for i := range 40 {
		s.play(on(ask(directory.ID(100+i), now, def), launch(nth(2+i), def)))
		a := s.apply(directory.Ended{Backend: nth(2 + i), Status: "exited", Failed: true, Now: now})
		r, _ := a[0].(directory.Refuse)
		want := "after 30 s"
		if i == 0 {
			want = "after 20 s"
		}
		if !strings.Contains(r.Refusal.Text, want) {
			t.Fatalf("failure %d: %s", i, r.Refusal.Text)
		}
		now += 30e9
	}
}

// TestNotReadyInTime: it is killed at its deadline, not before, and again as long as it is there.
func TestNotReadyInTime(t *testing.T) {
	t.Parallel()
	for _, accept := range []directory.Accept{directory.Path, directory.HandedOver} {
		s, def, b := newScene(t, directory.Limits{}), definition(accept), nth(2)
		what := map[directory.Accept]string{directory.Path: "it was not ready within 1000 ms", directory.HandedOver: "it did not claim the name within 1000 ms"}[accept]
		text := `service "up" did not start: ` + what + "; it is tried again after 100 ms"
		s.play(
			on(ask(30, 0, def), launch(b, def)), on(ask(31, 5e8, def)), launched(b, "/run/up", 1),
			on(directory.NotReady{Backend: b, Now: startTime - 1}), on(directory.Tick{Now: startTime - 1}))
		var late []directory.ID
		s.d.Late(startTime, func(id directory.ID) { late = append(late, id) })
		if at, ok := s.d.Deadline(); !ok || at != startTime || !slices.Equal(late, []directory.ID{b}) {
			t.Errorf("the next deadline is %d, %t, and %v are late", at, ok, late)
		}
		s.play(
			on(directory.NotReady{Backend: b, Output: []string{"hm"}, Now: startTime},
				refuse(30, directory.NotStarted, text+"; its last output:\nhm"), refuse(31, directory.NotStarted, text+"; its last output:\nhm"),
				directory.Stop{Backend: b, Kill: true}),
			on(directory.Ready{Backend: b, Now: startTime}), // too late
			on(ask(32, startTime, def), refuse(32, directory.BackingOff,
				`service "up" is not tried again for 100 ms: `+what+"; its last output:\nhm")),
			on(ask(33, startTime+minRetry, def)), // its end is waited for
			on(directory.Tick{Now: startTime + 1e9}, directory.Stop{Backend: b, Kill: true}),
			on(directory.Ended{Backend: b, Status: "was killed", Failed: true, Now: startTime + 1e9}, launch(nth(3), def)))
	}
	// The clock alone says it too.
	s, def := newScene(t, directory.Limits{}), definition(directory.Path)
	s.play(
		on(ask(30, 0, def), launch(nth(2), def)), launched(nth(2), "/run/up", 1),
		on(directory.Tick{Now: startTime},
			refuse(30, directory.NotStarted, `service "up" did not start: it was not ready within 1000 ms; it is tried again after 100 ms`),
			directory.Stop{Backend: nth(2), Kill: true}),
		on(directory.Ended{Backend: nth(2), Now: startTime}), on(directory.Tick{Now: 1e12}))
	s.gone()
}

// TestListenerThatFails after it was executed leaves nobody waiting at its socket.
func TestListenerThatFails(t *testing.T) {
	t.Parallel()
	s, def, b := newScene(t, directory.Limits{}), definition(directory.Listener), nth(2)
	knock := directory.Knock{Key: key0(def), Definition: def, Now: 1}
	later := knock
	later.Now = 4
	s.play(
		on(knock, launch(b, def)), on(knock), launched(b, "/run/up", 2),
		on(directory.Executed{Backend: b, Now: 2}, directory.Publish{Entry: running(b, def, "/run/up")}),
		on(knock),
		on(directory.Ended{Backend: b, Status: "exited with status 3", Failed: true, Unserved: true, Now: 3},
			unpublish(), directory.EndLease{Lease: b, Reason: "its process exited with status 3"}, directory.Flush{Key: key0(def)}),
		on(later, directory.Flush{Key: key0(def)}),
		on(ask(30, 4, def), refuse(30, directory.BackingOff, `service "up" is not tried again for 100 ms: it exited with status 3`)))
	broken := knock
	broken.Definition.Broken, broken.Now = "line 3: what?", 1e12
	s.play(on(directory.Tick{Now: 1e12}), on(broken, directory.Flush{Key: key0(def)}))
	s.gone()
	// It ran long enough: a start that went well.
	knock.Now = 1e12
	s.play(
		on(knock, launch(nth(5), def)), launched(nth(5), "/run/up", 1e12),
		on(directory.Executed{Backend: nth(5), Now: 1e12}, directory.Publish{Entry: running(nth(5), def, "/run/up")}),
		on(directory.Ended{Backend: nth(5), Status: "exited", Unserved: true, Failed: true, Now: 1e12 + startTime},
			unpublish(), directory.EndLease{Lease: nth(5), Reason: "its process exited"}))
	// The callers that are left have it launched again. Once.
	at := int64(1e12 + startTime)
	knock.Now = at
	s.play(
		on(knock, launch(nth(6), def)), launched(nth(6), "/run/up", at),
		on(directory.Executed{Backend: nth(6), Now: at}, directory.Publish{Entry: running(nth(6), def, "/run/up")}),
		on(directory.Ended{Backend: nth(6), Status: "exited", Unserved: true, Now: at + startTime},
			unpublish(), directory.EndLease{Lease: nth(6), Reason: "its process exited"}, directory.Flush{Key: key0(def)}))
	knock.Now = at + startTime
	s.play(on(knock, directory.Flush{Key: key0(def)}))
}

// TestNativeOwnerKilled: those whom it had not taken yet get the next instance; once.
func TestNativeOwnerKilled(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{InFlightPerName: 1}), definition(directory.HandedOver)
	s.play(on(ask(30, 0, def), launch(nth(2), def)))
	s.native(2, 10, 20, def, 1, 30)
	s.play(
		on(directory.Taken{Session: 10, Connection: 30, Now: 2}, directory.Forget{Connection: 30}),
		on(ask(31, 2e9, def), handOver(31, 10, 20)), on(ask(32, 2e9, def)), on(ask(33, 2e9, def)),
		on(directory.EndSession{Session: 10, Reason: "process 100 exited", Now: 2e9},
			unpublish(), directory.EndLease{Lease: 20, Session: 10, Reason: "process 100 exited"}),
		on(ask(34, 2e9, def)),
		on(directory.Ended{Backend: nth(2), Status: "was killed", Failed: true, Now: 2e9}, launch(nth(3), def)))
	s.native(3, 11, 21, def, 2e9, 31)
	s.play(on(directory.Taken{Session: 11, Connection: 31, Now: 2e9}, directory.Forget{Connection: 31}, handOver(32, 11, 21)))
	why := `the owner of "up" is gone before it took the connection: its process was killed`
	// The end of the process comes before that of the session. 34 has not been moved yet.
	s.play(
		on(directory.Ended{Backend: nth(3), Status: "was killed", Failed: true, Now: 4e9}, unpublish(),
			untaken(refuse(32, directory.OwnerGone, why)), refuse(33, directory.OwnerGone, why),
			directory.EndLease{Lease: 21, Session: 11, Tell: true, Reason: "its process was killed"}, launch(nth(4), def)))
	s.native(4, 12, 22, def, 4e9, 34)
	// One that dies while it starts tells those who wait for it why.
	s.play(
		on(directory.EndSession{Session: 11, Reason: "exited"}),
		on(ask(35, 4e9, def)),
		on(directory.Ended{Backend: nth(4), Status: "was killed", Failed: true, Now: 4e9 + 1}, unpublish(),
			untaken(refuse(34, directory.OwnerGone, why)), directory.EndLease{Lease: 22, Session: 12, Tell: true, Reason: "its process was killed"},
			refuse(35, directory.NotStarted, `service "up" did not start: it was killed; it is tried again after 100 ms`)),
		on(directory.EndSession{Session: 12, Reason: "exited"}), on(directory.Tick{Now: 1e12}))
	s.gone()
}

// TestNativeComesBack: a process that lost its session has its name again with the next.
func TestNativeComesBack(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{Slice: 1}, 12), definition(directory.HandedOver)
	s.play(on(ask(30, 0, def), launch(nth(2), def)))
	s.native(2, 10, 20, def, 1, 30)
	own(t, s.d, 10, 2, 21, "other")
	open := hello(11, directory.Root)
	open.Backend = nth(2)
	e := entry(22, 11, directory.Root, "up")
	e.Backend = nth(2)
	s.play(
		on(request(12, 1, claim(29, "up")), denied(12, 1, directory.NameTaken, `name "up" is taken by process 100 (/usr/bin/up) of user 1000`)),
		on(directory.EndSession{Session: 10, Reason: "it broke the protocol"},
			directory.Unpublish{Namespace: directory.Root, Name: "other"}, directory.EndLease{Lease: 21, Session: 10, Reason: "it broke the protocol"}),
		on(request(12, 2, claim(29, "up")), denied(12, 2, directory.NameTaken, `name "up" is taken: the broker has launched /usr/bin/up for it`)),
		on(open, directory.Welcome{Session: 11, Request: 1, Namespace: "/"}),
		on(request(11, 1, claim(22, "up")),
			unpublish(), directory.EndLease{Lease: 20, Session: 10, Reason: "it broke the protocol"},
			directory.Publish{Entry: e}, granted(11, 1, directory.Reply{ID: 22}), handOver(30, 11, 22)),
		on(directory.Continue{}))
}
