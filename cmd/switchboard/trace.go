// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

func (a *app) traceCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trace [NAME]",
		Short: "show bootstrap and XPC messages as they come",
		Long: `Trace prints a line for each message that software written to the Mach API sends the broker, until it is interrupted:
when, who, the protocol, the routine with its dialect, the name, and the code of the reply with its meaning. With a NAME,
or com.example.* for everything below com.example, only messages about that. Notifications that the broker sends are
lines too, with whom they went to. It says on stderr when it has begun. Messages that come faster than they can be
told are not told, but counted.`,
		Example: `  switchboard trace com.example.render`,
		Args:    arguments(0, 1, "at most one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.trace(ctx, append(args, "")[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (a *app) trace(ctx context.Context, pattern string, asJSON bool) error {
	client := a.client()
	defer client.Close()
	tracer, err := client.Trace(ctx, pattern)
	if err != nil {
		return err
	}
	defer tracer.Close()
	a.say("tracing %s", append(strings.Fields(pattern), "all messages")[0])
	ctx, stop := whileRead(ctx, a.stdout)
	defer stop()
	for {
		m, err := tracer.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = json.NewEncoder(a.stdout).Encode(tracedJSON(m))
		} else {
			err = printTraced(a.stdout, m)
		}
		if err != nil {
			return err
		}
	}
}

// printTraced prints one message for people, and before it how many were lost.
func printTraced(out io.Writer, m switchboard.Traced) error {
	var lost string
	if m.Lost > 0 {
		lost = fmt.Sprintf("… %d messages came too fast to be told\n", m.Lost)
	}
	subject := dash(m.Name)
	if m.Namespace != "/" && m.Name != "" {
		subject = m.Namespace + "/" + m.Name
	}
	who := fmt.Sprintf("%d %s", m.PID, dash(m.Program))
	_, err := fmt.Fprintf(out, "%s%s  %-22s  %s  %-24s  %s  %d %s\n", lost, m.Time.Local().Format("15:04:05.000000"), who, m.Protocol,
		m.Routine, subject, m.Code, m.Outcome)
	return err
}

// traceJSON is one line of trace --json.
type traceJSON struct {
	Time      string `json:"time"` // RFC 3339 with microseconds
	PID       int    `json:"pid"`
	UID       int    `json:"uid"`
	Program   string `json:"program"`
	Namespace string `json:"namespace"`
	Protocol  string `json:"protocol"`
	ID        int    `json:"id"`
	Routine   string `json:"routine"`
	Name      string `json:"name"`
	Code      int    `json:"code"`
	Outcome   string `json:"outcome"`
	Lost      uint64 `json:"lost"` // messages before this one that were not told
}

func tracedJSON(m switchboard.Traced) traceJSON {
	return traceJSON{
		Time: m.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), PID: m.PID, UID: m.UID, Program: m.Program, Namespace: m.Namespace,
		Protocol: m.Protocol, ID: m.ID, Routine: m.Routine, Name: m.Name, Code: m.Code, Outcome: m.Outcome, Lost: m.Lost,
	}
}
