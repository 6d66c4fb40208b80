// SPDX-License-Identifier: Apache-2.0

package admission

// ReadyCeiling is how long a backend may take to be ready, in milliseconds, if
// nothing else is said (section 8).
const ReadyCeiling = 60_000

var readySteps = [...]uint64{50, 100, 200, 500, 1000, 2000}

// ReadyBackoff returns how long to wait, in milliseconds, after attempt (from
// 0) to reach a backend that is starting.
func ReadyBackoff(attempt int) uint64 {
	return readySteps[min(max(attempt, 0), len(readySteps)-1)]
}

// ReadyWait is ReadyBackoff within a ceiling: waited is how long it has been
// already. It returns 0 when the ceiling is reached.
func ReadyWait(attempt int, waited, ceiling uint64) uint64 {
	if waited >= ceiling {
		return 0
	}
	return min(ReadyBackoff(attempt), ceiling-waited)
}
