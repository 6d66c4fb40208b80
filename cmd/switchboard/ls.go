// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

type lsFlags struct{ json, watch bool }

func (a *app) lsCommand() *cobra.Command {
	var flags lsFlags
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "list the names: their state, who owns them, who is connected",
		Long: `Ls lists the names that exist now, or only those of PATTERN: a name, or com.example.* for everything below
com.example. Inside a namespace these are the names in it and below it; one of the namespaces around it is listed if it
is asked for by its NAME, and can be seen. With --watch it goes on to tell what changes, until it is interrupted.`,
		Args: arguments(0, 1, "at most one PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.ls(ctx, append(args, "*")[0], flags)
		},
	}
	cmd.Flags().BoolVar(&flags.json, "json", false, "print JSON: one array, with --watch one object a line")
	cmd.Flags().BoolVar(&flags.watch, "watch", false, "go on to print what changes")
	return cmd
}

func (a *app) ls(ctx context.Context, pattern string, flags lsFlags) error {
	client := a.client()
	defer client.Close()
	watcher, err := client.Watch(ctx, pattern)
	if err != nil {
		return err
	}
	defer watcher.Close()
	if flags.watch {
		ctx, stop := whileRead(ctx, a.stdout)
		defer stop()
		return watchNames(ctx, watcher, a.stdout, flags.json)
	}
	entries, err := listNames(ctx, watcher)
	if err != nil {
		return err
	}
	inside := a.inside()
	if inside && len(entries) == 0 && name.Check(pattern) == nil {
		if e, err := client.LookUp(ctx, pattern, switchboard.OfKind(switchboard.Any)); err == nil {
			entries = append(entries, e)
		}
	}
	switch {
	case flags.json:
		return printJSON(a.stdout, toJSON(entries))
	case inside && len(entries) == 0:
		_, err := fmt.Fprintln(a.stdout, "no names in this namespace (one around it is found by its name: switchboard ls NAME)")
		return err
	}
	if err := printNames(a.stdout, entries); err != nil {
		return err
	}
	return a.printFailures(ctx, client, entries)
}

// printFailures says below the table why the services of ports that are inactive do not run, if a start has failed.
func (a *app) printFailures(ctx context.Context, client *switchboard.Client, entries []switchboard.Entry) error {
	inactive := func(e switchboard.Entry) bool { return e.State == switchboard.Inactive && e.Namespace == "/" }
	if !slices.ContainsFunc(entries, inactive) {
		return nil
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for _, f := range status.Failures {
		shown := slices.ContainsFunc(entries, func(e switchboard.Entry) bool { return inactive(e) && slices.Contains(f.Ports, e.Name) })
		if !shown {
			continue
		}
		again := retry("")
		if f.Wait > 0 {
			again = retry(f.Wait.String())
		}
		reason, _, _ := strings.Cut(f.Reason, "\n")
		if _, err := fmt.Fprintf(a.stdout, "%s (%s) does not start: %s; tried again %s\n", f.Name, strings.Join(f.Ports, ", "), reason, again); err != nil {
			return err
		}
	}
	return nil
}

// inside reports whether we were started with a descriptor that leads to the broker, and so perhaps into a namespace.
func (a *app) inside() bool {
	_, told := os.LookupEnv(switchboard.EnvSessionFD)
	return told && a.runtimeDir == ""
}

// listNames reads what exists now, sorted by namespace and name.
func listNames(ctx context.Context, watcher *switchboard.Watcher) ([]switchboard.Entry, error) {
	byLease := map[uint64]switchboard.Entry{} // what happens meanwhile may be told twice
	for {
		event, err := watcher.Next(ctx)
		switch {
		case err != nil:
			return nil, err
		case event.Kind == switchboard.Synced:
			var entries []switchboard.Entry
			for _, e := range byLease {
				entries = append(entries, e)
			}
			slices.SortFunc(entries, func(a, b switchboard.Entry) int {
				if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
					return c
				}
				return strings.Compare(a.Name, b.Name)
			})
			return entries, nil
		case event.Kind == switchboard.Gone:
			delete(byLease, event.Entry.Lease)
		default:
			byLease[event.Entry.Lease] = event.Entry
		}
	}
}

// watchNames prints one line an event until ctx ends.
func watchNames(ctx context.Context, watcher *switchboard.Watcher, out io.Writer, asJSON bool) error {
	for {
		event, err := watcher.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = json.NewEncoder(out).Encode(eventJSON(event))
		} else {
			_, err = fmt.Fprintln(out, eventLine(event))
		}
		if err != nil {
			return err
		}
	}
}

// nameJSON is one name in the output of ls --json.
type nameJSON struct {
	Name        string     `json:"name"`
	Namespace   string     `json:"namespace"`
	Kind        string     `json:"kind"`
	State       string     `json:"state"`
	Owner       *ownerJSON `json:"owner"` // null: nobody
	Version     string     `json:"version"`
	Scope       string     `json:"scope"`
	Connections int        `json:"connections"`
	Since       string     `json:"since"`    // RFC 3339 with milliseconds
	Instance    string     `json:"instance"` // of what the broker launched, else ""
	Command     string     `json:"command"`  // what was run for it, else ""
}

type ownerJSON struct {
	PID int    `json:"pid"`
	UID int    `json:"uid"`
	Exe string `json:"exe"`
}

func entryJSON(e switchboard.Entry) nameJSON {
	j := nameJSON{
		Name: e.Name, Namespace: e.Namespace, Kind: e.Kind.String(), State: e.State.String(),
		Version: e.Version, Scope: e.Scope, Connections: e.Connections, Since: timestamp(e.Since),
		Instance: e.Instance, Command: e.Command,
	}
	if e.PID != 0 {
		j.Owner = &ownerJSON{e.PID, e.UID, e.Executable}
	}
	return j
}

func toJSON(entries []switchboard.Entry) []nameJSON {
	all := make([]nameJSON, 0, len(entries)) // an empty list prints as []
	for _, e := range entries {
		all = append(all, entryJSON(e))
	}
	return all
}

// eventJSON is one line of ls --watch --json.
func eventJSON(event switchboard.Event) any {
	if event.Kind == switchboard.Synced {
		return struct {
			Event string `json:"event"`
			Name  string `json:"name"`
		}{Event: event.Kind.String()}
	}
	return struct {
		Event string `json:"event"`
		nameJSON
		Reason string `json:"reason,omitempty"`
	}{event.Kind.String(), entryJSON(event.Entry), event.Reason}
}

func eventLine(event switchboard.Event) string {
	e := event.Entry
	switch event.Kind {
	case switchboard.Synced:
		return "synced    (what follows happens now)"
	case switchboard.Gone:
		return fmt.Sprintf("%-9s %s  %s", event.Kind, fullName(e), event.Reason)
	}
	if e.PID == 0 {
		return fmt.Sprintf("%-9s %s  %s", event.Kind, fullName(e), e.State)
	}
	return fmt.Sprintf("%-9s %s  %s, %s", event.Kind, fullName(e), e.State, owner(e))
}

// printNames prints the table for people.
func printNames(out io.Writer, entries []switchboard.Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "no names")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tKIND\tSTATE\tOWNER\tVERSION\tCONNECTED\tSINCE")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", fullName(e), e.Kind, e.State, owner(e), dash(e.Version),
			callers(e), e.Since.Local().Format(time.DateTime))
	}
	return table.Flush()
}

// fullName is a name with its namespace where that is not the root.
func fullName(e switchboard.Entry) string {
	if e.Namespace == "" || e.Namespace == "/" {
		return e.Name
	}
	return e.Namespace + "/" + e.Name
}

func owner(e switchboard.Entry) string {
	if e.PID == 0 { // a port that nobody has checked in
		return "-"
	}
	if e.Executable == "" {
		return fmt.Sprintf("pid %d", e.PID)
	}
	return fmt.Sprintf("pid %d %s", e.PID, e.Executable)
}

// callers says how many are connected, and who.
func callers(e switchboard.Entry) string {
	if len(e.Callers) == 0 {
		return strconv.Itoa(e.Connections)
	}
	var pids []string
	for _, c := range e.Callers {
		pids = append(pids, strconv.Itoa(c.PID))
	}
	return fmt.Sprintf("%d (pid %s)", e.Connections, strings.Join(pids, ", "))
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// timestamp is RFC 3339 with milliseconds, in UTC.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// printJSON prints one indented document.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
