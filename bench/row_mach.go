// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// roundTrip is one way to ask and be answered.
type roundTrip struct {
	name  string
	argv  []string   // a C program that takes clients, seconds and "latencies" as its last arguments
	limit rows.Limit // of a look_up's ratio to this
}

// median runs one round, and returns its median in microseconds.
func (t roundTrip) median(ctx context.Context, e *rows.Env, on []string) (float64, error) {
	r, err := loop(ctx, slices.Concat(on, t.argv, []string{"1", fmt.Sprint(e.Slice().Seconds()), "latencies"})...)
	return r.Median / 1e3, err
}

// mach compares a look_up of the Mach front, by a client in C with raw calls, with what the same client needs for an echo of packets of
// the same sizes, and with GetNameOwner of dbus-broker. All servers are on one processor, the client on another, where most of the
// time goes into waking the other side; and then on the same, which shows what a server does itself.
func (p *peers) mach(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	const name = "Mach look_up, client in C"
	program, err := p.compile(ctx, "lookup_mach")
	if err != nil {
		return []rows.Row{skipped(name, err)}, nil
	}
	place, note := rows.Places()
	e.On = place.Services
	m, err := e.StartMachPorts(ctx, 1, 1)
	if err != nil {
		return nil, err
	}
	trips := []roundTrip{{name: name, argv: []string{program, "look", m.Socket(), "bench", "1", "1"}}}
	for passed, how := range []string{"", " that passes a descriptor"} {
		inGo, err := e.StartEcho(ctx, passed > 0)
		if err != nil {
			return nil, err
		}
		inC, err := startEchoInC(ctx, e, program, passed)
		if err != nil {
			return nil, err
		}
		limit := rows.Limit{}
		if passed == 0 {
			limit.AtMost = 1.3
		}
		trips = append(trips,
			roundTrip{name: "echo in Go" + how, argv: []string{program, "echo", inGo}, limit: limit},
			roundTrip{name: "echo in C" + how, argv: []string{program, "echo", inC}})
	}
	bus, missing := p.startBus(ctx, e)
	if missing == nil {
		trips = append(trips,
			roundTrip{name: "GetNameOwner, raw calls", argv: []string{bus.program, bus.address, "owner-raw", busName}},
			roundTrip{name: "GetNameOwner, sd-bus", argv: []string{bus.program, bus.address, "owner", busName}})
	}
	var table []rows.Row
	for _, at := range []struct {
		on   []string
		name string
		note string
	}{{place.Caller, name, note}, {place.Together().Caller, name + ", on the broker's processor", ""}} {
		medians := make([][]float64, len(trips))
		for range e.Rounds() {
			for i, t := range trips {
				us, err := t.median(ctx, e, at.on)
				if err != nil {
					return nil, err
				}
				medians[i] = append(medians[i], us)
			}
		}
		first := len(table)
		for i, t := range trips[1:] {
			table = append(table, rows.Compare(at.name, "µs", medians[0], t.name, medians[i+1], t.limit))
		}
		table[first].Note = at.note
	}
	if missing != nil {
		table = append(table, skipped(name+" against GetNameOwner", missing))
	}
	return table, nil
}

// startEchoInC starts a server in C that answers with packets of 40 bytes and one of so many sockets, and returns its path.
func startEchoInC(ctx context.Context, e *rows.Env, program string, passed int) (path string, err error) {
	path = filepath.Join(e.Folder, fmt.Sprintf("c%d", passed))
	_, err = e.Start(ctx, []string{program, "serve", path, fmt.Sprint(passed)}, proc.Options{EndsByTERM: true, Session: true})
	return path, err
}

// machMany compares a look_up among many ports with one among few, from C, and what it costs the kernel alone to pass one of many
// sockets and one of few: those that were not passed lately are no longer in a cache.
func (p *peers) machMany(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	program, err := p.compile(ctx, "lookup_mach")
	if err == nil {
		err = rows.FewDescriptors()
	}
	if err != nil {
		return []rows.Row{skipped("Mach look_up among 10,000 ports, C", err)}, nil
	}
	place, _ := rows.Places() // all on one processor: what is compared is not waking somebody
	e.On = place.Services
	many, few, err := e.MachManyAndFew(ctx)
	if err != nil {
		return nil, err
	}
	client := func(broker int, argv ...string) *contender {
		return cLoop(e, broker, slices.Concat(place.Services, []string{program}, argv)...)
	}
	look := func(m rows.MachPorts) *contender {
		return client(m.PID(), "look", m.Socket(), "bench", fmt.Sprint(m.Sessions), fmt.Sprint(m.Names))
	}
	var echoes [2]*contender
	for i, passed := range []int{10_000, 100} {
		path, err := startEchoInC(ctx, e, program, passed)
		if err != nil {
			return nil, err
		}
		echoes[i] = client(os.Getpid(), "echo", path) // nobody asks for its processor time
	}
	a, b := look(many), look(few)
	if err := measure(ctx, e, 1, a, b, echoes[0], echoes[1]); err != nil {
		return nil, err
	}
	return []rows.Row{
		rows.MachManyRow("C", each(a.rates), each(b.rates)),
		rows.Compare("an echo in C that passes one of 10,000 sockets", "µs", each(echoes[0].rates), "one of 100", each(echoes[1].rates), rows.Limit{}),
		rows.Compare("the broker's CPU for one among 10,000", "µs", a.cpu, "among 100", b.cpu, rows.Limit{}),
	}, nil
}
