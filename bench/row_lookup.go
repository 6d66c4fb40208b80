// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

const busName = "com.example.Bench"

// contender is one way to look a name up, and its figures.
type contender struct {
	run    func(ctx context.Context, clients int) (count int, perSecond float64, err error)
	broker int // the process id of the broker that answers

	rates []float64 // look-ups per second
	cpu   []float64 // microseconds of the broker's processor time for each
}

// lookUps compares look-ups per second with GetNameOwner of dbus-broker: ours
// from C with raw system calls and from Go, the peer's from C with sd-bus and,
// for whoever wonders what is sd-bus's part, with raw system calls. The design
// asks for twice the rate of sd-bus at 8 clients, which are a C program each, or
// one Go program. The processor time of the two brokers says what is theirs of
// it, on a busy machine too.
func (p *peers) lookUps(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := e.StartNames(ctx, b.Folder, "bench", 1, 1); err != nil {
		return nil, err
	}
	all := rows.LookUpClients()
	fromGo, together, err := goLookUps(ctx, e, b, all[len(all)-1])
	if err != nil {
		return nil, err
	}
	fromC, cMissing := p.ourLookUps(ctx, e, b, 1, 1)
	bus, raw, busMissing := p.busLookUps(ctx, e)

	var table []rows.Row
	for _, n := range all {
		if err := measure(ctx, e, n, fromC, bus, fromGo, raw, together); err != nil {
			return nil, err
		}
		limit := rows.Limit{}
		if n == 8 {
			limit.AtLeast = 2
		}
		row := func(how string, ours *contender, missing error, peerName string, peer *contender, want rows.Limit) {
			switch name := rows.LookUpName(n, how); {
			case missing != nil:
				table = append(table, skipped(name, missing))
			case peer == nil:
				r := rows.Alone(name, "/s", ours.rates, rows.Limit{})
				table = append(table, r, skipped(name+" against "+peerName, busMissing))
			default:
				table = append(table, rows.Compare(name, "/s", ours.rates, peerName, peer.rates, want))
			}
		}
		row("C", fromC, cMissing, "GetNameOwner, sd-bus", bus, limit)
		row(rows.Together, together, nil, "GetNameOwner, sd-bus", bus, limit)
		if n > 1 {
			row(rows.Apart, fromGo, nil, "GetNameOwner, sd-bus", bus, rows.Limit{})
		}
		if n == 8 {
			table[len(table)-1].Note = rows.ApartNote
		}
		if raw != nil && cMissing == nil {
			row("C", fromC, cMissing, "GetNameOwner, raw calls", raw, rows.Limit{})
			table = append(table, rows.Compare("the broker's CPU for one of them", "µs", fromC.cpu, "dbus-broker's", raw.cpu, rows.Limit{}))
		}
	}
	return table, nil
}

// measure gives every contender that there is a slice of each round.
func measure(ctx context.Context, e *rows.Env, clients int, list ...*contender) error {
	for _, c := range list {
		if c != nil {
			c.rates, c.cpu = nil, nil
		}
	}
	for range e.Rounds() {
		for _, c := range list {
			if c == nil {
				continue
			}
			if err := c.once(ctx, clients); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *contender) once(ctx context.Context, clients int) error {
	before, err := proc.CPU(c.broker)
	if err != nil {
		return err
	}
	count, rate, err := c.run(ctx, clients)
	if err != nil {
		return err
	}
	after, err := proc.CPU(c.broker)
	c.rates = append(c.rates, rate)
	c.cpu = append(c.cpu, float64(after-before)/float64(time.Microsecond)/float64(count))
	return err
}

// goLookUps is the Go library's client, in programs of their own and all in one.
func goLookUps(ctx context.Context, e *rows.Env, b *rows.Broker, most int) (apart, together *contender, err error) {
	l, err := e.StartLookUps(ctx, b.Folder, "bench", 1, 1, most)
	if err != nil {
		return nil, nil, err
	}
	apart = &contender{broker: b.PID(), run: func(ctx context.Context, n int) (int, float64, error) {
		return l.Run(ctx, n, e.Slice())
	}}
	together = &contender{broker: b.PID(), run: func(ctx context.Context, n int) (int, float64, error) {
		return l.RunTogether(ctx, n, e.Slice())
	}}
	return apart, together, nil
}

// ourLookUps is our C client, or why there is none. It looks up the names
// bench.sS.nN of so many sessions with so many each.
func (p *peers) ourLookUps(ctx context.Context, e *rows.Env, b *rows.Broker, sessions, names int) (*contender, error) {
	program, err := p.compile(ctx, "lookup_sb")
	if err != nil {
		return nil, err
	}
	return cLoop(e, b.PID(), program, b.Folder, "bench", fmt.Sprint(sessions), fmt.Sprint(names)), nil
}

// busLookUps are the clients of dbus-broker, or why there are none.
func (p *peers) busLookUps(ctx context.Context, e *rows.Env) (bySdBus, byHand *contender, err error) {
	bus, err := p.startBus(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	return cLoop(e, bus.broker, bus.program, bus.address, "owner", busName),
		cLoop(e, bus.broker, bus.program, bus.address, "owner-raw", busName), nil
}

// cLoop is a C program that takes the number of clients and the seconds as its last arguments.
func cLoop(e *rows.Env, broker int, argv ...string) *contender {
	return &contender{broker: broker, run: func(ctx context.Context, clients int) (int, float64, error) {
		r, err := loop(ctx, append(argv[:len(argv):len(argv)], fmt.Sprint(clients), fmt.Sprint(e.Slice().Seconds()))...)
		return r.All, r.Rate, err
	}}
}
