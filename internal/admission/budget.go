// SPDX-License-Identifier: Apache-2.0

package admission

// Numbers of the original's budget for launches (section 8).
const (
	DefaultAttempts      = 3
	DefaultAttemptWindow = 30_000 // milliseconds
)

// Budget limits how often one backend is launched in a window of time. The
// zero value is ready.
type Budget struct {
	Attempts int    // of a window; 0: DefaultAttempts
	Window   uint64 // milliseconds; 0: DefaultAttemptWindow

	window window
}

func (b *Budget) limits() (attempts int, length uint64) {
	attempts, length = b.Attempts, b.Window
	if attempts <= 0 {
		attempts = DefaultAttempts
	}
	if length == 0 {
		length = DefaultAttemptWindow
	}
	return attempts, length
}

// Take counts an attempt, and returns 0; or, if there have been too many, the
// milliseconds until the window ends, at least 1.
func (b *Budget) Take(now uint64) (retryAfter uint64) {
	attempts, length := b.limits()
	return b.window.take(now, attempts, length)
}

// Remaining returns how many attempts the window has left.
func (b *Budget) Remaining(now uint64) int {
	attempts, length := b.limits()
	if b.window.over(now, length) {
		return attempts
	}
	return max(attempts-b.window.used, 0)
}

// Reset forgets the attempts: one has succeeded.
func (b *Budget) Reset() { b.window = window{} }

// Idle reports whether there is nothing to remember.
func (b *Budget) Idle(now uint64) bool {
	_, length := b.limits()
	return b.window.used == 0 || b.window.over(now, length)
}
