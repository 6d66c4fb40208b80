// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"slices"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/admission"
)

func TestHelloRate(t *testing.T) {
	var r admission.HelloRate
	for i := range admission.DefaultHellos {
		if retry := r.Take(1, uint64(i)); retry != 0 {
			t.Fatalf("Hello %d: %d", i, retry)
		}
	}
	for now, want := range map[uint64]uint64{256: 744, 999: 1} {
		if got := r.Take(1, now); got != want {
			t.Errorf("at %d: %d, not %d", now, got, want)
		}
	}
	if r.Take(2, 999) != 0 || r.Take(1, 1000) != 0 {
		t.Error("refused")
	}
	if r.Take(2, 1998) != 0 { // its window began at 999
		t.Error("refused")
	}
}

func TestHelloRateForgetsNobodyEarly(t *testing.T) {
	r := admission.HelloRate{Limit: 1, Window: 10}
	for pid := uint32(1); pid <= 1000; pid++ {
		r.Take(pid, 5)
	}
	for pid := uint32(1); pid <= 1000; pid++ {
		if r.Take(pid, 14) != 1 {
			t.Fatalf("%d was forgotten", pid)
		}
	}
}

// TestHelloRateEvicts has ever new processes, of which few ask at a time.
func TestHelloRateEvicts(t *testing.T) {
	var r admission.HelloRate
	most := 0
	for pid := uint32(1); pid < 100_000; pid++ {
		r.Take(pid, uint64(pid)*100) // 10 in a window
		most = max(most, r.Len())
	}
	if most > 64 {
		t.Errorf("%d processes were remembered", most)
	}
	last := uint32(99_999)
	n := r.Len()
	r.Forget(last)
	if r.Len() != n-1 {
		t.Error("not forgotten")
	}
}

func TestBudget(t *testing.T) {
	var b admission.Budget
	if !b.Idle(0) || b.Remaining(0) != 3 {
		t.Error("not fresh")
	}
	for i := range uint64(3) {
		if b.Take(100+i) != 0 || b.Remaining(100+i) != 2-int(i) {
			t.Error("refused")
		}
	}
	if got := b.Take(30_099); got != 1 || b.Remaining(30_099) != 0 || b.Idle(30_099) {
		t.Errorf("retry after %d", got)
	}
	if !b.Idle(30_100) || b.Remaining(30_100) != 3 || b.Take(30_100) != 0 {
		t.Error("the window has not ended")
	}
	b.Reset()
	if !b.Idle(30_101) || b.Remaining(30_101) != 3 {
		t.Error("not reset")
	}
	custom := admission.Budget{Attempts: 1, Window: 5}
	if custom.Take(0) != 0 || custom.Take(0) != 5 || custom.Take(5) != 0 {
		t.Error("other numbers")
	}
}

func TestPressure(t *testing.T) {
	var p admission.Pressure
	p.Accepted()
	if p.Demoted() {
		t.Error("demoted without a reason")
	}
	p.Exhausted()
	for i := range 3 {
		if !p.Demoted() {
			t.Errorf("recovered after %d", i)
		}
		p.Accepted()
	}
	if p.Demoted() {
		t.Error("not recovered")
	}
}

func TestReadyWait(t *testing.T) {
	var waited uint64
	var got []uint64
	for attempt := 0; ; attempt++ {
		wait := admission.ReadyWait(attempt, waited, 5000)
		if wait == 0 {
			break
		}
		got, waited = append(got, wait), waited+wait
	}
	if want := []uint64{50, 100, 200, 500, 1000, 2000, 1150}; !slices.Equal(got, want) || waited != 5000 {
		t.Errorf("%v, not %v", got, want)
	}
	if admission.ReadyBackoff(-1) != 50 {
		t.Error("before the first attempt")
	}
}

func TestNearestRank(t *testing.T) {
	s := []int{1, 2, 3, 4, 5}
	for p, want := range map[float64]int{0: 1, 20: 1, 20.1: 2, 50: 3, 99: 5, 100: 5} {
		if got := admission.NearestRank(s, p); got != want {
			t.Errorf("%g: %d, not %d", p, got, want)
		}
	}
	if (admission.Gate{}).Met(nil) {
		t.Error("nothing meets a gate")
	}
	if !(admission.Gate{P50: 3, P99: 5, Samples: 5}).Met([]uint64{1, 2, 3, 4, 5}) || (admission.Gate{P50: 3, P99: 4}).Met([]uint64{1, 2, 3, 4, 5}) {
		t.Error("the gate")
	}
}
