// SPDX-License-Identifier: Apache-2.0

package directory

import "github.com/switchboard-ipc/switchboard/internal/admission"

// What is Probed is launched as often as the running-process broker would (its sections 8 and 18): 3 starts in 30 s, which a success
// makes forgotten; and after a crash once more, then not before 30 s are over.
const (
	spawnAttempts = 3
	spawnWindow   = 30e9
	spawnRetry    = 1e9   // after one that failed
	crashRetry    = 250e6 // after the first crash
	crashSoon     = 1e9   // an end so soon after the launch is one, whatever the status
)

// spawnBudget and crashBudget are those of a new service, in nanoseconds.
func spawnBudget() admission.Budget {
	return admission.Budget{Attempts: spawnAttempts, Window: spawnWindow}
}

func crashBudget() admission.Budget { return admission.Budget{Attempts: 1, Window: spawnWindow} }

// spawnDelay is how long after a failed start the next may be.
func (svc *service) spawnDelay(now int64) int64 {
	if spent, ends := svc.spawns.Spent(); spent {
		return max(int64(ends)-now, 1e6)
	}
	return spawnRetry
}

// crashed notes that a process which was ready has failed.
func (d *Directory) crashed(svc *service, b *backend, why string) {
	svc.notBefore = d.now + crashRetry
	if wait := svc.crashes.Take(uint64(d.now)); wait > 0 {
		svc.notBefore = d.now + int64(wait)
	}
	svc.failures++
	svc.reason, svc.failedLast = why, b.id
}

// Retry is when and why a service may be launched again.
type Retry struct {
	After     int64  // nanoseconds from now; 0: at once
	Exhausted bool   // its starts are used up; else the last one failed
	Reason    string // of the last failure
}

// Retry returns what keeps a service from being launched.
func (d *Directory) Retry(key Key, now int64) Retry {
	ns := d.namespaces[key.Namespace]
	if ns == nil {
		return Retry{}
	}
	svc := ns.service(key.Name, key.Version, key.Scope)
	if svc == nil || svc.notBefore <= now {
		return Retry{}
	}
	spent, _ := svc.spawns.Spent()
	return Retry{svc.notBefore - now, spent, svc.reason}
}

// Budgets calls f with each service that is Probed, how many starts it has used and has left, until when that counts (0: nothing is
// used), and whether one is under way.
func (d *Directory) Budgets(now int64, f func(key Key, used, left int, until int64, starting bool)) {
	for _, svc := range byID(d.services) {
		if !svc.definition.Probed {
			continue
		}
		used, until := 0, int64(0)
		if !svc.spawns.Idle(uint64(now)) {
			_, ends := svc.spawns.Spent()
			used, until = svc.spawns.Counted.Used, int64(ends)
		}
		b := d.backends[svc.current]
		f(svc.key(), used, svc.spawns.Remaining(uint64(now)), until, b != nil && b.state == starting)
	}
}
