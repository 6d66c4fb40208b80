// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// app is one invocation of the command: its streams, and what the global flags say.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	runtimeDir  string
	noAutostart bool

	// started is set once flags and arguments were found good: an error before that is a usage error.
	started bool
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "switchboard",
		Short: "connect programs on this machine by name",
		Long: `Switchboard connects programs on one machine by name. A program gives itself a name, another asks for it
and has a live, private connection, with the identity of each side vouched for by the kernel.
There is nothing to set up: whatever needs a broker starts the one of this user.`,
		Example: `  switchboard demo
  switchboard listen com.example.up -- tr a-z A-Z
  echo hello | switchboard dial com.example.up`,
		Args:                       a.noSuchCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringVar(&a.runtimeDir, "runtime-dir", "",
		"the broker's folder (default $SWITCHBOARD_RUNTIME_DIR, else $XDG_RUNTIME_DIR/switchboard, …)")
	root.PersistentFlags().BoolVar(&a.noAutostart, "no-autostart", false,
		"do not start a broker when none runs (also SWITCHBOARD_AUTOSTART=0)")
	root.AddCommand(
		a.demoCommand(),
		a.listenCommand(),
		a.dialCommand(),
		a.forwardCommand(),
		a.lsCommand(),
		a.serviceCommand(),
		a.logsCommand(),
		a.stopCommand(),
		a.restartCommand(),
		a.retireCommand(),
		a.runCommand(),
		a.traceCommand(),
		a.acquireCommand(),
		a.networkCommand(),
		a.serveCommand(),
		a.statusCommand(),
		a.versionCommand(),
		a.shutdownCommand(),
		a.adminCommand(),
		a.framesCommand(),
		a.benchCommand(),
		a.detachCommand(),
		a.demoRoleCommand(),
		a.benchRoleCommand(),
	)
	return root
}

// noSuchCommand refuses arguments of the bare command, which are misspelt subcommands.
func (a *app) noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf(": did you mean %q?", near[0])
	}
	return fmt.Errorf("%s (switchboard --help lists the commands)", text)
}

// client makes the client that a command talks to its broker with. The caller closes it.
func (a *app) client() *switchboard.Client {
	return switchboard.New(switchboard.Config{RuntimeDir: a.runtimeDir, NoAutostart: a.noAutostart})
}

// onlyRunning makes a client for commands that make no sense to start a broker for.
func (a *app) onlyRunning() *switchboard.Client {
	return switchboard.New(switchboard.Config{RuntimeDir: a.runtimeDir, NoAutostart: true})
}

// folder is the runtime folder, absolute.
func (a *app) folder() (string, error) {
	dir := a.runtimeDir
	if dir == "" {
		dir = switchboard.RuntimeDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cannot resolve the runtime folder: %w", err)
	}
	return dir, nil
}

// say writes one line of talk to stderr.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, "switchboard: "+format+"\n", args...)
}

// secondSignal is after how long a second signal kills: timeout(1) sends two at once.
const secondSignal = 200 * time.Millisecond

// untilSignal returns a context that ends with the first SIGINT, SIGTERM or SIGHUP; a second one, of somebody who does not want to wait,
// kills as usual.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) })
	return ctx, stop
}

// oneName wants one argument, a name that is one.
func oneName(cmd *cobra.Command, args []string) error {
	if err := arguments(1, 1, "one NAME")(cmd, args); err != nil {
		return err
	}
	return name.Check(args[0])
}

// arguments checks their number, with what is wanted in the error.
func arguments(least, most int, wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("%s wants %s (%s --help)", cmd.Name(), wanted, cmd.CommandPath())
		case len(args) > most:
			return fmt.Errorf("%s wants %s, and not %q too (%s --help)", cmd.Name(), wanted, args[most], cmd.CommandPath())
		}
		return nil
	}
}

// checkNameAndCommand wants a NAME, and a COMMAND only behind --. wanted is what the NAME is, in the error.
func checkNameAndCommand(cmd *cobra.Command, args []string, wanted string) error {
	help := "(" + cmd.CommandPath() + " --help)"
	dash := cmd.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0:
		return fmt.Errorf("%s wants %s %s", cmd.Name(), wanted, help)
	case dash < 0 && len(args) > 1:
		return fmt.Errorf("%s wants one NAME, and not %q too: a command goes behind --, as in %s %s -- %[2]s %[5]s", cmd.Name(), args[1], cmd.CommandPath(), args[0], help)
	case dash > 1:
		return fmt.Errorf("%s wants one NAME, and not %q too %s", cmd.Name(), args[1], help)
	case dash == 1 && len(args) == 1:
		return fmt.Errorf("%s wants a COMMAND behind -- %s", cmd.Name(), help)
	}
	return nil
}
