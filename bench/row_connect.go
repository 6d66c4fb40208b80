// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// connect compares the time to the first byte of a service's answer, caller
// and service in C with raw system calls, so that all the rest is the kernel's
// and the broker's; and with a D-Bus method call, on a connection that both
// sides have already. On one processor, where nobody works beside another, it
// is a comparison of the work.
func (p *peers) connect(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	const name = "DIAL from C, service in C"
	program, err := p.compile(ctx, "connect")
	if err != nil {
		return []rows.Row{skipped(name, err)}, nil
	}
	place, _ := rows.Places()
	e.On = place.Services
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	plain := filepath.Join(e.Folder, "plain")
	for _, argv := range [][]string{{program, "serve", plain}, {program, "own", b.Folder, "bench.c"}} {
		if _, err := e.Start(ctx, argv, proc.Options{EndsByTERM: true}); err != nil {
			return nil, err
		}
	}
	if _, err := e.StartRole(ctx, "own", b.Folder, "bench.go"); err != nil {
		return nil, err
	}
	slice := fmt.Sprint(e.Slice().Seconds() / 4)
	ways := [][]string{
		{program, "plain", plain, slice},
		{program, "dial", b.Folder, "bench.c", slice},
		{program, "dial", b.Folder, "bench.go", slice},
	}
	bus, missing := p.startBus(ctx, e)
	if missing == nil {
		ways = append(ways, []string{bus.program, bus.address, "call", busName, "1", slice, "latencies"})
	}
	apart, err := latencies(ctx, e, place.Caller, ways)
	if err != nil {
		return nil, err
	}
	together, err := latencies(ctx, e, place.Together().Caller, ways[:2])
	if err != nil {
		return nil, err
	}
	table := []rows.Row{
		rows.Compare(name, "µs", apart[1], "connect", apart[0], rows.Limit{AtMost: 2.2}),
		rows.Compare("DIAL from C, all on one processor", "µs", together[1], "connect", together[0], rows.Limit{}),
		rows.Compare("DIAL from C, service in Go", "µs", apart[2], "connect", apart[0], rows.Limit{}),
	}
	if missing != nil {
		return append(table, skipped(name+", against a D-Bus method call", missing)), nil
	}
	return append(table, rows.Compare(name, "µs", apart[1], "a D-Bus method call", apart[3], rows.Limit{})), nil
}

// latencies runs C programs in turn, with what puts them on a processor, and
// returns the medians of each in microseconds.
func latencies(ctx context.Context, e *rows.Env, on []string, programs [][]string) ([][]float64, error) {
	took := make([][]float64, len(programs))
	for range 2 * e.Rounds() {
		for i, argv := range programs {
			r, err := loop(ctx, slices.Concat(on, argv)...)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], r.Median/1000)
		}
	}
	return took, nil
}
