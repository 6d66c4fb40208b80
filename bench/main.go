// SPDX-License-Identifier: Apache-2.0

// Command bench measures Switchboard against other ways to the same end, and
// prints the ratios of one run.
//
//	go run ./bench [--json] [--quick] [--only GROUP] [--binary FILE]
//
// The rows that need nothing installed are those of package rows; the rest
// need a C compiler, and dbus-broker, dbus-daemon and sd-bus (Debian packages
// dbus-broker, dbus, systemd, libsystemd-dev), and gvproxy, which is built as a
// tool of this module. What is missing is said at the end of the table, and in
// the field "skipped".
//
// The figures are those of this machine at this moment. Ratios travel better
// than figures; on a machine that does something else, look at the range of
// the rounds before believing either.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// Hidden first arguments: this program in another process.
const (
	roleArgument = "role"     // a role of package rows
	busArgument  = "role-bus" // dbus-broker and what it needs
	netArgument  = "role-net" // the network service, which also counts its goroutines
)

const module = "github.com/switchboard-ipc/switchboard"

func main() {
	if len(os.Args) > 1 && os.Args[1] == roleArgument {
		os.Exit(rows.Role(context.Background(), os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == busArgument {
		os.Exit(busRole(ctx, os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == netArgument {
		os.Exit(netRole(ctx, os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var o rows.Options
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.BoolVar(&o.JSON, "json", false, "print one JSON object instead of a table")
	flags.BoolVar(&o.Quick, "quick", false, "fewer rounds, shorter waits: figures that are only roughly right")
	flags.StringVar(&o.Only, "only", "", "measure only the groups whose `name` contains this")
	flags.StringVar(&o.Binary, "binary", "", "the switchboard `file` to measure, with switchboard-network beside it (default: built from this module)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the running program: %w", err)
	}
	o.Self = []string{self, roleArgument}
	o.Progress = func(group string) { fmt.Fprintf(os.Stderr, "measuring %s …\n", group) }

	folder, err := os.MkdirTemp("", "switchboard-bench-")
	if err != nil {
		return fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	defer os.RemoveAll(folder)
	if o.Binary == "" {
		if o.Binary, err = build(ctx, folder, "cmd/switchboard"); err != nil {
			return err
		}
		if _, err := build(ctx, folder, "cmd/switchboard-network"); err != nil {
			return err
		}
	}
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return err
	}
	o.Extra = groups(&peers{folder: folder, self: self, binary: o.Binary})
	return rows.Run(ctx, os.Stdout, o)
}

// build builds a program of this module into the folder.
func build(ctx context.Context, folder, program string) (string, error) {
	out := filepath.Join(folder, filepath.Base(program))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, module+"/"+program)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w: %s", program, err, strings.TrimSpace(string(text)))
	}
	return out, nil
}

// groups are the rows that need other programs.
func groups(p *peers) []rows.Group {
	return []rows.Group{
		{Name: "look-ups", Measure: p.lookUps},
		{Name: "connect from C", Measure: p.connect},
		{Name: "names from C", Measure: p.names},
		{Name: "idle", Measure: p.idle},
		{Name: "launch", Measure: p.launch},
		{Name: "mach from C", Measure: p.mach},
		{Name: "mach names from C", Measure: p.machMany},
		{Name: "networks", Measure: p.networks},
		{Name: "network leases", Measure: p.networkLeases},
		{Name: "network guests", Measure: p.guests},
		{Name: "frames in C", Measure: p.frameWays},
		{Name: "frames in GStreamer", Measure: p.shmsinks},
		p.front("hello", "hello", (*rows.Env).Hellos),
		p.front("handoff", "served", (*rows.Env).Handoffs),
		p.front("first hello", "served", (*rows.Env).ColdHellos),
	}
}
