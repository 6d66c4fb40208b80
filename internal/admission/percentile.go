// SPDX-License-Identifier: Apache-2.0

package admission

import "math"

// NearestRank returns the p-th percentile (0 < p ≤ 100) of samples, which are
// sorted: the one at index ceil(n·p/100) − 1. There must be one at least.
func NearestRank[T any](sorted []T, p float64) T {
	rank := int(math.Ceil(float64(len(sorted)) * p / 100))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Gate is what a run of Hellos must reach (section 17).
type Gate struct {
	P50, P99 uint64 // microseconds
	Samples  int
}

// DefaultGate is the original's, after 256 Hellos that do not count.
var DefaultGate = Gate{P50: 200, P99: 1000, Samples: 10_000}

// Met reports whether samples, which are sorted and in microseconds, do.
func (g Gate) Met(sorted []uint64) bool {
	return len(sorted) > 0 && len(sorted) >= g.Samples && NearestRank(sorted, 50) <= g.P50 && NearestRank(sorted, 99) <= g.P99
}
