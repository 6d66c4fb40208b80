// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
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

// gone2 wants nothing but sessions to be left.
func (s *scene) gone2(sessions int) {
	s.t.Helper()
	s.gone()
	if c := s.d.Counts(); c.Sessions != sessions {
		s.t.Errorf("left are %+v", c)
	}
}
