// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFront runs the rows about the front of running-process, with the programs in C.
func TestFront(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it measures for seconds, and -short was asked for")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("SKIPPED: no C compiler")
	}
	folder := t.TempDir()
	built := func(name string) string {
		out := filepath.Join(folder, name)
		if text, err := exec.Command(cc, "-o", out, "../c/"+name+".c", "../c/loop.c").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return out
	}
	hello, served, daemon := built("hello"), built("served"), built("daemon")
	for name, measure := range map[string]func(context.Context, *Env) ([]Row, error){
		"front of Hellos":      func(ctx context.Context, e *Env) ([]Row, error) { return e.Hellos(ctx, hello, daemon) },
		"front of handoffs":    func(ctx context.Context, e *Env) ([]Row, error) { return e.Handoffs(ctx, served, daemon) },
		"front of first calls": func(ctx context.Context, e *Env) ([]Row, error) { return e.ColdHellos(ctx, served, daemon) },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t, name)
			o.Extra = []Group{{name, measure}}
			runGroup(t, o)
		})
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{50: 50, 99: 99, 100: 100, 0.5: 1} {
		if got := Percentile(hundred, p); got != want {
			t.Errorf("the %vth percentile of 1 to 100 is %v, not %v", p, got, want)
		}
	}
	if got := Percentile(nil, 50); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}
