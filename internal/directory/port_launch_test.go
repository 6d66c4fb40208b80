// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// withPorts is a definition of "up" whose port is "p".
func withPorts() directory.Definition {
	def := definition(directory.Ports)
	def.Ports = []string{"p"}
	return def
}

func knock(def directory.Definition, now int64) directory.Knock {
	return directory.Knock{Key: key0(def), Definition: def, Now: now}
}

// backendSession opens the session of a process that was launched.
func backendSession(session, backend directory.ID) exchange {
	ev := lingering(session, directory.Root)
	ev.Backend = backend
	return on(ev, directory.Welcome{Session: session, Request: 1, Namespace: "/"})
}

func ended(backend directory.ID, failed bool, now int64) directory.Ended {
	return directory.Ended{Backend: backend, Status: "exited", Failed: failed, Now: now}
}

// TestPortOfADefinition is for the processes of its service, one after the other.
func TestPortOfADefinition(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	def := withPorts()
	idle, active := defined(portEntry(20, 0, directory.Inactive)), defined(portEntry(20, 12, directory.Active))
	active.Backend = nth(2)
	s.play(on(declarePort(20), publish(idle)), on(declarePort(21)))
	if n := s.d.Leases(); n != 0 {
		t.Errorf("%d leases keep the broker", n)
	}
	s.play(
		on(checkIn(10, 22, "p"), refusedPort(10, directory.Denied, `port "p" is for the process that the broker launches for service "up"`)),
		on(undeclare(10), refusedPort(10, directory.Denied, `port "p" has a definition, that of service "up": change that`)),
		on(register(10, 22), refusedPort(10, directory.Denied, `port "p" is declared, and has its receive right: check it in`)),
		on(ask(30, 1, def), refuse(30, directory.WrongKind, `service "up" has no callers, but ports: p`)),
		on(knock(def, 1), launch(nth(2), def)),
		on(knock(def, 2)),
		on(ask(31, 2), refuse(31, directory.WrongKind, `service "up" has no callers, but ports: p`)),
		launched(nth(2), "", 3),
		on(directory.Executed{Backend: nth(2), Now: 4}), // no name of its own
		backendSession(12, nth(2)),
		on(checkIn(12, 22, "p"), publish(active), directory.PortAnswer{Session: 12, Lease: 20}),
		on(checkIn(10, 22, "p"), refusedPort(10, directory.NameTaken, takenByUp)), // before it is Denied
		on(directory.EndSession{Session: 12, Reason: "it exited"}, publish(left(active)), directory.AwaitReturn{Lease: 20, Session: 12}),
		on(ended(nth(2), true, 2e9)), // long after its start: it is launched again at once
		on(knock(def, 2e9), launch(nth(4), def)),
		on(directory.PortReturned{Lease: 20}, publish(idle)),
		launched(nth(4), "", 2e9),
		backendSession(13, nth(4)))
	active.Session, active.Backend = 13, nth(4)
	onMessage := active
	onMessage.OnMessage = true
	update := declarePort(23)
	update.OnMessage = true
	s.play(
		on(checkIn(13, 23, "p"), publish(active), directory.PortAnswer{Session: 13, Lease: 20}),
		on(update, publish(onMessage)),
		on(directory.WithdrawPort{Lease: 20}),
		on(directory.EndSession{Session: 13, Reason: "it exited"}, noPort("p"), directory.EndLease{Lease: 20, Session: 13, Reason: "it exited"}))
}

// TestWithdrawnPort ends when nobody has it, and is taken back by a definition that comes before.
func TestWithdrawnPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10, 11)
	const gone = "its definition is gone"
	idle, created := defined(portEntry(20, 0, directory.Inactive)), declared(portEntry(21, 0, directory.Inactive))
	adopted := defined(created)
	s.play(
		on(declarePort(20), publish(idle)),
		on(directory.WithdrawPort{Lease: 20}, noPort("p"), directory.EndLease{Lease: 20, Reason: gone}),
		on(create(10, 21), publish(created), made(10, 21)),
		on(declarePort(22), publish(adopted)), // it becomes the definition's
		on(knock(withPorts(), 1), launch(nth(2), withPorts())), launched(nth(2), "", 1),
		backendSession(12, nth(2)))
	active := defined(portEntry(21, 12, directory.Active))
	active.Backend = nth(2)
	s.play(
		on(checkIn(12, 22, "p"), publish(active), directory.PortAnswer{Session: 12, Lease: 21}),
		on(directory.WithdrawPort{Lease: 21}),
		on(declarePort(23), publish(active)), // taken back
		on(directory.EndSession{Session: 12, Reason: "it exited"}, publish(left(active)), directory.AwaitReturn{Lease: 21, Session: 12}),
		on(directory.WithdrawPort{Lease: 21}),
		on(directory.PortReturned{Lease: 21}, noPort("p"), directory.EndLease{Lease: 21, Reason: gone}),
		on(directory.PortReturned{Lease: 21}))
}

// TestPortsNotCheckedIn: a process that checks in no port has failed, however it ends.
func TestPortsNotCheckedIn(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	def := withPorts()
	start := func(backend directory.ID, now int64) {
		t.Helper()
		s.play(on(knock(def, now), launch(backend, def)), launched(backend, "", now), on(directory.Executed{Backend: backend, Now: now}))
	}
	flush := directory.Flush{Key: key0(def)}
	failure := func(want string) {
		t.Helper()
		if _, r := s.d.Failure(key0(def)); r.Text != want {
			t.Errorf("the failure is %q, want %q", r.Text, want)
		}
	}
	start(nth(2), 0)
	s.play(on(ended(nth(2), false, 3e9), flush), on(knock(def, 3e9), flush)) // late, and with success
	failure(`service "up" did not start: it exited before it checked in a port`)
	if r := s.d.Retry(key0(def), 3e9); r.After != minRetry {
		t.Errorf("it is tried again after %d", r.After)
	}
	start(nth(3), 3e9+minRetry)
	s.play(on(ended(nth(3), true, 4e9), flush), on(knock(def, 4e9+minRetry), flush)) // twice as long
	start(nth(4), 4e9+2*minRetry)
	s.play(backendSession(12, nth(4)))
	e := portEntry(20, 12, directory.Active)
	e.Backend = nth(4)
	s.play(
		on(checkIn(12, 20, "p"), publish(e), made(12, 20)),
		on(directory.EndSession{Session: 12, Reason: "it exited"}, noPort("p"), directory.EndLease{Lease: 20, Session: 12, Reason: "it exited"}),
		on(ended(nth(4), true, 5e9), flush)) // early
	failure(`service "up" did not start: it exited`)
	start(nth(5), 6e9)
	s.play(
		backendSession(13, nth(5)))
	e.Session, e.Backend, e.Lease = 13, nth(5), 21
	s.play(
		on(checkIn(13, 21, "p"), publish(e), made(13, 21)),
		on(directory.EndSession{Session: 13, Reason: "it exited"}, noPort("p"), directory.EndLease{Lease: 21, Session: 13, Reason: "it exited"}),
		on(ended(nth(5), true, 9e9)))
	s.gone()
}

// TestPortsAreNotTwos: a process with ports ends before the next is launched.
func TestPortsAreNotTwos(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	def, sel := withPorts(), directory.Select{Name: "up"}
	stop := directory.Stop{Backend: nth(2)}
	s.play(
		on(request(10, 1, directory.Restart{Select: sel, Definitions: []directory.Definition{def}}),
			launch(nth(2), def), granted(10, 1, directory.Reply{Backends: []directory.ID{nth(2)}})),
		launched(nth(2), "", 1),
		on(directory.Executed{Backend: nth(2), Now: 2}, directory.Tell{Session: 10, Backend: nth(2), Started: true}),
		on(request(10, 2, directory.Restart{Select: sel, Definitions: []directory.Definition{def}}), stop, granted(10, 2, directory.Reply{})),
		on(knock(def, 3)), // its end is waited for
		on(declarePort(20), publish(defined(portEntry(20, 0, directory.Inactive)))),
		backendSession(12, nth(2)),
		on(checkIn(12, 21, "p"), refusedPort(12, directory.Denied, `port "p" is for the process that the broker launches for service "up"`)),
		on(directory.WithdrawPort{Lease: 20}, noPort("p"), directory.EndLease{Lease: 20, Reason: "its definition is gone"}),
		on(ended(nth(2), false, 4)),
		on(knock(def, 5), launch(nth(4), def)), launched(nth(4), "", 5),
		on(directory.Executed{Backend: nth(4), Now: 6}),
		on(request(10, 3, directory.RetireBackends{Select: sel}), directory.Stop{Backend: nth(4)}, granted(10, 3, directory.Reply{Backends: []directory.ID{nth(4)}})),
		on(ended(nth(4), false, 7)))
	s.gone()
}

// TestRestartWithPorts: who waits for a service that is restarted as one with ports only is refused, and has nothing launched.
func TestRestartWithPorts(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{InFlightPerName: 1}, 9), definition(directory.HandedOver)
	s.play(on(ask(30, 0, def), launch(nth(2), def)))
	s.native(2, 10, 20, def, 1, 30)
	s.play(
		on(ask(31, 2, def)),
		on(request(9, 1, directory.Restart{Select: directory.Select{Name: "up"}, Definitions: []directory.Definition{withPorts()}}),
			unpublish(), directory.Retire{Backend: nth(2), Key: key0(def)}, refuse(31, directory.WrongKind, `service "up" has no callers, but ports: p`),
			launch(nth(3), withPorts()), granted(9, 1, directory.Reply{Backends: []directory.ID{nth(3)}})),
		launched(nth(3), "", 3),
		on(directory.Executed{Backend: nth(3), Now: 4}, directory.Tell{Session: 9, Backend: nth(3), Started: true}),
		on(request(9, 2, directory.RetireBackends{Select: directory.Select{Name: "up"}}),
			directory.Stop{Backend: nth(3)}, granted(9, 2, directory.Reply{Backends: []directory.ID{nth(2), nth(3)}})),
		on(ended(nth(3), false, 5)))
}

// TestPortHidesADefinition: what has the name of a port is not launched.
func TestPortHidesADefinition(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10)
	e := portEntry(20, 10, directory.Active)
	e.Name = "up"
	listener := versioned(definition(directory.Listener), "1.2.0")
	s.play(
		on(checkIn(10, 20, "up"), publish(e), made(10, 20)),
		on(ask(30, 1, versioned(definition(directory.Path), "1.2.0")), refuse(30, directory.WrongKind, `name "up" is a port, not a service`)),
		on(knock(listener, 1), directory.Flush{Key: key0(listener)}),
		on(request(10, 1, directory.StopBackends{Select: directory.Select{Name: "up"}}),
			denied(10, 1, directory.WrongKind, `name "up" is a port, not a service that the broker launches`)),
		on(directory.PortDied{Lease: 20, Reason: "it died"}, unpublish(), directory.EndLease{Lease: 20, Session: 10, Reason: "it died"}),
		on(knock(listener, 2), launch(nth(3), listener)),
		on(checkIn(10, 21, "up"), refusedPort(10, directory.NameTaken, `name "up" is taken: the broker has launched /usr/bin/up for it`)))
}

// TestAdoptedPorts: a process that an earlier broker launched has no name of its own either.
func TestAdoptedPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{})
	def := withPorts()
	s.play(
		on(declarePort(20), publish(defined(portEntry(20, 0, directory.Inactive)))),
		on(directory.Adopt{Name: "up", Definition: def, Owner: started, Starting: true}, directory.Adopted{Backend: nth(2), Key: key0(def)}),
		backendSession(12, nth(2)))
	e := defined(portEntry(20, 12, directory.Active))
	e.Backend = nth(2)
	s.play(on(checkIn(12, 21, "p"), publish(e), directory.PortAnswer{Session: 12, Lease: 20}), on(knock(def, 1)))
}

// TestDeclaredPorts: which ports a command on the spot may have.
func TestDeclaredPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10, 11)
	declare := func(lease directory.ID, name string, ports ...string) directory.Declare {
		def := withPorts()
		def.Hash, def.Source, def.Ports = name, "", ports
		return directory.Declare{Lease: lease, Name: name, Definition: def}
	}
	dynamic := portEntry(20, 10, directory.Active)
	s.play(
		on(checkIn(10, 20, "p"), publish(dynamic), made(10, 20)),
		on(request(11, 1, declare(30, "up", "p", "q")), granted(11, 1, directory.Reply{ID: 30})), // "p", as soon as it is free
		on(request(10, 1, declare(31, "up", "p", "q")), granted(10, 1, directory.Reply{ID: 31})),
		on(request(10, 2, declare(32, "other", "q")), denied(10, 2, directory.NameTaken,
			`name "q" is one of service "up": process 100 (/usr/bin/up) of user 1000 gives /usr/bin/up for it`)),
		on(request(10, 3, declare(32, "other", "up")), denied(10, 3, directory.NameTaken,
			`name "up" is one of service "up": process 100 (/usr/bin/up) of user 1000 gives /usr/bin/up for it`)),
		on(request(10, 4, claim(33, "mine")), publish(entry(33, 10, directory.Root, "mine")), granted(10, 4, directory.Reply{ID: 33})),
		on(request(11, 2, declare(34, "other", "mine")), denied(11, 2, directory.NameTaken, `name "mine" is taken by process 100 (/usr/bin/up) of user 1000`)))
	if !s.d.Declared(30) || s.d.Declared(32) || s.d.Declared(20) {
		t.Error("other declarations are held")
	}
	s.play(
		on(directory.EndSession{Session: 10, Reason: "exited"},
			noPort("mine"), directory.EndLease{Lease: 33, Session: 10, Reason: "exited"},
			directory.EndLease{Lease: 31, Session: 10, Reason: "exited"},
			noPort("p"), directory.EndLease{Lease: 20, Session: 10, Reason: "exited"}),
		on(declarePort(21), publish(defined(portEntry(21, 0, directory.Inactive)))),
		on(request(11, 3, declare(34, "third", "p")), denied(11, 3, directory.NameTaken, `port "p" is one of service "up"`)))
}
