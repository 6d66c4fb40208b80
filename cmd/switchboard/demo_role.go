// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// demoRoleCommand is what the processes of the tour run.
func (a *app) demoRoleCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "_demo {owner NAME [SOCKET] | caller NAME | sayer NAME WORD | receiver NAME COUNT | guest NETWORK | asker NAME WORD | failing NAME}",
		Short:  "a process of the tour",
		Hidden: true,
		Args:   arguments(2, 3, "a role and a NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			switch args[0] {
			case "owner":
				return a.demoOwner(ctx, args[1], args[2:])
			case "caller":
				return a.demoCaller(ctx, args[1])
			case "sayer":
				return a.serveName(ctx, args[1], nil, answerAlways(args[len(args)-1]))
			case "receiver":
				return a.demoReceiver(ctx, args[1], args[len(args)-1])
			case "guest":
				return a.demoGuest(ctx)
			case "asker":
				return a.demoAsker(ctx, args[1], args[len(args)-1])
			case "failing":
				return &codeError{demoStatus, errors.New(demoReason)}
			}
			return usagef("unknown role %q", args[0])
		},
	}
}

// demoOwner answers the callers of a name with what they say in capitals, and those of a plain socket too, if it is
// given one.
func (a *app) demoOwner(ctx context.Context, name string, socket []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plain := make(chan error, 1)
	if len(socket) == 0 {
		plain <- nil
	} else {
		l, err := address{"unix", socket[0]}.listen(ctx)
		if err != nil {
			return err
		}
		go func() { plain <- a.acceptEach(ctx, l, "plain", answerInCapitals) }()
	}
	err := a.serveName(ctx, name, nil, answerInCapitals)
	cancel()
	return errors.Join(err, <-plain)
}

// answerInCapitals answers until the caller has said all.
func answerInCapitals(ctx context.Context, c stream) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if _, err := c.Write(bytes.ToUpper(buffer[:n])); err != nil {
			return ignoreHangup(err)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return ignoreHangup(err)
		}
	}
}

// answerAlways answers whatever is said with the same word.
func answerAlways(word string) func(context.Context, stream) error {
	return func(ctx context.Context, c stream) error {
		defer context.AfterFunc(ctx, func() { c.Close() })()
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err == io.EOF {
				return nil
			} else if err != nil {
				return ignoreHangup(err)
			}
			if _, err := io.WriteString(c, word); err != nil {
				return ignoreHangup(err)
			}
		}
	}
}

// demoCaller says that it is there, waits for the end of stdin, and calls the name once.
func (a *app) demoCaller(ctx context.Context, name string) error {
	client := a.client()
	defer client.Close()
	fmt.Fprintln(a.stdout, "ready")
	if _, err := io.Copy(io.Discard, a.stdin); err != nil {
		return err
	}
	c, err := client.Dial(ctx, name)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = ask(c, fmt.Sprintf("caller %d", os.Getpid()))
	return err
}
