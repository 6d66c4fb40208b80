// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// names compares a look-up among many names with one among few, from C: the
// library keeps answers, which would be part of the figure. Random names are
// looked up, so that the cache misses of a large map are in it.
func (p *peers) names(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	const clients = 8
	if _, err := p.compile(ctx, "lookup_sb"); err != nil {
		return []rows.Row{skipped("a look-up among 100,000 names, C", err)}, nil
	}
	brokers, err := e.StartManyAndFew(ctx)
	if err != nil {
		return nil, err
	}
	var both [2]*contender
	for i, b := range brokers {
		if both[i], err = p.ourLookUps(ctx, e, b.Broker, rows.NamesSessions, b.Names); err != nil {
			return nil, err
		}
	}
	if err := measure(ctx, e, clients, both[:]...); err != nil {
		return nil, err
	}
	many, few := both[0], both[1]
	return []rows.Row{
		rows.NamesRow("C", each(many.rates), each(few.rates)),
		rows.Compare("the broker's CPU for one among 100,000", "µs", many.cpu, "among 100", few.cpu, rows.Limit{}),
	}, nil
}

// each is the microseconds for one, of rates per second.
func each(rates []float64) []float64 {
	list := make([]float64, len(rates))
	for i, r := range rates {
		list[i] = 1e6 / r
	}
	return list
}
