// SPDX-License-Identifier: Apache-2.0

// Package rows measures Switchboard: the rows of its benchmark that need no
// other program installed.
//
//	err := rows.Run(ctx, os.Stdout, rows.Options{Binary: "/usr/bin/switchboard", Self: []string{"/usr/bin/switchboard", "bench-role"}})
//
// Broker, owners and callers are processes of their own, in a temporary
// folder; all are ended and the folder is removed, also when ctx ends early.
// What is compared is measured alternately, several rounds of each, so that a
// machine that is busy with something else hurts both; a ratio is the median
// of the rounds' ratios.
//
// The processes are the running executable again, with a hidden argument: the
// program that calls Run must call Role with what follows Options.Self.
package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// Options of a run.
type Options struct {
	Binary string   // the switchboard executable whose broker is measured
	Self   []string // starts the running program again so that it calls Role with what is appended
	Quick  bool     // fewer rounds, less waiting: figures that are only roughly right
	JSON   bool     // one JSON object instead of a table
	Only   string   // only the groups whose name contains this; empty: all
	Extra  []Group  // measured besides; one with the name of a group here takes its place

	// Progress is told what is being measured; nil: nobody is.
	Progress func(group string)
}

// Group is a set of rows that are measured together.
type Group struct {
	Name    string
	Measure func(ctx context.Context, e *Env) ([]Row, error)
}

// Groups are the groups of this package, in the order of the table.
func Groups() []Group {
	return []Group{
		{"look-ups", lookUps},
		{"connect", connect},
		{"names", names},
		{"killed", killed},
		{"idle", idle},
		{"sessions", sessions},
		{"launch", launches},
		{"backends", backends},
		{"hostile", hostile},
		{"mach", mach},
		{"mach names", machMany},
		{"mach memory", machMemory},
		{"frames", framesGroup},
	}
}

// Report is what Run prints with Options.JSON.
type Report struct {
	CPUs     int     `json:"cpus"`
	Platform string  `json:"platform"`
	Quick    bool    `json:"quick"`
	Seconds  float64 `json:"seconds"`
	Rows     []Row   `json:"rows"`
	Met      bool    `json:"met"` // every row was measured, and has what is wanted
}

// Run measures and prints. A figure that falls short is not an error; a row
// that could not be measured is, after all others have been.
func Run(ctx context.Context, out io.Writer, o Options) error {
	if o.Binary == "" || len(o.Self) == 0 {
		return errors.New("cannot measure: Options.Binary and Options.Self are needed")
	}
	start := time.Now()
	report := Report{CPUs: runtime.NumCPU(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Quick: o.Quick, Met: true}
	var failed []error
	for _, g := range chosen(o) {
		if o.Progress != nil {
			o.Progress(g.Name)
		}
		rows, err := o.measure(ctx, g)
		if ctx.Err() != nil {
			return fmt.Errorf("cannot measure %s: %w", g.Name, context.Cause(ctx))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("cannot measure %s: %w", g.Name, err))
			rows = append(rows, Row{Name: g.Name, Skipped: err.Error()})
		}
		report.Rows = append(report.Rows, rows...)
	}
	report.Seconds = time.Since(start).Seconds()
	for _, r := range report.Rows {
		report.Met = report.Met && r.Skipped == "" && (r.Met == nil || *r.Met)
	}
	if err := report.print(out, o.JSON); err != nil {
		return fmt.Errorf("cannot print the figures: %w", err)
	}
	return errors.Join(failed...)
}

// chosen are the groups of a run.
func chosen(o Options) []Group {
	groups := Groups()
	for _, extra := range o.Extra {
		found := false
		for i := range groups {
			if groups[i].Name == extra.Name {
				groups[i], found = extra, true
			}
		}
		if !found {
			groups = append(groups, extra)
		}
	}
	var list []Group
	for _, g := range groups {
		if matches(g.Name, o.Only) {
			list = append(list, g)
		}
	}
	return list
}

// measure runs one group in a folder of its own, and ends what it started.
func (o Options) measure(ctx context.Context, g Group) (rows []Row, err error) {
	folder, err := os.MkdirTemp("", "switchboard-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	e := &Env{Folder: folder, options: o}
	defer func() {
		if gone := e.stop(); err == nil {
			err = gone
		}
	}()
	return g.Measure(ctx, e)
}

func (r Report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.table(out)
}
