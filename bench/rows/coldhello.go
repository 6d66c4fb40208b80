// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// ColdHellos measures what it takes a client of running-process to have a
// backend launched: one client beside what it would do by hand, and many at once
// beside one. Each launch is of a version of its own, which to running-process is
// a backend of its own. served and daemon are the programs of c/served.c and
// c/daemon.c.
func (e *Env) ColdHellos(ctx context.Context, served, daemon string) ([]Row, error) {
	f, err := e.StartFront(ctx, daemon)
	if err != nil {
		return nil, err
	}
	launched := 0
	first := func(callers int) []string {
		launched++
		return []string{served, "first", f.Address, frontService, fmt.Sprintf("1.0.%d", launched), strconv.Itoa(callers)}
	}
	ways := []func() []string{
		func() []string { return first(1) },
		func() []string { return []string{served, "hand", daemon, filepath.Join(e.Folder, "by-hand")} },
		func() []string { return first(crowd) },
	}
	count := 10
	if e.Quick() {
		count = 2
	}
	took := make([][]float64, len(ways)) // each round's median, in milliseconds
	for range e.Rounds() {
		for i, way := range ways {
			var round []float64
			for range count {
				s, err := sample(ctx, nil, way()...)
				if err != nil {
					return nil, err
				}
				round = append(round, s.Took[0]/1e6)
			}
			took[i] = append(took[i], Median(round))
		}
	}
	one := Compare("first Hello, launch and probe included, to the first byte", "ms", took[0], "listen, fork, exec, connect by hand", took[1], Limit{})
	one.Note = "the backend knows its digests and does not compute them"
	later := minus(took[2], took[0])
	all := Compare(fmt.Sprintf("%d first Hellos, all served", crowd), "ms", took[2], "one first Hello", took[0], Limit{})
	all.Note = fmt.Sprintf("the difference is %.1f ms", Median(later))
	limit := Alone("", "ms", later, Limit{AtMost: 10})
	all.Wanted, all.Met = limit.Wanted+" later", limit.Met
	return []Row{one, all}, nil
}
