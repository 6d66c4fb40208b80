// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// portEntry is a port called "p" in the root, of a session, or of nobody if that is 0.
func portEntry(lease, session directory.ID, state directory.State) directory.Entry {
	e := directory.Entry{Lease: lease, Session: session, Name: "p", Namespace: directory.Root, Kind: directory.Port, State: state, Since: 1234}
	if session != 0 {
		e.Owner = up
	}
	return e
}

func declared(e directory.Entry) directory.Entry { e.Declared = true; return e }

// left is the entry of a port whose owner has ended.
func left(e directory.Entry) directory.Entry {
	e.Session, e.State = 0, directory.Stopping
	return e
}

// defined is a port of the definition of "up".
func defined(e directory.Entry) directory.Entry {
	e.Declared, e.Service = true, key0(definition(directory.Ports))
	return e
}

func checkIn(session, lease directory.ID, name string) directory.CheckIn {
	return directory.CheckIn{Session: session, Lease: lease, Name: name, Since: 1234}
}

func register(session, lease directory.ID) directory.RegisterPort {
	return directory.RegisterPort{Session: session, Lease: lease, Name: "p", Since: 1234}
}

func create(session, lease directory.ID) directory.CreatePort {
	return directory.CreatePort{Session: session, Lease: lease, Name: "p", Since: 1234}
}

func undeclare(session directory.ID) directory.UndeclarePort {
	return directory.UndeclarePort{Session: session, Name: "p"}
}

func declarePort(lease directory.ID) directory.DeclarePort {
	return directory.DeclarePort{Lease: lease, Name: "p", Service: key0(definition(directory.Ports)), Since: 1234}
}

func made(session, lease directory.ID) directory.PortAnswer {
	return directory.PortAnswer{Session: session, Lease: lease, Made: true}
}

func refusedPort(session directory.ID, r directory.Reason, text string) directory.PortAnswer {
	return directory.PortAnswer{Session: session, Refusal: refusal(r, text)}
}

func publish(e directory.Entry) directory.Publish { return directory.Publish{Entry: e} }

func noPort(name string) directory.Unpublish {
	return directory.Unpublish{Namespace: directory.Root, Name: name}
}

const (
	takenByUp     = `name "p" is taken by process 100 (/usr/bin/up) of user 1000`
	inactivePort  = `name "p" is an inactive port`
	sessionEnded  = "the session has ended"
	namespaceGone = "the namespace of this session has ended"
)

// TestDynamicPort lives with its session.
func TestDynamicPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10, 11)
	s.play(
		on(directory.CheckIn{Session: 10, Lease: 20, Name: "p", Strict: true},
			refusedPort(10, directory.Unknown, `name "p" is unknown: nobody has it now (switchboard ls shows the names there are)`)),
		on(checkIn(10, 20, "p"), publish(portEntry(20, 10, directory.Active)), made(10, 20)),
		on(checkIn(10, 21, "p"), refusedPort(10, directory.NameTaken, takenByUp)), // whoever asks
		on(checkIn(11, 21, "p"), refusedPort(11, directory.NameTaken, takenByUp)),
		on(register(11, 21), refusedPort(11, directory.NameTaken, takenByUp)),
		on(create(11, 21), refusedPort(11, directory.NameTaken, takenByUp)),
		on(undeclare(11), refusedPort(11, directory.NameTaken, takenByUp)),
		on(directory.WithdrawPort{Lease: 20}), on(directory.PortReturned{Lease: 20}),
		on(directory.EndSession{Session: 10, Reason: "it exited"},
			noPort("p"), directory.EndLease{Lease: 20, Session: 10, Reason: "it exited"}),
		on(checkIn(11, 21, "p"), publish(portEntry(21, 11, directory.Active)), made(11, 21)),
		on(directory.PortDied{Lease: 21, Reason: "nobody reads it"},
			noPort("p"), directory.EndLease{Lease: 21, Session: 11, Reason: "nobody reads it"}),
		on(checkIn(10, 22, "p"), refusedPort(10, directory.Denied, sessionEnded)))
	s.gone2(1)
}

// TestRegisteredPort ends with its session or when it dies.
func TestRegisteredPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{NamesPerSession: 1}, 10, 11)
	s.play(
		on(undeclare(10), directory.PortAnswer{Session: 10}), // nobody has it, and nothing happens
		on(register(10, 20), publish(portEntry(20, 10, directory.Registered)), made(10, 20)),
		on(checkIn(11, 21, "p"), refusedPort(11, directory.NameTaken, takenByUp)),
		on(register(10, 21), refusedPort(10, directory.NameTaken, takenByUp)),
		on(undeclare(10), refusedPort(10, directory.NameTaken, takenByUp)),
		on(checkIn(10, 21, "q"), refusedPort(10, directory.LimitHit,
			"a session may have 1 leases: release one, or raise names_per_session in the broker's configuration")),
		on(directory.RegisterPort{Session: 10, Lease: 21, Name: "q"}, refusedPort(10, directory.LimitHit,
			"a session may have 1 leases: release one, or raise names_per_session in the broker's configuration")),
		on(directory.PortDied{Lease: 20, Reason: "it died"}, noPort("p"), directory.EndLease{Lease: 20, Session: 10, Reason: "it died"}),
		on(directory.PortDied{Lease: 20, Reason: "it died"}),
		on(register(11, 21), publish(portEntry(21, 11, directory.Registered)), made(11, 21)),
		on(directory.EndSession{Session: 11, Reason: "it exited"}, noPort("p"), directory.EndLease{Lease: 21, Session: 11, Reason: "it exited"}))
	s.gone2(1)
}

// TestCreatedPort outlives its owners: it is nobody's again once their processes are gone.
func TestCreatedPort(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{PortsPerNamespace: 1}, 10, 11, 12)
	idle, active := declared(portEntry(20, 0, directory.Inactive)), declared(portEntry(20, 11, directory.Active))
	changed := func(e directory.Entry, reason string) directory.Notify {
		return directory.Notify{Session: 12, Watch: 5, Kind: directory.Changed, Entry: e, Reason: reason}
	}
	const leftBehind = `name "p" is taken by processes that process 100 (/usr/bin/up) of user 1000 left behind`
	s.play(
		on(directory.AddWatch{Session: 12, Request: 5, Pattern: "p", Kind: directory.Port}, directory.Answer{Session: 12, Request: 5}),
		on(create(10, 20), publish(idle), directory.Notify{Session: 12, Watch: 5, Kind: directory.Appeared, Entry: idle}, made(10, 20)),
		on(create(10, 21), refusedPort(10, directory.NameTaken, inactivePort)),
		on(directory.CreatePort{Session: 10, Lease: 21, Name: "q"}, refusedPort(10, directory.LimitHit, "a namespace may have 1 declared ports")),
		on(register(10, 21), refusedPort(10, directory.Denied, `port "p" is declared, and has its receive right: check it in`)),
		on(directory.EndSession{Session: 10, Reason: "it exited"}), // it is the namespace's
		on(directory.PortDied{Lease: 20}), on(directory.WithdrawPort{Lease: 20}), on(directory.PortReturned{Lease: 20}),
		on(checkIn(11, 21, "p"), publish(active), changed(active, ""), directory.PortAnswer{Session: 11, Lease: 20}),
		on(checkIn(12, 22, "p"), refusedPort(12, directory.NameTaken, takenByUp)),
		on(create(12, 22), refusedPort(12, directory.NameTaken, takenByUp)),
		on(directory.PortDied{Lease: 20}), // the broker keeps the receive right
		on(directory.EndSession{Session: 11, Reason: "it exited"},
			publish(left(active)), changed(left(active), "it exited"), directory.AwaitReturn{Lease: 20, Session: 11}),
		on(checkIn(12, 22, "p"), refusedPort(12, directory.NameTaken, leftBehind)),
		on(register(12, 22), refusedPort(12, directory.NameTaken, leftBehind)),
		on(undeclare(12), refusedPort(12, directory.NameTaken, leftBehind)),
		on(directory.PortReturned{Lease: 20}, publish(idle), changed(idle, "its receive right has returned")),
		on(undeclare(12), noPort("p"), directory.Notify{Session: 12, Watch: 5, Kind: directory.Gone, Entry: idle, Reason: "it was undeclared"},
			directory.EndLease{Lease: 20, Reason: "it was undeclared"}, directory.PortAnswer{Session: 12, Lease: 20}))
	s.gone2(1)
}

// TestPortsAndServices have one table of names, in whatever version.
func TestPortsAndServices(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{}, 10, 11)
	versioned := claim(22, "p")
	versioned.Version = "1.2.0"
	e := entry(22, 10, directory.Root, "p")
	e.Version = "1.2.0"
	s.play(
		on(create(10, 20), publish(declared(portEntry(20, 0, directory.Inactive))), made(10, 20)),
		on(request(10, 1, versioned), denied(10, 1, directory.NameTaken, inactivePort)),
		on(request(10, 2, claim(22, "p")), denied(10, 2, directory.NameTaken, inactivePort)),
		on(dial(30, "p", 1), refuse(30, directory.WrongKind, `name "p" is a port, not a service`)),
		on(undeclare(10), noPort("p"), directory.EndLease{Lease: 20, Reason: "it was undeclared"}, directory.PortAnswer{Session: 10, Lease: 20}),
		on(request(10, 3, versioned), publish(e), granted(10, 3, directory.Reply{ID: 22})),
		on(checkIn(11, 23, "p"), refusedPort(11, directory.NameTaken, takenByUp)),
		on(create(11, 23), refusedPort(11, directory.NameTaken, takenByUp)),
		on(register(11, 23), refusedPort(11, directory.NameTaken, takenByUp)),
		on(undeclare(11), refusedPort(11, directory.NameTaken, takenByUp)),
		on(declarePort(23)), // a name that is something else stays that
		on(checkIn(10, 24, "q"), publish(named(portEntry(24, 10, directory.Active), "q")), made(10, 24)))
	if got, r := s.d.LookUp(directory.Root, "q", "", "", directory.Port); got.Lease != 24 || r.Reason != directory.OK {
		t.Errorf("a look-up of the port finds %+v, %+v", got, r)
	}
	if _, r := s.d.LookUp(directory.Root, "q", "", "", directory.Service); r.Reason != directory.WrongKind {
		t.Errorf("a look-up of a service that is a port: %+v", r)
	}
	if _, r := s.d.LookUp(directory.Root, "p", "", "", directory.Port); r.Reason != directory.WrongKind {
		t.Errorf("a look-up of a port that is a service: %+v", r)
	}
}

func named(e directory.Entry, name string) directory.Entry { e.Name = name; return e }

// TestDeclaredWhileItsSliceIsDue: a declared port does not look absent while its ended owner has leases left to be ended.
func TestDeclaredWhileItsSliceIsDue(t *testing.T) {
	t.Parallel()
	s := newScene(t, directory.Limits{Slice: 1}, 10, 11)
	idle, active := declared(portEntry(20, 0, directory.Inactive)), declared(portEntry(20, 10, directory.Active))
	q := named(portEntry(21, 10, directory.Active), "q")
	s.play(
		on(create(10, 20), publish(idle), made(10, 20)),
		on(checkIn(10, 21, "p"), publish(active), directory.PortAnswer{Session: 10, Lease: 20}),
		on(checkIn(10, 21, "q"), publish(q), made(10, 21)),
		on(checkIn(10, 22, "r"), publish(named(portEntry(22, 10, directory.Active), "r")), made(10, 22)),
		on(directory.EndSession{Session: 10, Reason: "it exited"}, noPort("r"), directory.EndLease{Lease: 22, Session: 10, Reason: "it exited"}),
		on(checkIn(11, 23, "p"), refusedPort(11, directory.NameTaken, takenByUp)),
		on(checkIn(11, 23, "q"), // a dynamic one has ended
			noPort("q"), directory.EndLease{Lease: 21, Session: 10, Reason: "it exited"},
			publish(named(portEntry(23, 11, directory.Active), "q")), made(11, 23)),
		on(directory.Continue{}, publish(left(active)), directory.AwaitReturn{Lease: 20, Session: 10}),
		on(directory.PortReturned{Lease: 20}, publish(idle)))
}
