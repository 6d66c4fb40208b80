// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// idle compares the memory of an idle broker with that of an empty program.
func (p *peers) idle(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	ours, err := e.IdleMemory(ctx)
	if err != nil {
		return nil, err
	}
	program, err := build(ctx, p.folder, "bench/empty")
	if err != nil {
		return []rows.Row{rows.IdleRow([]float64{ours}, "", nil), skipped("an empty Go program's memory", err)}, nil
	}
	empty, err := e.Start(ctx, []string{program, filepath.Join(e.Folder, "empty")}, proc.Options{EndsByTERM: true})
	if err != nil {
		return nil, err
	}
	theirs, err := e.Resident(ctx, empty.PID())
	if err != nil {
		return nil, err
	}
	return []rows.Row{rows.IdleRow([]float64{ours}, "an empty Go program", []float64{theirs})}, nil
}
