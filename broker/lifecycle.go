// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// lifecycleKept is how many events of backends DUMP tells.
const lifecycleKept = 256

// lifecycle is what happened to backends, the latest last. The broker's lock guards it.
type lifecycle struct{ events []admin.Event }

// note remembers an event of a backend. The lock is held.
func (b *Broker) note(be *backend, kind envelope.EventKind, reason string) {
	e := admin.Event{
		UnixMS: uint64(time.Now().UnixMilli()), Service: be.key.Name, Kind: kind.String(), Reason: reason,
		Severity: 9, SeverityText: "INFO", Instance: "shared", Extra: map[string]string{"version": be.key.Version},
	}
	if be.process != nil {
		e.PID = uint32(be.process.PID)
	}
	if kind == envelope.EventDiedCrash {
		e.Severity, e.SeverityText = 17, "ERROR"
	}
	l := &b.lifecycle
	if len(l.events) >= lifecycleKept {
		l.events = slices.Delete(l.events, 0, len(l.events)-lifecycleKept+1)
	}
	l.events = append(l.events, e)
}

// noteDeath remembers how a backend ended. The lock is held.
func (b *Broker) noteDeath(be *backend, status string, failed bool) {
	if be.definition.Probed && !be.listens {
		outcome := admin.SpawnFailed
		if be.stopped {
			outcome = admin.SpawnTimedOut
		}
		b.metrics.SpawnAttempt(be.key.Name, be.key.Version, outcome)
	}
	switch {
	case be.idle:
		b.note(be, envelope.EventDiedIdle, status)
	case failed && !be.stopped:
		b.note(be, envelope.EventDiedCrash, status)
	default:
		b.note(be, envelope.EventDiedShutdown, status)
	}
}
