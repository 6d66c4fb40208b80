// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// TestOneLaunchForAll: 64 first callers, one process.
func TestOneLaunchForAll(t *testing.T) {
	t.Parallel()
	for _, accept := range []directory.Accept{directory.Listener, directory.Path, directory.HandedOver} {
		t.Run(fmt.Sprint(accept), func(t *testing.T) {
			t.Parallel()
			s, def, b := newScene(t, directory.Limits{}), definition(accept), nth(2)
			s.play(on(ask(100, 1, def), launch(b, def)))
			for id := directory.ID(101); id < 164; id++ {
				s.play(on(ask(id, 2, def)))
			}
			var redirects []directory.Action
			for id := directory.ID(100); id < 164; id++ {
				redirects = append(redirects, directory.Redirect{Connection: id, Path: "/run/up"})
			}
			published := append([]directory.Action{directory.Publish{Entry: running(b, def, "/run/up")}}, redirects...)
			switch accept {
			case directory.Listener:
				s.play(launched(b, "/run/up", 3), on(directory.Executed{Backend: b, Now: 4}, published...))
				s.play(on(ask(200, 4, def), directory.Redirect{Connection: 200, Path: "/run/up"}))
			case directory.Path:
				s.play(launched(b, "/run/up", 3), on(directory.Executed{Backend: b, Now: 4}), on(directory.Ready{Backend: b, Now: 5}, published...))
				s.play(on(ask(200, 4, def), directory.Redirect{Connection: 200, Path: "/run/up"}))
			default:
				s.play(on(directory.Ready{Backend: b, Now: 3})) // without its name it is not
				var first []directory.ID
				for id := directory.ID(100); id < 151; id++ { // its share of the 256 that may be in flight
					first = append(first, id)
				}
				s.native(2, 10, 20, def, 4, first...)
				for id := directory.ID(100); id < 164; id++ {
					want := []directory.Action{directory.Forget{Connection: id}}
					if id < 113 {
						want = append(want, handOver(id+51, 10, 20))
					}
					s.play(on(directory.Taken{Session: 10, Connection: id, Now: 5}, want...))
				}
			}
			if n := s.d.Callers(); n != 0 {
				t.Errorf("%d callers have no answer", n)
			}
		})
	}
}

// TestNotified: what says itself when it is ready is not ready before.
func TestNotified(t *testing.T) {
	t.Parallel()
	for _, accept := range []directory.Accept{directory.Listener, directory.Path} {
		s, def, b := newScene(t, directory.Limits{}), definition(accept), nth(2)
		def.Notify = true
		s.play(
			on(ask(30, 1, def), launch(b, def)), launched(b, "/run/up", 1),
			on(directory.Executed{Backend: b, Now: 2}),
			on(directory.Ready{Backend: b, Now: 3}),
			on(directory.Ready{Backend: b, Notified: true, Now: 4},
				directory.Publish{Entry: running(b, def, "/run/up")}, directory.Redirect{Connection: 30, Path: "/run/up"}),
			on(directory.Ready{Backend: b, Notified: true, Now: 5}))
	}
	s, def, b := newScene(t, directory.Limits{}), definition(directory.HandedOver), nth(2)
	def.Notify = true
	s.play(on(ask(30, 1, def), launch(b, def)))
	s.native(2, 10, 20, def, 2)
	s.play(on(directory.Ready{Backend: b, Notified: true, Now: 4}, handOver(30, 10, 20)))
}

// TestProcessForEachCaller: at most 8 of them start at a time.
func TestProcessForEachCaller(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 11), definition(directory.Connection)
	for i := range directory.ID(12) {
		var want []directory.Action
		if i < 8 {
			want = []directory.Action{launchFor(nth(2+int(i)), 100+i, def)}
		}
		s.play(on(ask(100+i, 1, def), want...))
	}
	s.play(on(directory.AddWatch{Session: 11, Request: 5, Pattern: "up"}, directory.Answer{Session: 11, Request: 5}))
	e := running(nth(2), def, "")
	e.Callers = []directory.Caller{{Connection: 100, PID: 300, UID: 1000, Socket: 9}}
	s.play(
		launched(nth(2), "", 2), launched(nth(3), "", 2), launched(nth(4), "", 2),
		on(directory.Executed{Backend: nth(2), Now: 2}), on(directory.Ready{Backend: nth(2), Now: 2}),
		on(directory.HangUp{Connection: 111}, directory.Forget{Connection: 111}),
		on(directory.HangUp{Connection: 100}), // its process will see it
		on(directory.Taken{Session: 11, Connection: 100}),
		on(directory.NotDelivered{Connection: 100}),
		on(directory.Accepted{Backend: nth(2), Socket: 9, Now: 3},
			directory.Forget{Connection: 100},
			directory.Notify{Session: 11, Watch: 5, Kind: directory.Appeared, Entry: e},
			launchFor(nth(10), 108, def)),
		on(directory.Accepted{Backend: nth(2), Socket: 9, Now: 3}))
	why := `service "up" did not start: it exited with status 3; it is tried again after 100 ms; its last output:` + "\nno\nway"
	s.play(
		on(directory.Ended{Backend: nth(3), Status: "exited with status 3", Failed: true, Output: []string{"no", "way"}, Now: 4},
			untaken(refuse(101, directory.NotStarted, why)), refuse(109, directory.NotStarted, why), refuse(110, directory.NotStarted, why)),
		on(ask(120, 5, def), refuse(120, directory.BackingOff, `service "up" is not tried again for 100 ms: it exited with status 3; its last output:`+"\nno\nway")),
		// The others start all the same.
		on(directory.Accepted{Backend: nth(4), Socket: 10, Now: 6}, directory.Forget{Connection: 102}, directory.Notify{
			Session: 11, Watch: 5, Kind: directory.Appeared, Entry: func() directory.Entry {
				e := running(nth(4), def, "")
				e.Callers = []directory.Caller{{Connection: 102, PID: 300, UID: 1000, Socket: 10}}
				return e
			}()}),
		on(directory.Disconnected{Connections: []directory.ID{100}}),
	)
	e.Callers, e.State = nil, directory.Stopping
	s.play(
		on(directory.Ended{Backend: nth(2), Status: "exited", Now: 7},
			directory.Notify{Session: 11, Watch: 5, Kind: directory.Gone, Entry: e, Reason: "its process exited"},
			directory.EndLease{Lease: nth(2), Reason: "its process exited"}))
	// The rest is stopped before it has taken its callers.
	stop := s.apply(request(11, 1, directory.StopBackends{Select: directory.Select{Name: "up"}}))
	if n := len(stop); n != 4 { // the running one: Gone, EndLease, Stop; and the answer
		t.Errorf("a stop led to %+v", stop)
	}
	for i := 4; i <= 10; i++ {
		b, c := nth(i), directory.ID(98+i)
		want := []directory.Action{
			untaken(refuse(c, directory.OwnerGone, `service "up" was stopped: its process was killed by signal 15`)),
			directory.Tell{Session: 11, Backend: b, Reason: "its process was killed by signal 15"}}
		if i == 4 {
			want = want[1:]
		}
		if i == 5 {
			s.play(on(directory.Launched{Backend: b, Owner: started, Now: 8}, directory.Stop{Backend: b, Kill: true}))
		}
		s.play(on(directory.Ended{Backend: b, Status: "was killed by signal 15", Failed: true, Now: 8}, want...))
	}
	s.play(on(directory.EndSession{Session: 11, Reason: "exited"}), on(directory.Tick{Now: 1e12}))
	s.gone()
}
