// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"fmt"
	"slices"
	"strings"
)

// Row is one line of the table: a figure of ours, beside a peer's or alone.
type Row struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit,omitempty"` // of ours and peer: "/s", "µs", "ms", "MiB", "KiB"
	Ours     float64 `json:"ours"`           // median of the rounds
	Peer     float64 `json:"peer,omitempty"` // median of the rounds; 0: compared with nothing
	PeerName string  `json:"peer_name,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // ours / peer: median of the rounds' ratios
	Low      float64 `json:"low,omitempty"`   // the smallest of them
	High     float64 `json:"high,omitempty"`  // the largest of them
	Wanted   string  `json:"wanted,omitempty"`
	Met      *bool   `json:"met,omitempty"`     // nil: nothing is wanted of it
	Skipped  string  `json:"skipped,omitempty"` // why it was not measured
	Note     string  `json:"note,omitempty"`
}

// Limit is what is wanted of a ratio, or of a figure of ours that has no peer.
// The zero value wants nothing.
type Limit struct {
	AtLeast float64
	AtMost  float64
}

// Compare makes a row of the rounds of ours and of a peer, as many of each,
// measured alternately. The limit is one of the ratio.
func Compare(name, unit string, ours []float64, peerName string, peer []float64, want Limit) Row {
	ratios := make([]float64, min(len(ours), len(peer)))
	for i := range ratios {
		ratios[i] = ours[i] / peer[i]
	}
	r := Row{Name: name, Unit: unit, Ours: Median(ours), Peer: Median(peer), PeerName: peerName, Ratio: Median(ratios)}
	if len(ratios) > 0 {
		r.Low, r.High = slices.Min(ratios), slices.Max(ratios)
	}
	r.judge(want, r.Ratio, " times")
	return r
}

// Alone makes a row of the rounds of ours; the limit is one of their median.
func Alone(name, unit string, ours []float64, want Limit) Row {
	r := Row{Name: name, Unit: unit, Ours: Median(ours)}
	r.judge(want, r.Ours, " "+unit)
	return r
}

// judge writes down what is wanted and whether it is so.
func (r *Row) judge(want Limit, is float64, unit string) {
	var met bool
	switch {
	case want.AtLeast > 0:
		r.Wanted, met = fmt.Sprintf("at least %g%s", want.AtLeast, unit), is >= want.AtLeast
	case want.AtMost > 0:
		r.Wanted, met = fmt.Sprintf("at most %g%s", want.AtMost, unit), is <= want.AtMost
	default:
		return
	}
	r.Met = &met
}

// Median is the middle of the values, 0 if there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func matches(name, only string) bool { return strings.Contains(name, only) }
