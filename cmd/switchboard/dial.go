// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

func (a *app) dialCommand() *cobra.Command {
	var flags callFlags
	var command commandFlags
	var to string
	cmd := &cobra.Command{
		Use:   "dial {NAME [-- COMMAND [ARG…]] | --to network:NAME/GUEST:PORT}",
		Short: "call a name: stdin and stdout become the connection",
		Long: `Dial calls NAME and relays between the connection and its own stdin and stdout. The end of stdin closes the
sending half; when the other side closes the connection, dial ends with exit code 0, even while stdin is open.
With --to it calls a TCP port of a guest on a network (switchboard acquire), named by its address, MAC address or id.

With a COMMAND, the broker runs it if nobody has NAME yet: however many call first, there is one process, and it
outlives dial. It runs in a clean environment, in / or the scope's folder; --env, --pass-env and --dir change that. They
are part of what the command is, and a NAME that runs something else is refused.
--accept says how the command takes its callers:
  listener    it accepts on the socket that LISTEN_FDS announces (descriptor 3), as systemd passes it
  connection  each caller gets a process of its own, with the connection as stdin and stdout
  path        it binds $SWITCHBOARD_SOCKET
  native      it gives itself the name, with this program or a library`,
		Example: `  echo hello | switchboard dial com.example.up
  echo hello | switchboard dial --accept connection com.example.up -- tr a-z A-Z`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") {
				return checkDialTo(cmd, args)
			}
			return checkDialArguments(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") {
				return a.dialTo(cmd.Context(), to)
			}
			options, err := flags.dialOptions()
			if err != nil {
				return err
			}
			if len(args) > 1 {
				launch, err := command.launch(args[1:])
				if err != nil {
					return err
				}
				options = append(options, launch)
			}
			return a.dial(cmd.Context(), args[0], options)
		},
	}
	flags.register(cmd)
	command.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "call a guest instead of a name: network:NAME/GUEST:PORT")
	return cmd
}

// checkDialArguments wants NAME, and what says how a command is run only with a command behind --.
func checkDialArguments(cmd *cobra.Command, args []string) error {
	if err := checkNameAndCommand(cmd, args, "one NAME"); err != nil || len(args) > 1 {
		return err
	}
	for _, flag := range commandFlagNames {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s is about a command, and there is none: switchboard dial %s -- COMMAND (switchboard dial --help)", flag, args[0])
		}
	}
	return nil
}

// checkDialTo wants nothing that is about a name.
func checkDialTo(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("dial wants a NAME or --to, and not %q too (switchboard dial --help)", args[0])
	}
	for _, flag := range append([]string{"version", "scope"}, commandFlagNames...) {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s is about a name, and --to is none (switchboard dial --help)", flag)
		}
	}
	return nil
}

func (a *app) dial(ctx context.Context, name string, options []switchboard.DialOption) error {
	client := a.client()
	defer client.Close()
	c, err := client.Dial(ctx, name, options...)
	if err != nil {
		return err
	}
	defer c.Close()
	return attach(c, a.stdin, a.stdout)
}
