// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
)

// NamesSessions are the sessions that have the names of the row about many of them.
const NamesSessions = 100

// NamesBroker is a broker with names bench.sS.nN: of NamesSessions sessions, Names each.
type NamesBroker struct {
	*Broker
	Names int
}

// StartManyAndFew starts a broker with 100,000 names and one with 100.
func (e *Env) StartManyAndFew(ctx context.Context) (brokers [2]NamesBroker, err error) {
	for i, n := range []int{1000, 1} {
		b, err := e.StartBroker(ctx)
		if err != nil {
			return brokers, err
		}
		if _, err := e.StartNames(ctx, b.Folder, "bench", NamesSessions, n); err != nil {
			return brokers, err
		}
		brokers[i] = NamesBroker{b, n}
	}
	return brokers, nil
}

// NamesRow is the row about many names: microseconds for each look-up among many and among few.
func NamesRow(how string, many, few []float64) Row {
	return Compare(fmt.Sprintf("a look-up among 100,000 names, %s", how), "µs", many, "among 100", few, Limit{AtMost: 1.1})
}

// names compares what a look-up costs among 100,000 names, of 100 sessions
// with 1,000 each, and among 100, of as many sessions.
func names(ctx context.Context, e *Env) ([]Row, error) {
	const clients = 8
	brokers, err := e.StartManyAndFew(ctx)
	if err != nil {
		return nil, err
	}
	var loops [2]*LookUpLoop
	for i, b := range brokers {
		if loops[i], err = e.StartLookUps(ctx, b.Folder, "bench", NamesSessions, b.Names, clients); err != nil {
			return nil, err
		}
	}
	var many, few []float64
	for range e.Rounds() {
		for i, to := range []*[]float64{&many, &few} {
			_, r, err := loops[i].Run(ctx, clients, e.Slice())
			if err != nil {
				return nil, err
			}
			*to = append(*to, 1e6/r)
		}
	}
	return []Row{NamesRow("Go", many, few)}, nil
}
