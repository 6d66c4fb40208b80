// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// launch measures what it takes to launch a small C program, which has nothing
// to load, so that all the rest is the kernel's and the
// broker's; without a compiler a service in Go.
func (p *peers) launch(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	program, err := p.compile(ctx, "backend", "-static")
	if err != nil {
		table, also := e.Launches(ctx, e.GoBackend(), "Go")
		return append(table, skipped("first DIAL, backend in C", err)), also
	}
	return e.Launches(ctx, []string{program}, "C")
}
