// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// front measures the front of running-process with a client and a backend in C, so that all the rest is the kernel's and the broker's.
func (p *peers) front(name, client string, measure func(e *rows.Env, ctx context.Context, client, daemon string) ([]rows.Row, error)) rows.Group {
	return rows.Group{Name: name, Measure: func(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
		daemon, err := p.compile(ctx, "daemon", "-static")
		if err != nil {
			return []rows.Row{skipped(name, err)}, nil
		}
		program, err := p.compile(ctx, client)
		if err != nil {
			return []rows.Row{skipped(name, err)}, nil
		}
		return measure(e, ctx, program, daemon)
	}}
}
