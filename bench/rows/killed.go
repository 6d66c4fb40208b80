// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// killed takes the time from SIGKILL of an owner to the event that a watcher
// in another process gets; the worst of all rounds counts.
func killed(ctx context.Context, e *Env) ([]Row, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	c := client(b.Folder)
	defer c.Close()
	w, err := c.Watch(ctx, "bench.*")
	if err != nil {
		return nil, err
	}
	defer w.Close()
	rounds := 50
	if e.Quick() {
		rounds = 10
	}
	var took []float64
	for range rounds {
		d, err := killOne(ctx, e, b, w)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(d)/float64(time.Millisecond))
	}
	median := Median(took)
	row := Alone("SIGKILL of an owner to a watcher's event, worst", "ms", []float64{slices.Max(took)}, Limit{AtMost: 10})
	row.Note = fmt.Sprintf("the worst of %d; their median is %.2f ms", rounds, median)
	return []Row{row}, nil
}

// killOne starts an owner, kills it, and waits for the event.
func killOne(ctx context.Context, e *Env, b *Broker, w *switchboard.Watcher) (time.Duration, error) {
	owner, err := e.StartNames(ctx, b.Folder, "bench", 1, 1)
	if err != nil {
		return 0, err
	}
	if err := await(ctx, w, switchboard.Appeared); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := owner.Kill(); err != nil {
		return 0, err
	}
	if err := await(ctx, w, switchboard.Gone); err != nil {
		return 0, err
	}
	took := time.Since(start)
	owner.Stop()
	return took, nil
}

// await reads events up to one of that kind.
func await(ctx context.Context, w *switchboard.Watcher, kind switchboard.EventKind) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		ev, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("cannot wait for event %v: %w", kind, err)
		}
		if ev.Kind == kind {
			return nil
		}
	}
}
