// SPDX-License-Identifier: Apache-2.0

package admission

// Numbers of the original's rate limit for Hellos (section 5).
const (
	DefaultHellos      = 256
	DefaultHelloWindow = 1000 // milliseconds
)

// HelloRate limits how many Hellos a process may send in a window of time. The
// zero value is ready.
type HelloRate struct {
	Limit  int    // Hellos of a window; 0: DefaultHellos
	Window uint64 // milliseconds; 0: DefaultHelloWindow

	windows map[uint32]window
	sweepAt int // how many entries make the next sweep
}

// Take counts a Hello of that process, and returns 0; or, if there have been
// too many, the milliseconds until its window ends, at least 1. Process 0, which
// is unknown, is never refused. Entries whose window is over are evicted when
// there are twice as many as the last time.
func (r *HelloRate) Take(pid uint32, now uint64) (retryAfter uint64) {
	if pid == 0 {
		return 0
	}
	limit, length := r.Limit, r.Window
	if limit <= 0 {
		limit = DefaultHellos
	}
	if length == 0 {
		length = DefaultHelloWindow
	}
	if r.windows == nil {
		r.windows, r.sweepAt = make(map[uint32]window), minSweep
	}
	w, known := r.windows[pid]
	if !known && len(r.windows) >= r.sweepAt {
		for p, old := range r.windows {
			if old.over(now, length) {
				delete(r.windows, p)
			}
		}
		r.sweepAt = max(minSweep, 2*len(r.windows))
	}
	retryAfter = w.take(now, limit, length)
	r.windows[pid] = w
	return retryAfter
}

const minSweep = 64

// Forget evicts a process, which has ended.
func (r *HelloRate) Forget(pid uint32) { delete(r.windows, pid) }

// Len returns how many processes are remembered.
func (r *HelloRate) Len() int { return len(r.windows) }
