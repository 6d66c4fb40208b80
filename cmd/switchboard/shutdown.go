// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

const (
	shutdownWait = 15 * time.Second      // for a broker to end
	shutdownLook = 10 * time.Millisecond // between looks whether it has
)

func (a *app) shutdownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shutdown",
		Short: "end the broker that runs, politely",
		Long: `Shutdown asks the broker to end, and returns when it takes no more calls: it has said bye to its sessions and
removed its sockets. Programs with names wait for a broker and take their names again; the next call of a name starts one.
Without a broker, shutdown ends with exit code 69.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.onlyRunning()
			defer client.Close()
			return a.shutdown(cmd.Context(), client)
		},
	}
}

func (a *app) shutdown(ctx context.Context, client *switchboard.Client) error {
	was, err := client.Status(ctx)
	if err != nil {
		return a.noBroker(err)
	}
	if err := client.Shutdown(ctx); err != nil {
		return a.noBroker(err)
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownWait)
	defer cancel()
	for {
		s, err := client.Status(ctx)
		if ctx.Err() != nil {
			return &codeError{exitTryAgain, fmt.Errorf("the broker, pid %d, has not ended within %v", was.PID, shutdownWait)}
		}
		if err != nil || s.PID != was.PID {
			return nil
		}
		pause(ctx, shutdownLook)
	}
}
