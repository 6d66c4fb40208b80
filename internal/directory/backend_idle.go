// SPDX-License-Identifier: Apache-2.0

package directory

const (
	retiredCheck = 250e6 // how often the connections of a retired backend are counted
	longestCheck = 30e9
	shortest     = 20e6
)

// checkAfter sets when the connections of a running backend are counted next.
func (d *Directory) checkAfter(b *backend) {
	switch {
	case b.retired:
		b.deadline = d.now + retiredCheck
	case b.definition.Idle == 0 || b.definition.Accept == Connection:
		b.deadline = 0
		delete(d.timed, b.id)
		return
	default:
		b.deadline = d.now + min(max(b.definition.Idle/4, shortest), longestCheck)
	}
	d.timed[b.id] = struct{}{}
}

// touch notes that a caller is on its way to a backend.
func (d *Directory) touch(l *lease) {
	if b := d.backends[l.backend]; b != nil {
		b.busy = d.now
	}
}

// WouldStop reports whether a backend without connections is to end now.
func (d *Directory) WouldStop(id ID, now int64) bool {
	b := d.backends[id]
	return b != nil && b.state == running && b.definition.Accept != Connection &&
		(b.retired || b.definition.Idle > 0 && now-b.busy >= b.definition.Idle)
}

// Counted answers Count: Open connections at the backend's socket; those that were handed over the directory knows itself.
type Counted struct {
	Backend ID
	Open    int
	Now     int64
}

func (ev Counted) apply(d *Directory) {
	d.clock(ev.Now)
	b := d.backends[ev.Backend]
	if b == nil || b.state != running {
		return
	}
	open := ev.Open
	if l := d.leases[b.lease]; l != nil {
		open += len(l.callers) + len(l.waiting) + l.inFlight
	}
	switch {
	case open > 0:
		b.busy = d.now
		d.checkAfter(b)
	case d.WouldStop(b.id, d.now):
		reason := "nobody has called it for " + duration(b.definition.Idle)
		if b.retired {
			reason = "it was retired, and its last caller has gone"
		}
		d.stop(b, reason, false)
	default:
		d.checkAfter(b)
	}
}
