// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

func (a *app) networkLsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "list the networks: which there are, who holds them",
		Long: `Ls lists the networks that you may acquire: the built-in ones, those of files, valid or not, and what the network service
knows of those that somebody holds. If that does not run, nobody holds any.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.networkLs(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func (a *app) networkShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "show one network: addresses, guests, what is forwarded, figures",
		Args:  arguments(1, 1, "the NAME of a network"),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.networkShow(cmd.Context(), args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array, with that network")
	return cmd
}

func (a *app) networkLeasesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "leases [NAME]",
		Short: "list the guests on all networks, or one",
		Args:  arguments(0, 1, "at most the NAME of one network"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.networkLeases(cmd.Context(), append(args, "")[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

// listNetworks asks the service, and reads the files where none runs. With a name it is only that one. The connection is nil without a service, and
// else the caller's to close.
func (a *app) listNetworks(ctx context.Context, name string) ([]vmnet.Network, *switchboard.Networks, error) {
	client := a.client()
	defer client.Close()
	service, err := client.Networks(ctx)
	if errors.Is(err, switchboard.ErrNoNetworkService) {
		return idleNetworks(name), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	all, err := service.List(ctx, name)
	if err != nil {
		service.Close()
		return nil, nil, err
	}
	return all, service, nil
}

// idleNetworks are those of the files.
func idleNetworks(name string) (all []vmnet.Network) {
	for _, e := range config.List(config.Folders("", os.Getenv), os.Geteuid()) {
		if name != "" && e.Name != name {
			continue
		}
		n := vmnet.Network{Name: e.Name, File: e.File}
		if e.Err != nil {
			n.Fault = e.Err.Error()
		} else {
			n.Mode, n.Description = string(e.Network.Mode), e.Network.Description
		}
		all = append(all, n)
	}
	return all
}

func (a *app) networkLs(ctx context.Context, asJSON bool) error {
	all, service, err := a.listNetworks(ctx, "")
	if err != nil {
		return err
	}
	if service != nil {
		defer service.Close()
	}
	if asJSON {
		list := make([]networkJSON, 0, len(all))
		for _, n := range all {
			list = append(list, newNetworkJSON(n))
		}
		return printJSON(a.stdout, list)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tMODE\tSTATE\tSUBNET\tDRIVER\tFROM")
	for _, n := range all {
		from := n.File
		if from == "" {
			from = "(built in)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", dash(n.Name), dash(n.Mode), networkState(n), dash(n.Subnet), dash(n.Driver), from)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, n := range all {
		if n.Fault != "" {
			fmt.Fprintln(a.stderr, n.Fault)
		}
	}
	return nil
}

// networkState says what a network is doing, in a few words.
func networkState(n vmnet.Network) string {
	switch {
	case !n.Active && n.Fault != "":
		return "faulty"
	case !n.Active:
		return "idle"
	case n.Leases == 1:
		return "1 guest"
	case n.Leases > 0:
		return fmt.Sprintf("%d guests", n.Leases)
	case n.RemoveAt == 0:
		return "no guests"
	}
	return "no guests, ends in " + time.Until(time.Unix(0, n.RemoveAt)).Round(time.Second).String()
}

func (a *app) networkShow(ctx context.Context, name string, asJSON bool) error {
	all, service, err := a.listNetworks(ctx, name)
	if err != nil {
		return a.noneOf(err, asJSON)
	}
	var leases []vmnet.Lease
	if service != nil {
		defer service.Close()
		if leases, err = service.Leases(ctx, name); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return a.noneOf(noSuchNetwork(name), asJSON)
	}
	if asJSON {
		one := newNetworkJSON(all[0])
		one.Leases = leaseRows(leases)
		return printJSON(a.stdout, []networkJSON{one})
	}
	return printNetwork(a.stdout, all[0], leases)
}

// printNetwork prints a network for people.
func printNetwork(out io.Writer, n vmnet.Network, leases []vmnet.Lease) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(key, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", key, fmt.Sprintf(format, args...))
	}
	from := n.File
	if from == "" {
		from = "built in"
	}
	row("network", "%s (%s)", n.Name, from)
	if n.Description != "" {
		row("about", "%s", n.Description)
	}
	if n.Fault != "" {
		row("fault", "%s", n.Fault)
	}
	row("mode", "%s", dash(n.Mode))
	row("state", "%s", networkState(n))
	if n.Active {
		row("subnet", "%s, mask %s", n.Subnet, n.Mask)
		row("gateway", "%s", n.Gateway)
		row("dns", "%s", dash(n.DNS))
		row("mtu", "%d", n.MTU)
		row("driver", "%s", n.Driver)
		row("since", "%s", time.Unix(0, n.Since).Local().Format(time.DateTime))
		row("ends", "%s", removal(n.RemovalDelay))
		row("traffic", "%d frames (%d bytes) from guests, %d (%d bytes) to guests, %d dropped, %d refused",
			n.Counts.FramesIn, n.Counts.BytesIn, n.Counts.FramesOut, n.Counts.BytesOut, n.Counts.Dropped, n.Counts.Refused)
		row("way out", "tcp: %d open, %d in all, %d refused; udp: %d open, %d in all, %d refused",
			n.TCP.Now, n.TCP.All, n.TCP.Refused, n.UDP.Now, n.UDP.All, n.UDP.Refused)
		for _, f := range n.Forwards {
			row("forward", "%s %s to %s", f.Protocol, f.Address, f.Guest)
		}
	}
	if err := table.Flush(); err != nil || len(leases) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return printLeases(out, leases)
}

func removal(delay int64) string {
	switch {
	case delay == vmnet.Never:
		return "never"
	case delay == 0:
		return "with its last guest"
	}
	return time.Duration(delay).String() + " after its last guest"
}

func noSuchNetwork(name string) error {
	return &codeError{exitUnavailable, fmt.Errorf("there is no network %q: switchboard network ls has those that there are", name)}
}

// noneOf returns the error of a list of one network. If that is not there, an array is printed all the same, without anything in it: whoever reads
// JSON has some.
func (a *app) noneOf(err error, asJSON bool) error {
	var here *codeError
	var code switchboard.NetworkCode
	if asJSON && (errors.As(err, &here) || errors.As(err, &code) && code == switchboard.NetworkNotFound) {
		if printing := printJSON(a.stdout, []struct{}{}); printing != nil {
			return printing
		}
	}
	return err
}

func (a *app) networkLeases(ctx context.Context, network string, asJSON bool) error {
	client := a.client()
	defer client.Close()
	service, err := client.Networks(ctx)
	var leases []vmnet.Lease
	switch {
	case errors.Is(err, switchboard.ErrNoNetworkService):
		if network != "" && len(idleNetworks(network)) == 0 {
			return a.noneOf(noSuchNetwork(network), asJSON)
		}
	case err != nil:
		return err
	default:
		defer service.Close()
		if leases, err = service.Leases(ctx, network); err != nil {
			return a.noneOf(err, asJSON)
		}
	}
	if asJSON {
		return printJSON(a.stdout, leaseRows(leases))
	}
	if len(leases) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no leases")
		return err
	}
	return printLeases(a.stdout, leases)
}

func printLeases(out io.Writer, leases []vmnet.Lease) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LEASE\tNETWORK\tIP\tMAC\tKIND\tOWNER\tSINCE\tID")
	for _, l := range leases {
		fmt.Fprintln(table, strings.Join([]string{fmt.Sprint(l.ID), l.Network, l.IP, l.MAC, l.Kind, fmt.Sprintf("pid %d", l.PID),
			time.Unix(0, l.Since).Local().Format(time.DateTime), l.Identity}, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range leases {
		if l.Fault != "" {
			fmt.Fprintf(out, "the interface of lease %d is dead: %s\n", l.ID, l.Fault)
		}
	}
	return nil
}
