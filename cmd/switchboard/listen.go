// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// callerGrace is how long the processes of open calls have to end after SIGTERM.
const callerGrace = 5 * time.Second

type listenFlags struct {
	to, version, scope string
	relay              bool
}

func (a *app) listenCommand() *cobra.Command {
	var flags listenFlags
	cmd := &cobra.Command{
		Use:   "listen NAME {-- COMMAND [ARG…] | --to ADDRESS}",
		Short: "give a name to a command, or to a server that exists",
		Long: `Listen gives itself NAME and answers its callers until it is interrupted.

With a COMMAND, each caller gets a process of its own, with the connection itself as stdin and stdout.
With --to tcp:…, each call is relayed to that server. With --to unix:PATH, callers are sent to the path and connect to
it themselves, so that the server sees who they are; --relay relays there too, for callers that cannot be sent on.
With --to network:NAME/GUEST:PORT, each call is relayed to that port of a guest (switchboard acquire).
A call of a TCP server ends when the server has closed it; after a half-close, once its caller was silent for a second.`,
		Example: `  switchboard listen com.example.up -- tr a-z A-Z
  switchboard listen com.example.web --to tcp:127.0.0.1:8000`,
		Args: func(cmd *cobra.Command, args []string) error {
			return checkListenArguments(cmd.ArgsLenAtDash(), args, flags)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if flags.to == "" {
				return a.listenCommandLine(ctx, args[0], args[1:], flags)
			}
			return a.listenTo(ctx, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.to, "to", "", "the server to give the name to: tcp:HOST:PORT, unix:PATH or network:NAME/GUEST:PORT")
	cmd.Flags().BoolVar(&flags.relay, "relay", false, "relay to a unix:PATH too, rather than sending callers there")
	cmd.Flags().StringVar(&flags.version, "version", "", "the version of the service, like 1.4.0")
	cmd.Flags().StringVar(&flags.scope, "scope", "", "the folder that the service is for, an absolute path")
	return cmd
}

// checkListenArguments wants NAME, then either --to or a command behind --.
func checkListenArguments(dash int, args []string, flags listenFlags) error {
	const help = "(switchboard listen --help)"
	switch {
	case len(args) == 0 || dash == 0:
		return errors.New("listen wants a NAME first " + help)
	case dash < 0 && len(args) > 1:
		return fmt.Errorf("listen wants -- before its command: switchboard listen %s -- %s", args[0], args[1])
	case dash > 1:
		return fmt.Errorf("listen wants one NAME, and not %q too %s", args[1], help)
	case flags.to != "" && len(args) > 1:
		return errors.New("listen wants a command or --to, not both " + help)
	case flags.to == "" && len(args) == 1:
		return errors.New("listen wants what answers: -- COMMAND, or --to tcp:HOST:PORT or unix:PATH " + help)
	}
	return nil
}

func (f listenFlags) options() []switchboard.ListenOption {
	var options []switchboard.ListenOption
	if f.version != "" {
		options = append(options, switchboard.Version(f.version))
	}
	if f.scope != "" {
		options = append(options, switchboard.Scope(f.scope))
	}
	return options
}

// listenCommandLine answers each caller with a process of its own.
func (a *app) listenCommandLine(ctx context.Context, name string, command []string, flags listenFlags) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return &codeError{exitUnavailable, fmt.Errorf("cannot find the command: %w", err)}
	}
	return a.serveName(ctx, name, flags.options(), func(ctx context.Context, c stream) error {
		return a.answerWith(ctx, c.(*switchboard.Conn), path, command)
	})
}

// listenTo gives the name to a server that exists.
func (a *app) listenTo(ctx context.Context, name string, flags listenFlags) error {
	if at, ok := strings.CutPrefix(flags.to, "network:"); ok {
		return a.listenToGuest(ctx, name, at, flags)
	}
	to, err := parseAddress(flags.to)
	if err != nil {
		return err
	}
	if to.network == "unix" && !flags.relay {
		return a.serveName(ctx, name, append(flags.options(), switchboard.AtPath(to.at)), nil)
	}
	return a.serveName(ctx, name, flags.options(), func(ctx context.Context, c stream) error {
		server, err := to.dial(ctx)
		if err != nil {
			return err
		}
		return both(ctx, c, server)
	})
}

// listenToGuest gives the name to a guest's port. The guest need not be there yet.
func (a *app) listenToGuest(ctx context.Context, name, at string, flags listenFlags) error {
	to, err := parseNetworkAddress(at)
	if err != nil {
		return err
	}
	client := a.client()
	defer client.Close()
	return a.serveName(ctx, name, flags.options(), func(ctx context.Context, c stream) error {
		guest, err := dialGuest(ctx, client, to)
		if err != nil {
			return err
		}
		return both(ctx, c, guest)
	})
}

// serveName holds the name and gives each of its callers to answer, until ctx ends or the name is lost.
func (a *app) serveName(ctx context.Context, name string, options []switchboard.ListenOption,
	answer func(context.Context, stream) error) error {
	client := a.client()
	defer client.Close()
	l, err := client.Listen(ctx, name, options...)
	if errors.Is(err, switchboard.ErrTryAgain) {
		if port, _ := findPort(ctx, client, name); port != nil && port.State == switchboard.Inactive {
			err = fmt.Errorf("%w, which keeps messages for a program that checks it in; take another name, or remove it: switchboard stop %s", err, name)
		}
	}
	if err != nil {
		return err
	}
	a.say("listening as %s", name)
	return a.acceptEach(ctx, l, "a call of "+name, answer)
}

// answerWith runs the command with the connection as its stdin and stdout, and waits for it.
func (a *app) answerWith(ctx context.Context, c *switchboard.Conn, path string, command []string) error {
	f, err := c.File()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = command
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, a.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = callerGrace
	err = cmd.Start()
	f.Close()
	c.Close() // the process alone has the connection now: its end is the connection's
	if err != nil {
		return fmt.Errorf("cannot start the command: %w", err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil // how the command ended is its caller's business
}
