package main

import (
	"context"
	"fmt"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

const busName = "com.example.Bench"

// contender is one way to look a name up, and its rates.
type contender struct {
	run   func(ctx context.Context, clients int) (float64, error)
	rates []float64
}

// lookUps compares look-ups per second with GetNameOwner of dbus-broker: ours
// from C with raw system calls and from Go, the peer's from C with sd-bus and,
// for whoever wonders what is sd-bus's part, with raw system calls. The design
// asks for twice the rate of sd-bus at 8 clients.
func (p *peers) lookUps(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := e.StartNames(ctx, b.Folder, "bench", 1, 1); err != nil {
		return nil, err
	}
	all := rows.LookUpClients()
	goLoop, err := e.StartLookUps(ctx, b.Folder, "bench", 1, 1, all[len(all)-1])
	if err != nil {
		return nil, err
	}
	fromGo := &contender{run: func(ctx context.Context, n int) (float64, error) { return goLoop.Run(ctx, n, e.Slice()) }}
	fromC, cMissing := p.ourLookUps(ctx, e, b)
	bus, raw, busMissing := p.busLookUps(ctx, e)

	var table []rows.Row
	for _, n := range all {
		list := []*contender{fromC, bus, fromGo, raw}
		if err := measure(ctx, e, n, list); err != nil {
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
		row("Go", fromGo, nil, "GetNameOwner, sd-bus", bus, limit)
		if raw != nil {
			row("C", fromC, cMissing, "GetNameOwner, raw calls", raw, rows.Limit{})
		}
	}
	return table, nil
}

// measure gives every contender a slice of each round.
func measure(ctx context.Context, e *rows.Env, clients int, list []*contender) error {
	for _, c := range list {
		if c != nil {
			c.rates = nil
		}
	}
	for range e.Rounds() {
		for _, c := range list {
			if c == nil {
				continue
			}
			rate, err := c.run(ctx, clients)
			if err != nil {
				return err
			}
			c.rates = append(c.rates, rate)
		}
	}
	return nil
}

// ourLookUps is our C client, or why there is none.
func (p *peers) ourLookUps(ctx context.Context, e *rows.Env, b *rows.Broker) (*contender, error) {
	program, err := p.compile(ctx, "lookup_sb")
	if err != nil {
		return nil, err
	}
	return &contender{run: func(ctx context.Context, n int) (float64, error) {
		r, err := loop(ctx, program, b.Folder, "bench.s0.n0", fmt.Sprint(n), seconds(e))
		return r.Rate, err
	}}, nil
}

// busLookUps are the clients of dbus-broker, or why there are none.
func (p *peers) busLookUps(ctx context.Context, e *rows.Env) (bySdBus, byHand *contender, err error) {
	bus, err := p.startBus(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	way := func(how string) *contender {
		return &contender{run: func(ctx context.Context, n int) (float64, error) {
			r, err := loop(ctx, bus.program, bus.address, how, busName, fmt.Sprint(n), seconds(e))
			return r.Rate, err
		}}
	}
	return way("owner"), way("owner-raw"), nil
}

// seconds is a slice, for the C programs.
func seconds(e *rows.Env) string { return fmt.Sprint(e.Slice().Seconds()) }
