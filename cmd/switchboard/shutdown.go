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
	shutdownWait = time.Minute           // for a broker to end, and what it launched before it
	shutdownLook = 10 * time.Millisecond // between looks whether it has
)

func (a *app) shutdownCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "shutdown",
		Short: "end the broker that runs, politely",
		Long: `Shutdown asks the broker to end, and returns when it takes no more calls: it has said bye to its sessions and
removed its sockets. What it launched is stopped first; with --keep-backends it is left, and the next broker goes on
with it. Programs with names wait for a broker and take their names again; the next call of a name starts one.
Without a broker, shutdown ends with exit code 69.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.onlyRunning()
			defer client.Close()
			var options []switchboard.ShutdownOption
			if keep {
				options = append(options, switchboard.KeepBackends())
			}
			return a.shutdown(cmd.Context(), client, options...)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-backends", false, "leave what the broker launched to the next broker")
	return cmd
}

func (a *app) shutdown(ctx context.Context, client *switchboard.Client, options ...switchboard.ShutdownOption) error {
	was, err := client.Status(ctx)
	if err != nil {
		return a.noBroker(err)
	}
	if err := client.Shutdown(ctx, options...); err != nil {
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
