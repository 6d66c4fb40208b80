// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

func (a *app) forwardCommand() *cobra.Command {
	var flags callFlags
	cmd := &cobra.Command{
		Use:   "forward NAME {tcp:HOST:PORT | unix:PATH}",
		Short: "make a name reachable at an address, for clients that know only TCP",
		Long: `Forward listens at an address and connects each of its clients to NAME, until it is interrupted.
It says on stderr where it listens: with port 0, the system chooses one.
Whoever reaches the address reaches the service, as you: bind 127.0.0.1, or a unix: path, which only you may use.`,
		Example: `  switchboard forward com.example.web tcp:127.0.0.1:9000`,
		Args:    arguments(2, 2, "a NAME and an address, tcp:HOST:PORT or unix:PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			at, err := parseAddress(args[1])
			if err != nil {
				return err
			}
			options, err := flags.dialOptions()
			if err != nil {
				return err
			}
			return a.forward(ctx, args[0], at, options)
		},
	}
	flags.register(cmd)
	return cmd
}

func (a *app) forward(ctx context.Context, name string, at address, options []switchboard.DialOption) error {
	client := a.client()
	defer client.Close()
	if _, err := client.LookUp(ctx, name); errors.Is(err, switchboard.ErrUnavailable) && a.brokerRuns(ctx) {
		a.say("nobody has the name %s yet: each client has it launched, if a definition says how, and is disconnected otherwise", name)
	} else if err != nil {
		return err
	}
	l, err := at.listen(ctx)
	if err != nil {
		return err
	}
	a.say("forwarding %s:%s to %s", at.network, l.Addr(), name)
	return a.acceptEach(ctx, l, "a client of "+name, func(ctx context.Context, c stream) error {
		service, err := client.Dial(ctx, name, options...)
		if err != nil {
			return err
		}
		return both(ctx, c, service)
	})
}

// brokerRuns tells a broker that does not know a name from one that is not there.
func (a *app) brokerRuns(ctx context.Context) bool {
	client := a.onlyRunning()
	defer client.Close()
	_, err := client.Status(ctx)
	return err == nil
}
