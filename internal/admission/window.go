// SPDX-License-Identifier: Apache-2.0

package admission

// window counts what happens in a span of time that begins with the first
// event, and anew with the first one after its end.
type window struct {
	start uint64 // milliseconds
	used  int
}

func (w window) over(now, length uint64) bool { return now-w.start >= length }

// take counts an event, and returns 0; or, if there have been limit, the
// milliseconds until the window ends, at least 1.
func (w *window) take(now uint64, limit int, length uint64) (retryAfter uint64) {
	if w.used == 0 || w.over(now, length) {
		*w = window{start: now}
	}
	if w.used >= limit {
		return w.start + length - now
	}
	w.used++
	return 0
}
