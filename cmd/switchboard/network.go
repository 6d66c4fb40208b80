// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/internal/companion"
)

func (a *app) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "look at the networks of virtual machines, and reach guests on them",
		Long: `A network is what switchboard acquire asks for by name. "shared" and "host" are always there; others are files NAME.toml in
$XDG_CONFIG_HOME/switchboard/networks (by default in ~/.config) and /etc/switchboard/networks. It exists from the first
acquire until nobody has held it for a while, in the network service, a program of its own (switchboard-network).
Ls, show, leases, forward and dial --to network:… ask that service, and start nothing.`,
		Example: `  switchboard network ls
  switchboard network forward shared web-1:80 127.0.0.1:8080`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for network: it has ls, show, leases, check, forward, import and serve", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.networkLsCommand(), a.networkShowCommand(), a.networkLeasesCommand(), a.networkForwardCommand(), a.networkServeCommand(), a.networkCheckCommand(), a.networkImportCommand())
	return cmd
}

// networkServeCommand and networkCheckCommand are those of the network service's program: only it knows what its drivers can do. All flags are its own.
func (a *app) networkServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve [--driver auto|user] [--networks DIR] [FLAG…]",
		Short: "be the network service, in the foreground",
		Long: `Serve becomes switchboard-network serve, the network service: the program beside this one, or on PATH. Nobody needs
it, as acquire has it started; it is for those who want to see it, or have systemd run it.`,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return a.becomeNetworkService("serve", args) },
	}
}

func (a *app) networkCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [--json] [--networks DIR] [FILE…]",
		Short: "say whether networks' files are valid, and what is wrong where",
		Long: `Check reads the files of networks as the network service would, or only FILEs. What is wrong goes to stderr, one line
for each, as FILE:LINE: reason; then the exit code is 64. It becomes switchboard-network check, which knows what its
drivers can do.`,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return a.becomeNetworkService("check", args) },
	}
}

// becomeNetworkService executes the network service's program in place of this one.
func (a *app) becomeNetworkService(verb string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	program, err := companion.Find(companion.Network, self)
	if err != nil {
		return &codeError{exitUnavailable, err}
	}
	words := append([]string{companion.Network, verb}, args...)
	if verb == "check" { // it asks no broker
		words = append(words[:2], withoutBroker(args)...)
	}
	if err := syscall.Exec(program, words, os.Environ()); err != nil {
		return cannotRun(program, err)
	}
	return errors.New("this cannot be reached")
}

// withoutBroker leaves out the flags that every command has.
func withoutBroker(args []string) (kept []string) {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--runtime-dir":
			i++
		case strings.HasPrefix(arg, "--runtime-dir="), strings.HasPrefix(arg, "--no-autostart"):
		case arg == "--":
			return append(kept, args[i:]...)
		default:
			kept = append(kept, arg)
		}
	}
	return kept
}
