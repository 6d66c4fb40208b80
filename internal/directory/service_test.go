// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// scene plays events as play does; each is also applied to a copy of the directory that was exported and imported just before.
type scene struct {
	t      *testing.T
	d      *directory.Directory
	limits directory.Limits
}

func newScene(t *testing.T, l directory.Limits, sessions ...directory.ID) *scene {
	t.Helper()
	return &scene{t, opened(t, l, sessions...), l}
}

func (s *scene) play(exchanges ...exchange) {
	s.t.Helper()
	for _, x := range exchanges {
		if diff := cmp.Diff(x.want, s.apply(x.event), cmpopts.EquateEmpty()); diff != "" {
			s.t.Fatalf("%T%+v (-want +got):\n%s", x.event, x.event, diff)
		}
	}
}

func (s *scene) apply(ev directory.Event) []directory.Action {
	s.t.Helper()
	twin, err := directory.Import(s.d.Export(), s.limits)
	if err != nil {
		s.t.Fatalf("before %T%+v: cannot import: %v", ev, ev, err)
	}
	got := slices.Clone(s.d.Apply(ev))
	if err := s.d.Check(); err != nil {
		s.t.Fatalf("after %T%+v: %v", ev, ev, err)
	}
	if diff := cmp.Diff(got, twin.Apply(ev), cmpopts.EquateEmpty()); diff != "" {
		s.t.Fatalf("%T%+v: the copy does otherwise (-original +copy):\n%s", ev, ev, diff)
	}
	if diff := cmp.Diff(s.d.Export(), twin.Export(), cmpopts.EquateEmpty()); diff != "" {
		s.t.Fatalf("after %T%+v the copy differs (-original +copy):\n%s", ev, ev, diff)
	}
	return got
}

// gone wants nothing but sessions to be left.
func (s *scene) gone() {
	s.t.Helper()
	if c := s.d.Counts(); c.Names+c.Waiting+c.Backends+s.d.Leases() != 0 {
		s.t.Errorf("left are %+v, and %d leases", c, s.d.Leases())
	}
	if img := s.d.Export(); len(img.Services) > 0 {
		s.t.Errorf("services are left: %+v", img.Services)
	}
}

// nth is the n-th id that a directory gave by itself: the first service is the first, its first process the second.
func nth(n int) directory.ID { return directory.Own + directory.ID(n) }

const (
	startTime = 1e9
	stopTime  = 5e8
	minRetry  = 1e8
	maxRetry  = 4e8
)

func definition(a directory.Accept) directory.Definition {
	return directory.Definition{
		Source: "up.toml", Summary: "/usr/bin/up", Accept: a, Start: startTime, Stop: stopTime, RetryMin: minRetry, RetryMax: maxRetry,
		Run: directory.Command{Argv: []string{"/usr/bin/up"}},
	}
}

func versioned(def directory.Definition, version string) directory.Definition {
	def.Version = version
	return def
}

func ask(connection directory.ID, now int64, defs ...directory.Definition) directory.Call {
	c := dial(connection, "up", now)
	c.Definitions = defs
	return c
}

func key0(def directory.Definition) directory.Key {
	return directory.Key{Namespace: directory.Root, Name: "up", Version: def.Version, Scope: def.Scope}
}

func launch(backend directory.ID, def directory.Definition) directory.Launch {
	return directory.Launch{Backend: backend, Key: key0(def), Definition: def}
}

func launchFor(backend, connection directory.ID, def directory.Definition) directory.Launch {
	l := launch(backend, def)
	l.Connection, l.Caller = connection, caller
	return l
}

var started = directory.Peer{PID: 500, UID: 1000, Exe: "/usr/bin/up"}

func launched(backend directory.ID, path string, now int64) exchange {
	return on(directory.Launched{Backend: backend, Owner: started, Path: path, Since: 77, Now: now}, directory.Proceed{Backend: backend})
}

// running is the entry of a process's own name.
func running(backend directory.ID, def directory.Definition, path string) directory.Entry {
	return directory.Entry{
		Lease: backend, Name: "up", Namespace: directory.Root, Kind: directory.Service, State: directory.Active, Owner: started,
		Version: def.Version, Scope: def.Scope, Accept: def.Accept, Path: path, Since: 77, Backend: backend,
	}
}

func unpublish() directory.Unpublish {
	return directory.Unpublish{Namespace: directory.Root, Name: "up"}
}

func refuse(connection directory.ID, r directory.Reason, text string) directory.Refuse {
	return directory.Refuse{Connection: connection, Refusal: refusal(r, text)}
}

func untaken(r directory.Refuse) directory.Refuse {
	r.Untaken = true
	return r
}

// up launches a service with a path of its own: the service is nth(n), its process nth(n+1).
func (s *scene) up(n int, connection directory.ID, def directory.Definition, now int64) {
	s.t.Helper()
	path := fmt.Sprint("/run/up", n)
	s.play(
		on(ask(connection, now, def), launch(nth(n+1), def)),
		launched(nth(n+1), path, now),
		on(directory.Ready{Backend: nth(n + 1), Now: now},
			directory.Publish{Entry: running(nth(n+1), def, path)}, directory.Redirect{Connection: connection, Path: path}))
}

// native launches a service that claims its name as the session, which is opened for it.
func (s *scene) native(n int, session, lease directory.ID, def directory.Definition, now int64, waiting ...directory.ID) directory.Entry {
	s.t.Helper()
	e := directory.Entry{
		Lease: lease, Session: session, Name: "up", Namespace: directory.Root, Kind: directory.Service, State: directory.Active, Owner: up,
		Version: def.Version, Scope: def.Scope, Since: 1234, Backend: nth(n),
	}
	open := hello(session, directory.Root)
	open.Backend, open.Now = nth(n), now
	c := request(session, 1, claim(lease, "up"))
	c.Now = now
	want := []directory.Action{directory.Publish{Entry: e}, granted(session, 1, directory.Reply{ID: lease})} // before any caller
	for _, id := range waiting {
		want = append(want, handOver(id, session, lease))
	}
	s.play(
		launched(nth(n), "", now),
		on(open, directory.Welcome{Session: session, Request: 1, Namespace: "/"}),
		on(c, want...))
	return e
}

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

// gone2 wants nothing but sessions to be left.
func (s *scene) gone2(sessions int) {
	s.t.Helper()
	s.gone()
	if c := s.d.Counts(); c.Sessions != sessions {
		s.t.Errorf("left are %+v", c)
	}
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

// TestVersionsSideBySide: newcomers get the newest that they allow, in the scope that they ask for.
func TestVersionsSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	one, two := versioned(definition(directory.Path), "1.2.0"), versioned(definition(directory.Path), "2.0.0")
	scoped := one
	scoped.Scope = "/f"
	with := func(connection directory.ID, version, scope string, defs ...directory.Definition) directory.Call {
		c := ask(connection, 10, defs...)
		c.Version, c.Scope = version, scope
		return c
	}
	to := func(connection directory.ID, path string) directory.Redirect {
		return directory.Redirect{Connection: connection, Path: path}
	}
	s.play(on(directory.AddWatch{Session: 10, Request: 5, Pattern: "*"}, directory.Answer{Session: 10, Request: 5}))
	appeared := func(e directory.Entry) directory.Notify {
		return directory.Notify{Session: 10, Watch: 5, Kind: directory.Appeared, Entry: e}
	}
	ready := func(n int, def directory.Definition, path string, want ...directory.Action) exchange {
		return on(directory.Ready{Backend: nth(n), Now: 5}, append([]directory.Action{appeared(running(nth(n), def, path))}, want...)...)
	}
	s.play(on(with(29, "^1", "", one, two), launch(nth(2), one)), launched(nth(2), "/1", 1),
		on(directory.Ready{Backend: nth(2), Now: 2}, directory.Publish{Entry: running(nth(2), one, "/1")}, appeared(running(nth(2), one, "/1")), to(29, "/1")),
		on(with(30, "", "", one), to(30, "/1")),
		on(with(31, "", "", one, two), launch(nth(4), two)), // the newest there could be
		on(with(32, "^2", "", one)),                         // it is on its way
		launched(nth(4), "/2", 3),
		on(directory.Ready{Backend: nth(4), Now: 5},
			directory.Publish{Entry: running(nth(4), two, "/2")}, appeared(running(nth(4), two, "/2")), to(31, "/2"), to(32, "/2")),
		on(with(33, "", ""), to(33, "/2")),
		on(with(34, "~1.2", ""), to(34, "/1")),
		on(with(35, "^3", "", one, two), refuse(35, directory.Mismatch, `name "up" has versions 2.0.0, 1.2.0, and "^3" was asked for`)),
		on(with(36, "", "/f", one, two, scoped), launch(nth(6), scoped)), launched(nth(6), "/f1", 3),
		ready(6, scoped, "/f1", to(36, "/f1")),
		on(with(37, "", "/f"), to(37, "/f1")), on(with(38, "", "/g"), to(38, "/2")), on(with(39, "", ""), to(39, "/2")),
		on(with(40, "^2", "/f"), to(40, "/2")))
	for _, test := range []struct {
		version, scope string
		want           directory.ID
		reason         directory.Reason
	}{
		{"", "", nth(4), directory.OK},
		{"^1", "", nth(2), directory.OK},
		{"", "/f", nth(6), directory.OK},
		{"^1", "/g", nth(2), directory.OK},
		{"^3", "", 0, directory.Mismatch},
	} {
		e, r := s.d.LookUp(directory.Root, "up", test.version, test.scope, directory.Service)
		if e.Lease != test.want || r.Reason != test.reason {
			t.Errorf("a look-up of %q for %q finds %+v, %+v", test.version, test.scope, e, r)
		}
	}
	// When the newest goes, the name leads to the next; to a scoped one last.
	stopping := func(e directory.Entry) directory.Entry { e.State = directory.Stopping; return e }
	end := func(n int, def directory.Definition, path string, then ...directory.Action) exchange {
		return on(directory.Ended{Backend: nth(n), Status: "exited", Now: 2e9}, append(then,
			directory.Notify{Session: 10, Watch: 5, Kind: directory.Gone, Entry: stopping(running(nth(n), def, path)), Reason: "its process exited"},
			directory.EndLease{Lease: nth(n), Reason: "its process exited"})...)
	}
	s.play(
		end(4, two, "/2", directory.Publish{Entry: running(nth(2), one, "/1")}),
		end(2, one, "/1", directory.Publish{Entry: running(nth(6), scoped, "/f1")}),
		end(6, scoped, "/f1", unpublish()))
	s.gone()
}

// TestDeclare: a command on the spot, for as long as its lease is held.
func TestDeclare(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10, 11)
	def := directory.Definition{Hash: "h1", Summary: "/usr/bin/up", Accept: directory.Path, Start: startTime, Stop: stopTime, RetryMin: minRetry, RetryMax: maxRetry}
	other := def
	other.Hash, other.Summary = "h2", "/usr/bin/other"
	file := definition(directory.Path)
	declare := func(lease directory.ID, def directory.Definition, constraint string, files ...directory.Definition) directory.Declare {
		return directory.Declare{Lease: lease, Name: "up", Constraint: constraint, Definition: def, Definitions: files}
	}
	scoped := other
	scoped.Scope = "/f"
	newer := versioned(other, "2.0.0")
	s.play(
		on(request(10, 1, declare(20, def, "", file)), denied(10, 1, directory.Malformed, `name "up" is defined by up.toml, which runs /usr/bin/up: call it without a command`)),
		on(request(10, 2, declare(20, def, "")), granted(10, 2, directory.Reply{ID: 20})),
		on(request(11, 1, declare(21, other, "")), denied(11, 1, directory.NameTaken,
			`name "up" is another command: process 100 (/usr/bin/up) of user 1000 gives /usr/bin/up for it`)),
		on(request(11, 2, declare(21, def, "")), granted(11, 2, directory.Reply{ID: 21})),
		on(request(11, 3, declare(22, scoped, "")), granted(11, 3, directory.Reply{ID: 22})),
		on(request(11, 4, declare(23, newer, "^2")), granted(11, 4, directory.Reply{ID: 23, Version: "2.0.0"})),
		on(request(11, 5, directory.Release{Lease: 23}), directory.EndLease{Lease: 23, Session: 11, Reason: "it was given back"}, granted(11, 5, directory.Reply{})),
		on(request(11, 6, directory.Release{Lease: 22}), directory.EndLease{Lease: 22, Session: 11, Reason: "it was given back"}, granted(11, 6, directory.Reply{})),
		on(ask(30, 1), launch(nth(2), def)),
		on(request(11, 7, directory.Release{Lease: 21}), directory.EndLease{Lease: 21, Session: 11, Reason: "it was given back"}, granted(11, 7, directory.Reply{})),
		on(directory.EndSession{Session: 10, Reason: "exited"}, directory.EndLease{Lease: 20, Session: 10, Reason: "exited"}),
		on(ask(31, 2)), // it starts still
		launched(nth(2), "/run/up", 3),
		on(request(11, 8, declare(24, other, "")), denied(11, 8, directory.NameTaken,
			`name "up" is another command: process 500 (/usr/bin/up) of user 1000 runs /usr/bin/up`)),
		on(directory.Ready{Backend: nth(2), Now: 4},
			directory.Publish{Entry: running(nth(2), def, "/run/up")}, directory.Redirect{Connection: 30, Path: "/run/up"}, directory.Redirect{Connection: 31, Path: "/run/up"}),
		on(directory.Ended{Backend: nth(2), Now: 3e9}, unpublish(), directory.EndLease{Lease: nth(2), Reason: "its process ended"}),
		on(ask(32, 3e9), refuse(32, directory.Unknown, `name "up" is unknown: nobody has it now (switchboard ls shows the names there are)`)),
		on(request(11, 9, declare(24, other, "")), granted(11, 9, directory.Reply{ID: 24})),
		on(ask(33, 3e9), launch(nth(4), other)))
}

// TestDeclaredInANamespace ends with it.
func TestDeclaredInANamespace(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	join(t, s.d, 10, 1, 40, "ci", "/ci")
	enter(t, s.d, 11, 40, "/ci")
	def := definition(directory.Path)
	def.Hash, def.Source = "h", ""
	from := directory.Call{Connection: 30, Namespace: 40, Name: "up", Caller: caller, Now: 1}
	l := launch(nth(2), def)
	l.Key.Namespace = 40
	s.play(
		on(request(11, 1, directory.Declare{Lease: 20, Name: "up", Definition: def}), granted(11, 1, directory.Reply{ID: 20})),
		on(ask(29, 1), refuse(29, directory.Unknown, `name "up" is unknown: nobody has it now (switchboard ls shows the names there are)`)),
		on(from, l), launched(nth(2), "/run/up", 1),
		on(directory.EndSession{Session: 10, Reason: "exited"},
			directory.Stop{Backend: nth(2)},
			refuse(30, directory.Unknown, `service "up" is gone: its namespace ended`),
			directory.CloseSession{Session: 11, Refusal: refusal(directory.Unknown, "namespace /ci ended")},
			directory.EndLease{Lease: 20, Session: 11, Reason: "its namespace ended"}),
		on(directory.Ended{Backend: nth(2), Now: 2}))
	s.gone()
	if c := s.d.Counts(); c.Namespaces != 1 {
		t.Errorf("left are %+v", c)
	}
}

// TestBroken: what cannot be launched says why, and what changes counts from the next instance on.
func TestBroken(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), definition(directory.Path)
	broken := def
	broken.Broken = "up.toml:3: what?"
	changed := def
	changed.Summary = "/usr/bin/up -v"
	s.play(on(ask(30, 0, broken), refuse(30, directory.NotStarted, `service "up" cannot be started: up.toml:3: what?`)))
	s.gone()
	s.play(
		on(ask(31, 0, def), launch(nth(3), def)), on(ask(32, 0, broken)), on(ask(33, 0, changed)), launched(nth(3), "/run/up", 1),
		on(directory.Ready{Backend: nth(3), Now: 2}, directory.Publish{Entry: running(nth(3), def, "/run/up")},
			directory.Redirect{Connection: 31, Path: "/run/up"}, directory.Redirect{Connection: 32, Path: "/run/up"}, directory.Redirect{Connection: 33, Path: "/run/up"}),
		on(directory.Ended{Backend: nth(3), Now: 2e9}, unpublish(), directory.EndLease{Lease: nth(3), Reason: "its process ended"}),
		on(ask(34, 2e9, changed), launch(nth(5), changed)))
}

// TestChangedWayToAccept: processes with a caller of their own are in nobody's way.
func TestChangedWayToAccept(t *testing.T) {
	t.Parallel()
	s, each, all := newScene(t, directory.Limits{}), definition(directory.Connection), definition(directory.Listener)
	s.play(
		on(ask(30, 0, each), launchFor(nth(2), 30, each)), launched(nth(2), "", 0),
		on(directory.Accepted{Backend: nth(2), Now: 1}, directory.Forget{Connection: 30}),
		on(ask(31, 2, all), launch(nth(3), all)), launched(nth(3), "/run/up", 3),
		on(directory.Executed{Backend: nth(3), Now: 4}, directory.Publish{Entry: running(nth(3), all, "/run/up")}, directory.Redirect{Connection: 31, Path: "/run/up"}),
		on(directory.Ended{Backend: nth(3), Now: 5}, unpublish(), directory.EndLease{Lease: nth(3), Reason: "its process ended"}),
		on(directory.Knock{Key: key0(all), Definition: all, Now: 6}, launch(nth(4), all)))
}

// TestAdopt: what an earlier broker launched is found and used.
func TestAdopt(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Listener)
	native := definition(directory.HandedOver)
	native.Version = "2.0.0"
	each := versioned(definition(directory.Connection), "0.1.0")
	adopt := func(def directory.Definition, path string) directory.Adopt {
		return directory.Adopt{Name: "up", Definition: def, Owner: started, Path: path, Since: 77, Now: 1}
	}
	retired := adopt(def, "/2")
	retired.Retired = true
	s.play(
		on(retired, directory.Adopted{Backend: nth(2), Key: key0(def)}), // in any order
		on(adopt(def, "/1"), directory.Publish{Entry: running(nth(3), def, "/1")}, directory.Adopted{Backend: nth(3), Key: key0(def)}),
		on(adopt(native, ""), directory.Adopted{Backend: nth(5), Key: key0(native)}),
		on(adopt(each, ""), directory.Adopted{Backend: nth(7), Key: key0(each)}),
		on(dial(30, "up", 2))) // for the newest, which will be back
	if e, ok := s.d.Entry(nth(2)); !ok || e.State != directory.Retiring {
		t.Errorf("the retired one is %+v, %t", e, ok)
	}
	open := hello(11, directory.Root)
	open.Backend = nth(5)
	e := entry(20, 11, directory.Root, "up")
	e.Backend, e.Version = nth(5), "2.0.0"
	s.play(
		on(open, directory.Welcome{Session: 11, Request: 1, Namespace: "/"}),
		on(request(11, 1, claim(20, "up")), directory.Publish{Entry: e}, granted(11, 1, directory.Reply{ID: 20}), handOver(30, 11, 20)),
		on(directory.Tick{Now: 1 + 250e6}, directory.Count{Backend: nth(2)}),
		on(directory.Counted{Backend: nth(2), Now: 1 + 250e6},
			directory.EndLease{Lease: nth(2), Reason: "it was retired, and its last caller has gone"}, directory.Stop{Backend: nth(2)}))
}

// TestAdoptStarting: one that does not listen yet is waited for, as by the broker that launched it.
func TestAdoptStarting(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
	adopt := directory.Adopt{Name: "up", Definition: def, Owner: started, Path: "/1", Since: 77, Starting: true, Now: 1}
	s.play(
		on(adopt, directory.Adopted{Backend: nth(2), Key: key0(def)}), on(dial(30, "up", 2)),
		on(directory.Ready{Backend: nth(2), Now: 3}, directory.Publish{Entry: running(nth(2), def, "/1")}, directory.Redirect{Connection: 30, Path: "/1"}))

	s = newScene(t, directory.Limits{}, 10)
	s.play(
		on(adopt, directory.Adopted{Backend: nth(2), Key: key0(def)}), on(dial(30, "up", 2)),
		on(directory.NotReady{Backend: nth(2), Now: 1 + def.Start},
			refuse(30, directory.NotStarted, `service "up" did not start: it was not ready within 1000 ms; it is tried again after 100 ms`),
			directory.Stop{Backend: nth(2), Kill: true}))
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
