// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// manyNetworks is how many networks the rows about many of them have.
const manyNetworks = 200

// netService is a broker with the network service, which has networks n0, n1, … that are removed when nobody holds them, and the networks
// that are always there.
type netService struct {
	*proc.Process
	client *switchboard.Client
}

func (p *peers) startNetService(ctx context.Context, e *rows.Env) (*netService, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(e.Folder, "networks")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	for i := range manyNetworks {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("n%d.toml", i)), []byte("mode = 'shared'\nremoval_delay = 0\n"), 0o600); err != nil {
			return nil, err
		}
	}
	s, err := e.Start(ctx, []string{p.self, netArgument, b.Folder, folder}, proc.Options{Session: true})
	if err != nil {
		return nil, err
	}
	return &netService{s, switchboard.New(switchboard.Config{RuntimeDir: b.Folder, NoAutostart: true})}, nil
}

// acquire acquires a network, and returns how long that took.
func (s *netService) acquire(ctx context.Context, network string) (*switchboard.Lease, time.Duration, error) {
	start := time.Now()
	lease, err := s.client.Acquire(ctx, network)
	return lease, time.Since(start), err
}

// times acquires a network and gives it back, as often, and returns the median of the times until it was there, in milliseconds.
func (s *netService) times(ctx context.Context, count int, network func(i int) string) (float64, error) {
	var all []float64
	for i := range count {
		lease, took, err := s.acquire(ctx, network(i))
		if err != nil {
			return 0, err
		}
		all = append(all, took.Seconds()*1e3)
		if err := lease.Close(); err != nil {
			return 0, err
		}
	}
	return rows.Median(all), nil
}

// use is what the service has.
type use struct{ descriptors, goroutines, memory float64 } // memory: its own, in KiB

// use counts what the service has when it has come to rest: when the counts no longer go down.
func (s *netService) use(ctx context.Context) (u use, err error) {
	for calm := 0; calm < 5; {
		var counts netCounts
		if err := s.Tell("count"); err != nil {
			return u, err
		}
		if err := s.Result(ctx, &counts); err != nil {
			return u, err
		}
		open, err := os.ReadDir("/proc/" + strconv.Itoa(s.PID()) + "/fd")
		if err != nil {
			return u, err
		}
		m, err := proc.MemoryOf(s.PID())
		if err != nil {
			return u, err
		}
		now := use{float64(len(open)), float64(counts.Goroutines), float64(m.Anonymous) / 1024}
		if calm++; calm == 1 || now.descriptors < u.descriptors || now.goroutines < u.goroutines {
			calm = 1
		}
		u = now
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return u, ctx.Err()
		}
	}
	return u, nil
}

// networks measures how long an acquire takes.
func (p *peers) networks(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	s, err := p.startNetService(ctx, e)
	if err != nil {
		return nil, err
	}
	defer s.client.Close()
	held, _, err := s.acquire(ctx, "shared")
	if err != nil {
		return nil, err
	}
	defer held.Close()
	var created, reused, launched, peer []float64
	gvproxy, missing := p.gvproxy(ctx)
	for round := range e.Rounds() {
		ms, err := s.times(ctx, 10, func(i int) string { return fmt.Sprintf("n%d", (10*round+i)%manyNetworks) })
		if err != nil {
			return nil, err
		}
		created = append(created, ms)
		if ms, err = s.times(ctx, 50, func(int) string { return "shared" }); err != nil {
			return nil, err
		}
		reused = append(reused, ms)
		if ms, err = p.firstAcquire(ctx, e); err != nil {
			return nil, err
		}
		launched = append(launched, ms)
		if missing == nil {
			if ms, err = firstGvproxy(ctx, e, gvproxy); err != nil {
				return nil, err
			}
			peer = append(peer, ms)
		}
	}
	const create, launch = "acquire that creates the network", "first acquire, which launches the network service"
	table := []rows.Row{
		rows.Compare(create, "ms", created, "one that reuses it", reused, rows.Limit{}),
		rows.Alone("acquire that reuses the network", "ms", reused, rows.Limit{AtMost: 1}),
	}
	limit := rows.Alone("", "ms", created, rows.Limit{AtMost: 50})
	table[0].Wanted, table[0].Met = limit.Wanted, limit.Met
	if missing != nil {
		return append(table, rows.Alone(launch, "ms", launched, rows.Limit{}), skipped(launch+" against gvproxy", missing)), nil
	}
	return append(table, rows.Compare(launch, "ms", launched, "gvproxy, started and connected to", peer, rows.Limit{})), nil
}

// firstAcquire is how long an acquire takes with a broker that has been told nothing, in milliseconds.
func (p *peers) firstAcquire(ctx context.Context, e *rows.Env) (float64, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return 0, err
	}
	defer b.Stop()
	c := switchboard.New(switchboard.Config{RuntimeDir: b.Folder, NoAutostart: true, Binary: p.binary})
	defer c.Close()
	start := time.Now()
	lease, err := c.Acquire(ctx, "shared")
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took.Seconds() * 1e3, lease.Close()
}

// firstGvproxy is how long it takes from gvproxy's start until a guest can be attached, in milliseconds.
func firstGvproxy(ctx context.Context, e *rows.Env, program string) (float64, error) {
	folder, err := os.MkdirTemp(e.Folder, "gv")
	if err != nil {
		return 0, err
	}
	start := time.Now()
	g, err := startGvproxy(ctx, e, program, folder)
	if err != nil {
		return 0, err
	}
	defer g.Stop()
	c, err := g.connect(ctx)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took.Seconds() * 1e3, c.Close()
}

// networkLeases measures many networks, and what stays of many leases.
func (p *peers) networkLeases(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	const count, warm = 1000, 100
	s, err := p.startNetService(ctx, e)
	if err != nil {
		return nil, err
	}
	defer s.client.Close()
	network := func(i int) string { return fmt.Sprintf("n%d", i%manyNetworks) }

	// What the first need is needed once.
	if _, err := s.times(ctx, warm, network); err != nil {
		return nil, err
	}
	before, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	ms, err := s.times(ctx, count, network)
	if err != nil {
		return nil, err
	}
	after, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	many, table, err := s.manyNetworks(ctx, after)
	if err != nil {
		return nil, err
	}
	compare := func(what, unit, when string, now, then, atMost float64) {
		table = append(table, rows.Compare(what+" of the network service after "+when, unit, []float64{now}, "before", []float64{then}, rows.Limit{AtMost: atMost}))
	}
	leases := fmt.Sprintf("%d acquires and releases", count)
	first := len(table)
	compare("descriptors", "", leases, after.descriptors, before.descriptors, 1)
	compare("goroutines", "", leases, after.goroutines, before.goroutines, 1)
	compare("memory", "MiB", leases, after.memory/1024, before.memory/1024, 1.2)
	table[first].Note = fmt.Sprintf("each makes its network and removes it; %.2f ms each; after %d that are not counted", ms, warm)
	also := fmt.Sprintf("%d networks have gone", manyNetworks)
	compare("descriptors", "", also, many.descriptors, before.descriptors, 1)
	compare("goroutines", "", also, many.goroutines, before.goroutines, 1)
	return table, nil
}

// manyNetworks has many networks at once, and returns what is left when they have gone.
func (s *netService) manyNetworks(ctx context.Context, before use) (left use, table []rows.Row, err error) {
	var held []*switchboard.Lease
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var took []float64
	for i := range manyNetworks {
		lease, t, err := s.acquire(ctx, fmt.Sprintf("n%d", i))
		if err != nil {
			return left, nil, fmt.Errorf("network %d of %d: %w", i, manyNetworks, err)
		}
		held, took = append(held, lease), append(took, t.Seconds()*1e3)
	}
	full, err := s.use(ctx)
	if err != nil {
		return left, nil, err
	}
	again, err := s.times(ctx, 50, func(i int) string { return fmt.Sprintf("n%d", i*7%manyNetworks) })
	if err != nil {
		return left, nil, err
	}
	for _, l := range held {
		l.Close()
	}
	if left, err = s.use(ctx); err != nil {
		return left, nil, err
	}
	name := fmt.Sprintf("each of %d networks", manyNetworks)
	memory := rows.Alone(name+", held by one", "KiB", []float64{(full.memory - before.memory) / manyNetworks}, rows.Limit{})
	memory.Note = fmt.Sprintf("of the network service's own memory, with %.1f goroutines and %.1f descriptors; the kernel's part not counted",
		(full.goroutines-before.goroutines)/manyNetworks, (full.descriptors-before.descriptors)/manyNetworks)
	return left, []rows.Row{
		rows.Alone(name+", made", "ms", took, rows.Limit{AtMost: 50}),
		rows.Alone(fmt.Sprintf("acquire that reuses one of %d networks", manyNetworks), "ms", []float64{again}, rows.Limit{AtMost: 1}),
		memory,
	}, nil
}
