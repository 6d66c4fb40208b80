// SPDX-License-Identifier: Apache-2.0

package admission

// Numbers of the original's budget for launches (section 8).
const (
	DefaultAttempts      = 3
	DefaultAttemptWindow = 30_000 // milliseconds
)

// Budget limits how often one backend is launched in a window of time. The
// zero value is ready. It is plain data.
type Budget struct {
	Attempts int    // of a window; 0: DefaultAttempts
	Window   uint64 // its length, and so the unit of all times; 0: DefaultAttemptWindow
	Counted  window // so far
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
// time until the window ends, at least 1.
func (b *Budget) Take(now uint64) (retryAfter uint64) {
	attempts, length := b.limits()
	return b.Counted.take(now, attempts, length)
}

// Remaining returns how many attempts the window has left.
func (b *Budget) Remaining(now uint64) int {
	attempts, length := b.limits()
	if b.Counted.over(now, length) {
		return attempts
	}
	return max(attempts-b.Counted.Used, 0)
}

// Spent reports whether all attempts of the last window are used, and when that
// ends or has ended.
func (b *Budget) Spent() (spent bool, ends uint64) {
	attempts, length := b.limits()
	return b.Counted.Used >= attempts, b.Counted.Start + length
}

// Reset forgets the attempts: one has succeeded.
func (b *Budget) Reset() { b.Counted = window{} }

// Idle reports whether there is nothing to remember.
func (b *Budget) Idle(now uint64) bool {
	_, length := b.limits()
	return b.Counted.Used == 0 || b.Counted.over(now, length)
}
