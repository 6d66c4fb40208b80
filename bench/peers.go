// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

//go:embed c
var sources embed.FS

// peers are the other programs that we are measured against.
type peers struct {
	folder string // for what is built; removed by whoever made it
	self   string // the running program
	binary string // switchboard, with switchboard-network beside it
}

// compile builds a program of the folder c and returns its path.
func (p *peers) compile(ctx context.Context, program string, flags ...string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", errors.New("no C compiler: install one as cc (Debian: gcc)")
	}
	from := filepath.Join(p.folder, "c")
	if _, err := os.Stat(from); err != nil {
		if err := os.CopyFS(p.folder, sources); err != nil {
			return "", fmt.Errorf("cannot write the C sources: %w", err)
		}
	}
	out := filepath.Join(p.folder, program)
	args := append([]string{"-O2", "-o", out, filepath.Join(from, program+".c"), filepath.Join(from, "loop.c")}, flags...)
	if text, err := exec.CommandContext(ctx, cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s.c: %w: %s", program, err, strings.TrimSpace(string(text)))
	}
	return out, nil
}

// result is what the C programs print: c/loop.h.
type result struct {
	All    int     `json:"all"`
	Rate   float64 `json:"rate"`
	Median float64 `json:"median_ns"`
}

// loop runs one of the C programs once.
func loop(ctx context.Context, argv ...string) (result, error) {
	var r result
	err := proc.Run(ctx, &r, argv...)
	return r, err
}

// skipped is a row that says why it is missing.
func skipped(name string, why error) rows.Row {
	return rows.Row{Name: name, Skipped: why.Error()}
}
