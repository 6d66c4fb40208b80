// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of a command that could not be run, those of env, nohup and the shells.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

func (a *app) runCommand() *cobra.Command {
	var s space
	cmd := &cobra.Command{
		Use:   "run [--namespace NAME | --subset] [--only NAME…] -- COMMAND [ARG…]",
		Short: "run a command with a way to the broker, in a namespace of its own if wanted",
		Long: `Run starts COMMAND with an inherited descriptor that leads to the broker, its number in
SWITCHBOARD_SESSION_FD, and for software written to the Mach API in SWITCHBOARD_BOOTSTRAP_FD: the command needs neither
the broker's folder nor a path to it. With --namespace, what it and its children give names to is in that namespace,
which ends with run; with --subset, in one that nobody else has. Names of the namespaces around it are seen, or with
--only just those NAMEs: nothing else exists there. A namespace keeps names apart, and is no security boundary: a program
of the same user can connect to the broker's sockets by path, so confine it if it must not. Without a namespace
SWITCHBOARD_BOOTSTRAP has the path of bootstrap.sock. Run passes signals on and exits as COMMAND did, with 128 and its
number after a signal.`,
		Example: `  switchboard run --namespace ci -- make test
  switchboard run --only com.example.up com.example.log -- ./tool`,
		Args: arguments(1, 1<<20, "-- and a COMMAND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := s.complete(cmd.Flags(), args)
			if err != nil {
				return err
			}
			return a.runChild(cmd.Context(), s, command)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows COMMAND is its own
	s.flags(cmd.Flags())
	return cmd
}

// runChild runs the command and ends as it does.
func (a *app) runChild(ctx context.Context, s space, command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return cannotRun(command[0], err)
	}
	client := a.client()
	defer client.Close()
	door, err := s.openDoor(ctx, client)
	if err != nil {
		return err
	}
	defer door.Close()

	// Duplicates without close-on-exec keep their numbers in the child; passing them as 3 and 4 would take the place of
	// what our own parent may have put there (make's job server does). There are two, since either may be closed there.
	var inherited [2]int
	for i := range inherited {
		if inherited[i], err = syscall.Dup(int(door.Fd())); err != nil {
			return fmt.Errorf("cannot duplicate the descriptor for the command: %w", err)
		}
		defer syscall.Close(inherited[i])
	}
	child := exec.Command(path)
	child.Args = command
	child.Stdin, child.Stdout, child.Stderr = a.stdin, a.stdout, a.stderr
	child.Env, err = a.childEnvironment(s, inherited)
	if err != nil {
		return err
	}

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	return exitLike(waitForwarding(child, signals))
}

// forwarded are the signals that run passes on to its command.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1,
	syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT}

// fromTerminal are those that a terminal sends to all of its foreground processes, the command included.
var fromTerminal = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGWINCH, syscall.SIGCONT}

// waitForwarding waits for the child and meanwhile passes signals on to it.
func waitForwarding(child *exec.Cmd, signals <-chan os.Signal) error {
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			if !(slices.Contains(fromTerminal, s) && inForeground()) {
				_ = child.Process.Signal(s) // it may have ended
			}
		case err := <-ended:
			return err
		}
	}
}

// inForeground says whether this process belongs to the foreground group of its terminal, so that the terminal has
// told the command already.
func inForeground() bool {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	// After the name in parentheses: state, parent, group, session, terminal, foreground group of the terminal.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) > 5 && fields[2] == fields[5]
}

// exitLike turns the end of a child into ours.
func exitLike(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &codeError{code: 128 + int(status.Signal())}
	}
	return &codeError{code: exit.ExitCode()}
}

// cannotRun is the error for a command that did not start.
func cannotRun(name string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return &codeError{code, fmt.Errorf("cannot run %q: %w", name, err)}
}
