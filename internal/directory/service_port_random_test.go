// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// ports are the leases of all ports, in order.
func (w *world) ports() (ids []directory.ID) {
	for _, n := range w.d.Export().Names {
		if n.Port {
			ids = append(ids, n.Entry.Lease)
		}
	}
	return ids
}

// portStep is a random event of ports.
func (w *world) portStep(s step, def directory.Definition) {
	w.t.Helper()
	name := pick(s.C, "up", "p", "q")
	key := directory.Key{Namespace: directory.Root, Name: "up"}
	switch port := choose(w.ports(), s.D); s.B % 8 {
	case 0:
		w.apply(directory.DeclarePort{Lease: w.id(), Name: name, Service: key, OnMessage: s.D%2 == 0, Since: 7, Now: w.now})
	case 1:
		if s.D%4 == 0 {
			w.apply(directory.WithdrawPort{Lease: port, Now: w.now})
		}
	case 2:
		w.apply(directory.CheckIn{Session: w.session(s.D), Lease: w.id(), Name: name, Since: 8, Now: w.now})
	case 3:
		w.apply(directory.RegisterPort{Session: w.session(s.D), Lease: w.id(), Name: name, Since: 8, Now: w.now})
	case 4:
		w.apply(directory.CreatePort{Session: w.session(s.D), Lease: w.id(), Name: name, Since: 8, Now: w.now})
	case 5:
		w.apply(directory.PortReturned{Lease: port, Now: w.now})
	case 6:
		w.apply(directory.PortDied{Lease: port, Reason: "it died", Now: w.now})
	default:
		def.Accept, def.Ports, def.Notify, def.Probed, def.Idle = directory.Ports, []string{"p", "q"}, false, false, 0
		def.Version, def.Scope = "", ""
		w.apply(directory.Knock{Key: key, Definition: def, Now: w.now})
	}
}

// portAnswered wants the ports of a definition to be its service's.
func (w *world) portAnswered(a directory.PortAnswer) {
	w.t.Helper()
	e, ok := w.d.Entry(a.Lease)
	if a.Refusal.Reason != directory.OK || !ok || e.State != directory.Active || e.Service.Name == "" {
		return
	}
	img := w.d.Export()
	for _, b := range img.Backends {
		for _, svc := range img.Services {
			if b.ID == e.Backend && b.Service == svc.ID && svc.Key == e.Service && b.CheckedIn {
				return
			}
		}
	}
	w.fail("%+v checked in a port of %+v", a, e.Service)
}

// endPorts ends the ports that do not end with sessions.
func (w *world) endPorts() {
	w.t.Helper()
	session := w.hello(directory.Root, 0)
	for _, id := range w.ports() {
		w.apply(directory.PortReturned{Lease: id, Now: w.now})
		w.apply(directory.WithdrawPort{Lease: id, Now: w.now})
		if e, ok := w.d.Entry(id); ok {
			w.apply(directory.UndeclarePort{Session: session, Name: e.Name, Now: w.now})
		}
	}
	delete(w.sessions, session)
	w.apply(directory.EndSession{Session: session, Reason: "exited", Now: w.now})
}
