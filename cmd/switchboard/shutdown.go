// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
)

func (a *app) shutdownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shutdown",
		Short: "end the broker that runs, politely",
		Long: `Shutdown asks the broker to end: it says bye to its sessions and removes its sockets. Programs with names wait
for a broker and take their names again; the next call of a name starts one.
Without a broker, shutdown ends with exit code 69.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.onlyRunning()
			defer client.Close()
			if err := client.Shutdown(cmd.Context()); err != nil {
				return a.noBroker(err)
			}
			return nil
		},
	}
}
