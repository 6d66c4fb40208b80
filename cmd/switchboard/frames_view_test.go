// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestInterruptible: input that does not come keeps nobody from ending.
func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	waits, input := make(chan struct{}), make(chan struct{})
	fill := interruptible(ctx, func([][]byte, int) error {
		close(waits)
		<-input
		return nil
	})
	go func() {
		<-waits
		cancel()
	}()
	if err := fill(nil, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(input)
}

// TestBelow: what stands below a picture never makes a terminal wrap a line, which would scroll the picture away.
func TestBelow(t *testing.T) {
	v := &viewer{what: "com.example.x  4x4 BGRA", numbers: "60.0 fps, latency 5µs"}
	whole := v.what + "  " + v.numbers
	for _, c := range []struct {
		terminal      bool
		columns, rows int
		want          []string
	}{
		{false, 10, 5, []string{whole}},
		{true, 46, 24, []string{whole}},
		{true, 45, 24, []string{v.what, v.numbers}},
		{true, 21, 4, []string{"com.example.x  4x4 BG", v.numbers}},
		{true, 21, 3, []string{v.numbers}},
		{true, 20, 2, []string{"60.0 fps, latency 5µ"}},
	} {
		v.terminal = c.terminal
		if got := v.below(c.columns, c.rows); !slices.Equal(got, c.want) {
			t.Errorf("%d by %d: %q, not %q", c.columns, c.rows, got, c.want)
		}
	}
}
