// SPDX-License-Identifier: Apache-2.0

package directory

// What is Probed is launched as often as the running-process broker would (its sections 8 and 18): 3 starts in 30 s, which a success
// makes forgotten; and after a crash once more, then not before 30 s are over.
const (
	spawnAttempts = 3
	spawnWindow   = 30e9
	spawnRetry    = 1e9   // after one that failed
	crashRetry    = 250e6 // after the first crash
	crashSoon     = 1e9   // an end so soon after the launch is one, whatever the status
)

// budget is the starts and the crashes of a service, each with the time of the first that counts.
type budget [4]int64

const (
	attemptsSince = iota
	attempts
	crashesSince
	crashes
)

// count adds one, and reports how many there are since when.
func (s *budget) count(since, n int, now int64) (int64, int64) {
	if s[n] == 0 || now >= s[since]+spawnWindow {
		s[since], s[n] = now, 0
	}
	s[n]++
	return s[n], s[since]
}

// spawnDelay is how long after a failed start the next may be.
func (s *budget) spawnDelay(now int64) int64 {
	if s[attempts] >= spawnAttempts {
		return max(s[attemptsSince]+spawnWindow-now, 1e6)
	}
	return spawnRetry
}

// crashed notes that a process which was ready has failed.
func (d *Directory) crashed(svc *service, b *backend, why string) {
	n, since := svc.spawns.count(crashesSince, crashes, d.now)
	svc.notBefore = d.now + crashRetry
	if n > 1 {
		svc.notBefore = since + spawnWindow
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
	return Retry{svc.notBefore - now, svc.spawns[attempts] >= spawnAttempts, svc.reason}
}

// Budgets calls f with each service that is Probed, how many starts it has used and has left, until when that counts (0: nothing is
// used), and whether one is under way.
func (d *Directory) Budgets(now int64, f func(key Key, used, left int, until int64, starting bool)) {
	for _, svc := range byID(d.services) {
		if !svc.definition.Probed {
			continue
		}
		used, until := int64(0), int64(0)
		if now < svc.spawns[attemptsSince]+spawnWindow && svc.spawns[attempts] > 0 {
			used, until = svc.spawns[attempts], svc.spawns[attemptsSince]+spawnWindow
		}
		b := d.backends[svc.current]
		f(svc.key(), int(used), max(0, spawnAttempts-int(used)), until, b != nil && b.state == starting)
	}
}
