// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

//go:embed frames_echo.py
var framesEcho string

// frameWays compares the time that a frame takes from one process to another with the least that a wake-up, or the news that a word has
// changed, takes there: a ping-pong of two words in C.
func (p *peers) frameWays(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	program, cMissing := p.compile(ctx, "pingpong")
	var table []rows.Row
	for _, way := range rows.FrameWays {
		peer := map[string]string{"spinning": "spin", "sleeping": "futex", "event": "futex"}[way]
		for i, size := range rows.FrameSizes {
			for _, language := range []string{"Go", "Python"} {
				if language == "Python" && i > 0 {
					continue // the size makes no difference
				}
				name := fmt.Sprintf("a frame of %s, Go to %s, %s", size.Name, language, way)
				// A wake-up of another processor is an interrupt, whose time says nothing about us: who sleeps does so on one.
				place, _ := rows.Places()
				e.On = nil
				if way != "spinning" {
					e.On = place.Together().Services
				}
				argv, missing := append(p.role(), "frames", "echo", way), cMissing
				if language == "Python" {
					if argv, missing = p.python(ctx, way); missing != nil {
						table = append(table, skipped(name, missing))
						continue
					}
				}
				ours, theirs, err := frameWay(ctx, e, way, size.Bytes, argv, slices.Concat(e.On, []string{program, peer, fmt.Sprint(e.Slice().Seconds() / 4)}), cMissing == nil)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				if cMissing != nil {
					table = append(table, rows.Alone(name, "µs", ours, rows.Limit{}), skipped(name+" against a ping-pong in C", cMissing))
					continue
				}
				limit := rows.Limit{}
				if language == "Go" && way != "event" {
					limit.AtMost = 1.3
				}
				table = append(table, rows.Compare(name, "µs", ours, "two words in C, "+peer, theirs, limit))
			}
		}
	}
	return table, nil
}

func frameWay(ctx context.Context, e *rows.Env, way string, size int, argv, peer []string, compare bool) (ours, theirs []float64, err error) {
	echo, err := e.StartFrameDriver(ctx, way, size, argv)
	if err != nil {
		return nil, nil, err
	}
	defer echo.Stop()
	for range e.Rounds() {
		us, err := echo.OneWay(ctx, e.Slice()/4)
		if err != nil {
			return nil, nil, err
		}
		ours = append(ours, us)
		if compare {
			r, err := loop(ctx, peer...)
			if err != nil {
				return nil, nil, err
			}
			theirs = append(theirs, r.Median/1000)
		}
	}
	return ours, theirs, nil
}

// role begins the command of this program in a role of package rows.
func (p *peers) role() []string { return []string{p.self, roleArgument} }

// python is the command of a Python program that answers frames, with the package of this repository.
func (p *peers) python(ctx context.Context, way string) ([]string, error) {
	program, err := exec.LookPath("python3")
	if err != nil {
		return nil, errors.New("no python3")
	}
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot find the Python package: %w", err)
	}
	file := filepath.Join(p.folder, "frames_echo.py")
	if err := os.WriteFile(file, []byte(framesEcho), 0o600); err != nil {
		return nil, err
	}
	env := "PYTHONPATH=" + filepath.Join(strings.TrimSpace(string(dir)), "python")
	return []string{"env", env, program, file, way}, nil
}
