// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// acquireFlags say what is acquired, and how.
type acquireFlags struct {
	id, kind, driver string
	reconnect        bool
	json             bool
	lasting          bool // COMMAND is to hold the lease, too
}

func (a *app) acquireCommand() *cobra.Command {
	var flags acquireFlags
	cmd := &cobra.Command{
		Use:   "acquire NAME [-- COMMAND [ARG…]]",
		Short: "get an interface on a network, for a virtual machine",
		Long: `Acquire gets an interface on the network NAME: "shared" (guests reach each other, this machine and the outside), "host"
(each other and this machine), or one of the administrator's (switchboard network --help). The network exists while
somebody holds it; the broker and the network service are started if they do not run. It needs no privilege.

With a COMMAND, that inherits the descriptor of the interface and finds it by these words of its own, or variables:
  %NETDEV  SWITCHBOARD_NETDEV      what -netdev of QEMU 7.2 or newer takes, to which ,id=NAME is to be added
  %FD      SWITCHBOARD_FD          the number of the descriptor
  %MAC     SWITCHBOARD_MAC         the guest's MAC address, which it must use
  %IP      SWITCHBOARD_IP          the address that DHCP will give it
  %%                               a percent sign;  and SWITCHBOARD_NETWORK has NAME
Acquire passes signals on and exits as COMMAND did, with 128 and its number after a signal; the lease ends with it.
Without a COMMAND it prints the lease and holds it until it is interrupted.

The same --id gets the same MAC and IP address, also after a restart; without it that is COMMAND's name with the project
folder. If the network service dies, the interface is dead: acquire says so, and without a COMMAND exits with 75.
With --reconnect QEMU connects by a socket instead of a descriptor, and acquire gets it a new interface.`,
		Example: `  switchboard acquire shared -- qemu-system-x86_64 … -netdev %NETDEV,id=n0 -device virtio-net-pci,netdev=n0,mac=%MAC
  switchboard acquire shared --id builder-1 --json`,
		Args: func(cmd *cobra.Command, args []string) error { return checkAcquireArguments(cmd, args, flags) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return a.acquireFor(cmd.Context(), args[0], args[1:], flags)
			}
			return a.acquireAndHold(cmd.Context(), args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.id, "id", "", "who the guest is: the same id gets the same addresses")
	cmd.Flags().StringVar(&flags.kind, "kind", switchboard.StreamInterface, "what the descriptor is: stream or datagram")
	cmd.Flags().StringVar(&flags.driver, "driver", "auto", "what moves the frames: auto (the best that is there) or user (needs no privilege)")
	cmd.Flags().BoolVar(&flags.reconnect, "reconnect", false, "have QEMU (8.0 or newer) connect by a socket, and again when the network service died")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print the lease as one JSON object, in one line")
	return cmd
}

// checkAcquireArguments wants NAME, a COMMAND only behind --, and flags that fit.
func checkAcquireArguments(cmd *cobra.Command, args []string, flags acquireFlags) error {
	const help = "(switchboard acquire --help)"
	if err := checkNameAndCommand(cmd, args, "the NAME of a network, such as shared"); err != nil {
		return err
	}
	switch {
	case cmd.Flags().Changed("id") && flags.id == "":
		return errors.New("--id is empty, and must be 1 to 255 bytes; leave it out for COMMAND's name with the project folder " + help)
	case flags.reconnect && slices.ContainsFunc(args[1:], usesFD):
		return errors.New("%FD makes no sense with --reconnect, which passes no descriptor: COMMAND connects to the socket of %NETDEV " + help)
	case flags.json && len(args) > 1:
		return errors.New("--json prints the lease, and with a COMMAND that is in its environment: leave one of them out " + help)
	case flags.reconnect && len(args) == 1:
		return errors.New("--reconnect is about a COMMAND, and there is none " + help)
	case flags.reconnect && flags.kind != switchboard.StreamInterface:
		return errors.New("--reconnect needs --kind stream: QEMU connects anew only to those " + help)
	case flags.kind != switchboard.StreamInterface && flags.kind != switchboard.DatagramInterface:
		return fmt.Errorf("--kind is %q, and must be stream or datagram", flags.kind)
	case flags.driver != "auto" && flags.driver != "user":
		return fmt.Errorf("--driver is %q, and must be auto or user", flags.driver)
	}
	return nil
}

// usesFD reports whether a word of COMMAND has %FD.
func usesFD(word string) bool { return strings.Contains(strings.ReplaceAll(word, "%%", ""), "%FD") }

// acquire gets the lease and says which.
func (a *app) acquire(ctx context.Context, client *switchboard.Client, network string, f acquireFlags) (*switchboard.Lease, error) {
	opts := []switchboard.AcquireOption{switchboard.AcquireID(f.id), switchboard.AcquireKind(f.kind), switchboard.AcquireDriver(f.driver)}
	if f.lasting {
		opts = append(opts, switchboard.AcquireLasting())
	}
	lease, err := client.Acquire(ctx, network, opts...)
	if err != nil {
		return nil, err
	}
	a.say("%s: %s, MAC %s, gateway %s, by the %s", network, lease.IP, lease.MAC, lease.Gateway, chosenDriver(f.driver, lease.Driver))
	return lease, nil
}

// chosenDriver says which driver it is, and why.
func chosenDriver(asked, got string) string {
	if asked == "auto" && got == "user" {
		return "user driver (the one that is there)"
	}
	return got + " driver"
}

// acquireAndHold prints the lease, and holds it until it is interrupted or the network service dies.
func (a *app) acquireAndHold(ctx context.Context, network string, f acquireFlags) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	client := a.client()
	defer client.Close()
	lease, err := a.acquire(ctx, client, network, f)
	if err != nil {
		return interruptedNot(ctx, err)
	}
	defer lease.Close()
	if f.json { // in one line, since who reads it has no end of file to wait for
		err = json.NewEncoder(a.stdout).Encode(newLeaseJSON(lease, f))
	} else {
		err = printLease(a.stdout, lease, f)
	}
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-lease.Done():
		return &codeError{exitTryAgain, fmt.Errorf("%w; the lease is gone: acquire again", lease.Err())}
	}
}

// interruptedNot leaves out the error of an interruption, which is no failure.
func interruptedNot(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// leaseJSON is the output of acquire --json: the keys are those of the protocol's network dictionary.
type leaseJSON struct {
	Name    string `json:"name"`
	Mode    string `json:"mode"`
	Kind    string `json:"kind"`
	Driver  string `json:"driver"`
	Subnet  string `json:"subnet"`
	Mask    string `json:"mask"`
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"` // "" if the network has none
	MTU     int    `json:"mtu"`
	MAC     string `json:"mac"`
	IP      string `json:"ip"`
	Lease   uint64 `json:"lease"`
	ID      string `json:"id"` // who the guest is: with #2 and so on where another has the one that was asked for

	Attach attachJSON `json:"attach"`
}

// attachJSON says how something attaches to the interface.
type attachJSON struct {
	Command string `json:"command"` // for a guest of its own, with a lease of its own
	PID     int    `json:"pid"`     // the process that holds this interface, for pidfd_getfd
	FD      int    `json:"fd"`      // its number there
}

func newLeaseJSON(l *switchboard.Lease, f acquireFlags) leaseJSON {
	j := leaseJSON{
		Name: l.Network, Mode: l.Mode, Kind: l.Kind, Driver: l.Driver, Subnet: addressText(l.Subnet.Addr()), Gateway: addressText(l.Gateway),
		DNS: addressText(l.DNS), MTU: l.MTU, MAC: l.MAC.String(), IP: addressText(l.IP), Lease: l.ID, ID: l.Name,
		Attach: attachJSON{Command: attachCommand(l, f), PID: os.Getpid(), FD: int(l.Interface.Fd())},
	}
	if l.Mask != nil {
		j.Mask = dotted(l.Mask)
	}
	return j
}

func attachCommand(l *switchboard.Lease, f acquireFlags) string {
	id := ""
	if f.id != "" {
		id = " --id " + shellWord(f.id)
	}
	return fmt.Sprintf("switchboard acquire %s%s --kind %s -- qemu-system-x86_64 … -netdev %%NETDEV,id=n0 -device virtio-net-pci,netdev=n0,mac=%%MAC", l.Network, id, l.Kind)
}

// shellWord quotes a word for a shell, if it has to be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("-_./:@+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printLease prints the lease for people.
func printLease(out io.Writer, l *switchboard.Lease, f acquireFlags) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"network", l.Network + " (" + l.Mode + ")"},
		{"subnet", l.Subnet.String()},
		{"gateway", addressText(l.Gateway)},
		{"dns", dash(addressText(l.DNS))},
		{"mtu", fmt.Sprint(l.MTU)},
		{"id", l.Name},
		{"mac", l.MAC.String()},
		{"ip", addressText(l.IP)},
		{"driver", l.Driver},
		{"lease", fmt.Sprint(l.ID)},
		{"interface", fmt.Sprintf("%s, descriptor %d of process %d", l.Kind, l.Interface.Fd(), os.Getpid())},
		{"attach", attachCommand(l, f)},
	} {
		fmt.Fprintln(table, strings.Join(row[:], "\t"))
	}
	return table.Flush()
}
