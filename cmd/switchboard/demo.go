// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/internal/terminal"
)

// stepLimit is the time one step may take before it counts as failed.
const stepLimit = 30 * time.Second

func (a *app) demoCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "the ten-second tour, nothing to set up",
		Long: `Demo shows what Switchboard does, with real processes and a broker of its own in a temporary folder. It needs no
rights and nothing installed, ends every process and removes every file it made, and ends with exit code 1 if any step
failed. The folder of a tour that was killed, $TMPDIR/switchboard-demo-*, is removed by the next one.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print one JSON object, {"steps":[{"name","ok","detail","millis"}],"ok"}`)
	return cmd
}

// demoReport is the output of demo --json.
type demoReport struct {
	Steps []stepReport `json:"steps"`
	OK    bool         `json:"ok"`
}

type stepReport struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	Millis float64 `json:"millis"`
}

// skipped is the error of a step that cannot be shown on this machine, which is no failure.
type skipped string

func (s skipped) Error() string { return "skipped: " + string(s) }

// demo takes the tour. All of its processes and files are gone when it returns, also after a signal.
func (a *app) demo(ctx context.Context, asJSON bool) error {
	// A signal, or a reader of our output that went away, ends the tour and not the process: there is much to clear up.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	defer stop()
	t, err := newTour()
	if err != nil {
		return err
	}
	a.buildNetworkService(ctx, t.self)
	var out io.Writer = a.stdout
	if asJSON {
		out = io.Discard
	}
	report := takeTour(ctx, t, tablePrinter{out: out, colour: terminal.WantsColour(out)})
	if err := t.end(); err != nil {
		report.OK = false
		a.say("%v", err)
	}
	if asJSON {
		if err := printJSON(a.stdout, report); err != nil {
			return err
		}
	}
	switch {
	case context.Cause(ctx) != nil:
		return &codeError{1, errors.New("demo was interrupted; its processes and files are gone")}
	case !report.OK:
		return &codeError{code: 1}
	}
	return nil
}

// takeTour goes through the steps. Where one fails, those that stand on it fail too; an interrupted tour ends early.
func takeTour(ctx context.Context, t *tour, table tablePrinter) demoReport {
	report := demoReport{Steps: []stepReport{}, OK: true}
	table.begin()
	began := time.Now()
	for _, s := range demoSteps() {
		if ctx.Err() != nil {
			report.OK = false
			break
		}
		row := takeStep(ctx, t, s)
		report.Steps = append(report.Steps, row)
		report.OK = report.OK && row.OK
		table.row(row)
	}
	table.end(report, time.Since(began))
	return report
}

// takeStep runs one step and times it.
func takeStep(ctx context.Context, t *tour, s step) stepReport {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	began := time.Now()
	detail, err := s.run(ctx, t)
	row := stepReport{Name: s.name, OK: true, Detail: detail}
	row.Millis = math.Round(float64(time.Since(began).Microseconds())/100) / 10
	var skip skipped
	if err != nil {
		row.OK = errors.As(err, &skip)
		row.Detail = err.Error()
	}
	return row
}

// tablePrinter prints the tour for people, a row as soon as its step is done.
type tablePrinter struct {
	out    io.Writer
	colour bool
}

func (p tablePrinter) begin() {
	fmt.Fprintf(p.out, "Switchboard: programs on one machine, connected by name\n\n")
}

func (p tablePrinter) row(r stepReport) {
	tick := p.paint("32", "✓")
	if !r.OK {
		tick = p.paint("31", "✗")
	}
	fmt.Fprintf(p.out, "  %s  %-10s %7.0f ms   %s\n", tick, r.Name, r.Millis, r.Detail)
}

func (p tablePrinter) end(report demoReport, took time.Duration) {
	verdict := p.paint("32", "all is well")
	if !report.OK {
		verdict = p.paint("31", "not all is well")
	}
	fmt.Fprintf(p.out, "\n%s, %d steps in %.1f s; nothing is left behind\n", verdict, len(report.Steps), took.Seconds())
	if report.OK {
		fmt.Fprintf(p.out, "next: switchboard listen com.example.up -- tr a-z A-Z, and in a second terminal:\n"+
			"      echo hello | switchboard dial com.example.up\n")
	}
}

// paint colours s with an ANSI code where colour is wanted.
func (p tablePrinter) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
