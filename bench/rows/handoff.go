// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"strconv"
)

// Handoffs compares the two ways from a warm Hello to the first byte of a
// backend's answer: on the connection itself, handed off by the broker, and on
// another one, to backend_pipe. served and daemon are the programs of c/served.c
// and c/daemon.c.
func (e *Env) Handoffs(ctx context.Context, served, daemon string) ([]Row, error) {
	place, note := Places()
	e.On = place.Services
	f, err := e.StartFront(ctx, daemon)
	if err != nil {
		return nil, err
	}
	count := 500
	if e.Quick() {
		count = 200
	}
	ways := []string{"adopt", "reconnect"}
	for _, way := range ways { // the first one launches the backend
		if _, err := sample(ctx, nil, served, way, f.Address, frontService, "1.0.0", "50"); err != nil {
			return nil, err
		}
	}
	measure := func(on []string) (took [2]calls, err error) {
		for range 2 * e.Rounds() {
			for i, way := range ways {
				s, err := sample(ctx, on, served, way, f.Address, frontService, "1.0.0", strconv.Itoa(count))
				if err != nil {
					return took, err
				}
				took[i].add(s)
			}
		}
		return took, nil
	}
	var table []Row
	for _, where := range []struct {
		name string
		on   []string
	}{{"Hello to the first byte, handed off", place.Caller}, {"handed off, all on one processor", place.Together().Caller}} {
		took, err := measure(where.on)
		if err != nil {
			return nil, err
		}
		table = append(table, compareCalls(where.name, took[0], "reconnected", took[1], Limit{}, Limit{})...)
	}
	table[0].judge(Limit{AtMost: 1}, table[0].Ratio, " times")
	table[0].Note += "; " + note
	return table, nil
}
