// SPDX-License-Identifier: Apache-2.0

package admission

// window counts what happens in a span of time that begins with the first
// event, and anew with the first one after its end. Times are in the unit of whoever
// asks.
type window struct {
	Start uint64
	Used  int
}

func (w window) over(now, length uint64) bool { return now-w.Start >= length }

// take counts an event, and returns 0; or, if there have been limit, the
// time until the window ends, at least 1.
func (w *window) take(now uint64, limit int, length uint64) (retryAfter uint64) {
	if w.Used == 0 || w.over(now, length) {
		*w = window{Start: now}
	}
	if w.Used >= limit {
		return w.Start + length - now
	}
	w.Used++
	return 0
}
