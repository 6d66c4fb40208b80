// SPDX-License-Identifier: Apache-2.0

package directory

// Adopt takes in a process that an earlier broker launched and that still runs. The answer is Adopted.
type Adopt struct {
	Name       string
	Definition Definition
	Owner      Peer
	Path       string
	Since      int64
	Retired    bool  // newcomers were kept from it
	Starting   bool  // it does not listen on its path yet
	Begun      int64 // when it was launched, in the time of Now
	Now        int64
}

func (ev Adopt) apply(d *Directory) {
	d.clock(ev.Now)
	svc := d.serviceOf(d.namespaces[Root], ev.Name, ev.Definition)
	b := &backend{
		id: d.draw(), service: svc.id, definition: ev.Definition, state: running, launched: true, notified: true, checkedIn: true, owner: ev.Owner,
		path: ev.Path, since: ev.Since, begun: ev.Begun, busy: d.now,
	}
	d.backends[b.id] = b
	svc.backends = append(svc.backends, b.id)
	switch {
	case ev.Definition.Accept == Connection:
		l := d.own(b, svc)
		d.leases[l.id] = l
	case ev.Retired || svc.current != 0:
		b.retired = true
		if ev.Definition.Accept != HandedOver && ev.Definition.Accept != Ports {
			l := d.own(b, svc)
			l.state = Retiring
			d.leases[l.id] = l
		}
	case ev.Starting && ev.Definition.Accept != Ports:
		svc.current = b.id
		b.state, b.deadline, b.notified = starting, d.now+b.definition.Start, false
		d.timed[b.id] = struct{}{}
		d.do(Adopted{Backend: b.id, Key: svc.key()})
		return
	default:
		svc.current = b.id
		if ev.Definition.Accept != HandedOver && ev.Definition.Accept != Ports {
			d.list(d.own(b, svc))
		}
	}
	d.checkAfter(b)
	d.do(Adopted{Backend: b.id, Key: svc.key()})
}
