// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// callFlags are the flags of commands that call a name.
type callFlags struct{ version, scope string }

func (f *callFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.version, "version", "", "the versions that will do, like ^1.2")
	cmd.Flags().StringVar(&f.scope, "scope", "", "the folder that the service must be for, an absolute path")
}

func (f *callFlags) options() []switchboard.DialOption {
	var options []switchboard.DialOption
	if f.version != "" {
		options = append(options, switchboard.WithVersion(f.version))
	}
	if f.scope != "" {
		options = append(options, switchboard.WithScope(f.scope))
	}
	return options
}

func (a *app) dialCommand() *cobra.Command {
	var flags callFlags
	cmd := &cobra.Command{
		Use:   "dial NAME",
		Short: "call a name: stdin and stdout become the connection",
		Long: `Dial calls NAME and relays between the connection and its own stdin and stdout. The end of stdin closes the
sending half; when the other side closes the connection, dial ends with exit code 0, even while stdin is open.`,
		Example: `  echo hello | switchboard dial com.example.up`,
		Args:    arguments(1, 1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.dial(cmd.Context(), args[0], flags.options())
		},
	}
	flags.register(cmd)
	return cmd
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
