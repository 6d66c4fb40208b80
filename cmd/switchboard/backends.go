// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// backendVerb is a command about the backends of a name.
type backendVerb struct {
	use, short, long string
	done             string // what was done with them
	wantsVersion     bool
	portsToo         bool // what is a port and no service is for stopPort
	launches         bool // who wants it wants something to run
	do               func(c *switchboard.Client, ctx context.Context, name string, opts ...switchboard.SelectOption) (int, error)
}

func (a *app) stopCommand() *cobra.Command {
	return a.backendCommand(backendVerb{
		use: "stop NAME", short: "end the processes that the broker launched for a name",
		long: `Stop ends the processes that the broker launched for NAME: SIGTERM, then SIGKILL after the stop_timeout of the
definition. It returns when they have ended, with everything they started. The next call launches NAME again.
A NAME that is a port which a program created, and which nobody has checked in, is removed, with what waits in it.`,
		done: "stopped", portsToo: true, do: (*switchboard.Client).Stop,
	})
}

func (a *app) restartCommand() *cobra.Command {
	return a.backendCommand(backendVerb{
		use: "restart NAME", short: "launch a name anew for newcomers, and let go of the old process",
		long: `Restart launches a new process for each one that the broker launched for NAME, and returns when it is ready, or
could not be started. Newcomers get the new one; the old one ends when its last caller has gone.`,
		done: "restarted", launches: true, do: (*switchboard.Client).Restart,
	})
}

func (a *app) retireCommand() *cobra.Command {
	return a.backendCommand(backendVerb{
		use: "retire NAME --version VERSION", short: "keep newcomers away from a version of a name",
		long: `Retire keeps newcomers away from the processes of NAME that have this version. Each ends when its last caller has
gone; retire does not wait for that.`,
		done: "retired", wantsVersion: true, do: (*switchboard.Client).Retire,
	})
}

func (a *app) backendCommand(verb backendVerb) *cobra.Command {
	var flags callFlags
	cmd := &cobra.Command{
		Use: verb.use, Short: verb.short,
		Long: verb.long + "\nIt starts no broker: without one it ends with exit code 69.",
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := arguments(1, 1, "one NAME")(cmd, args); err != nil {
			return err
		}
		if verb.wantsVersion && flags.version == "" {
			return fmt.Errorf("%s wants --version (%s --help)", cmd.Name(), cmd.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		options, err := flags.selectOptions()
		if err != nil {
			return err
		}
		client := a.onlyRunning()
		defer client.Close()
		n, err := verb.do(client, ctx, args[0], options...)
		if err = a.noBroker(err); verb.launches {
			err = hinted(err)
		}
		if verb.portsToo && len(options) == 0 && errors.Is(err, switchboard.ErrUnavailable) {
			return a.stopPort(ctx, client, args[0], err)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s %s: %d\n", verb.done, args[0], n)
		return err
	}
	flags.register(cmd)
	return cmd
}
