// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// IdleMemory is the resident memory of a broker that has nothing to do, in MiB.
func (e *Env) IdleMemory(ctx context.Context) (float64, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return 0, err
	}
	return e.Resident(ctx, b.PID())
}

// Resident is the resident memory of a process after a while, in MiB.
func (e *Env) Resident(ctx context.Context, pid int) (float64, error) {
	if err := pause(ctx, 2*e.Slice()); err != nil {
		return 0, err
	}
	m, err := proc.MemoryOf(pid)
	return float64(m.Resident) / mib, err
}

// idleLimit is what is wanted of an idle broker, in MiB.
func idleLimit() Limit { return Limit{AtMost: 12} }

// IdleRow is the row of an idle broker; peers are the same figure of another
// program, or nil.
func IdleRow(ours []float64, peerName string, peers []float64) Row {
	const name = "resident memory, idle broker"
	r := Alone(name, "MiB", ours, idleLimit())
	if peers != nil {
		c := Compare(name, "MiB", ours, peerName, peers, Limit{})
		c.Wanted, c.Met = r.Wanted, r.Met
		return c
	}
	return r
}

// idle measures the memory of an idle broker.
func idle(ctx context.Context, e *Env) ([]Row, error) {
	m, err := e.IdleMemory(ctx)
	if err != nil {
		return nil, err
	}
	return []Row{IdleRow([]float64{m}, "", nil)}, nil
}

// sessions measures what the broker has resident for each session that does
// nothing but hold a lease: what 5,000 of them add, a minute after.
func sessions(ctx context.Context, e *Env) ([]Row, error) {
	count, after := 5000, time.Minute
	if e.Quick() {
		count, after = 1000, 5*time.Second
	}
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	before, err := proc.MemoryOf(b.PID())
	if err != nil {
		return nil, err
	}
	if _, err := e.StartNames(ctx, b.Folder, "bench", count, 1); err != nil {
		return nil, err
	}
	now, err := proc.MemoryOf(b.PID())
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, after); err != nil {
		return nil, err
	}
	then, err := proc.MemoryOf(b.PID())
	if err != nil {
		return nil, err
	}
	each := func(m proc.Memory) float64 { return float64(m.Anonymous-before.Anonymous) / float64(count) / kib }
	row := Alone("an idle session with a lease", "KiB", []float64{each(then)}, Limit{AtMost: 8})
	row.Note = fmt.Sprintf("%d sessions, %s after; %.1f KiB at once; the whole broker has %.1f MiB resident",
		count, after, each(now), float64(then.Resident)/mib)
	return []Row{row}, nil
}
