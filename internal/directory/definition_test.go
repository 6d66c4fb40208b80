// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

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
