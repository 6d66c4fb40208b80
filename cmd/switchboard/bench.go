// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// benchRole is the hidden subcommand of the processes that bench measures with.
const benchRole = "_bench"

func (a *app) benchCommand() *cobra.Command {
	var o rows.Options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure, on this machine, what needs no other program to compare with",
		Long: `Bench measures with real processes and brokers of its own in temporary folders, and prints ratios of one run.
A figure that falls short of what is wanted is no error. In a clone, make bench measures against dbus-broker, too.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find this executable: %w", err)
			}
			o.Binary, o.Self = self, []string{self, benchRole}
			o.Progress = func(group string) { a.say("measuring: %s", group) }
			return rows.Run(ctx, a.stdout, o)
		},
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "fewer rounds: figures that are only roughly right")
	cmd.Flags().StringVar(&o.Only, "only", "", "measure only the groups whose name contains this")
	return cmd
}

func (a *app) benchRoleCommand() *cobra.Command {
	return &cobra.Command{
		Use:                benchRole,
		Short:              "a process of bench",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if code := rows.Role(ctx, args, a.stdin, a.stdout, a.stderr); code != 0 {
				return &codeError{code: code}
			}
			return nil
		},
	}
}
