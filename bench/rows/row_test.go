// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bytes"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 9}, 3},
	} {
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) is %v, not %v", c.in, got, c.want)
		}
	}
}

func TestCompareTakesTheRoundsRatios(t *testing.T) {
	t.Parallel()
	// The second round was disturbed, ours and the peer's alike.
	r := Compare("x", "/s", []float64{200, 20, 220}, "peer", []float64{100, 10, 100}, Limit{AtLeast: 2})
	if r.Ratio != 2 || r.Low != 2 || r.High != 2.2 || r.Ours != 200 || r.Peer != 100 {
		t.Errorf("got %+v", r)
	}
	if r.Met == nil || !*r.Met {
		t.Errorf("a ratio of 2 does not meet %q", r.Wanted)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		is   float64
		want Limit
		met  bool
	}{
		{2, Limit{AtLeast: 2}, true},
		{1.99, Limit{AtLeast: 2}, false},
		{10, Limit{AtMost: 10}, true},
		{10.1, Limit{AtMost: 10}, false},
	} {
		r := Alone("x", "ms", []float64{c.is}, c.want)
		if r.Met == nil || *r.Met != c.met {
			t.Errorf("%v with %+v: got %+v", c.is, c.want, r)
		}
	}
	if r := Alone("x", "ms", []float64{1}, Limit{}); r.Met != nil || r.Wanted != "" {
		t.Errorf("without a limit: got %+v", r)
	}
}

func TestTableSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := Report{Rows: []Row{
		Alone("slow thing", "ms", []float64{20}, Limit{AtMost: 10}),
		{Name: "other thing", Skipped: "no compiler"},
	}}
	var b bytes.Buffer
	if err := r.print(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"slow thing", "at most 10 ms: NO", "SKIPPED  other thing: no compiler"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
}
