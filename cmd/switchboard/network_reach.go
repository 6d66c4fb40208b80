// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

// guestPort is a port of a guest on a network.
type guestPort struct {
	network string
	guest   string // its address, MAC address or id
	port    uint16
}

func (g guestPort) String() string { return fmt.Sprintf("%s/%s:%d", g.network, g.guest, g.port) }

// parseGuest reads GUEST:PORT. An id or a MAC address may have colons of its own.
func parseGuest(network, s string) (guestPort, error) {
	at := strings.LastIndexByte(s, ':')
	if at <= 0 {
		return guestPort{}, usagef("%q wants a guest and a port, like 192.168.64.5:80", s)
	}
	port, err := strconv.ParseUint(s[at+1:], 10, 16)
	if err != nil || port == 0 {
		return guestPort{}, usagef("%q wants a port from 1 to 65535 behind its last colon", s)
	}
	return guestPort{network, s[:at], uint16(port)}, nil
}

// parseNetworkAddress reads NAME/GUEST:PORT, what stands behind network:. The guest may be an id, with slashes of its own.
func parseNetworkAddress(s string) (guestPort, error) {
	network, guest, ok := strings.Cut(s, "/")
	if !ok || network == "" {
		return guestPort{}, usagef("address %q wants a network, a guest and a port, like network:shared/192.168.64.5:80", "network:"+s)
	}
	return parseGuest(network, guest)
}

func (a *app) networkForwardCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forward NAME GUEST:PORT ADDRESS",
		Short: "make a guest's TCP port reachable at an address of this machine",
		Long: `Forward makes port PORT of a guest on the network NAME reachable at ADDRESS, such as 127.0.0.1:8080, until it is
interrupted; with port 0 the system chooses one. GUEST is the guest's address, MAC address or id (switchboard network
leases). It says on stderr where it listens. Exit code 75: the network service ended, or the network was removed since
nobody had held it for its removal_delay.`,
		Example: `  switchboard network forward shared web-1:80 127.0.0.1:8080`,
		Args:    arguments(3, 3, "the NAME of a network, GUEST:PORT and an ADDRESS such as 127.0.0.1:8080"),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := parseGuest(args[0], args[1])
			if err != nil {
				return err
			}
			return a.networkForward(cmd.Context(), to, strings.TrimPrefix(args[2], "tcp:"))
		},
	}
}

func (a *app) networkForward(ctx context.Context, to guestPort, address string) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	client := a.client()
	defer client.Close()
	service, err := client.Networks(ctx)
	if err != nil {
		return interruptedNot(ctx, err)
	}
	defer service.Close()
	f, err := service.Forward(ctx, to.network, to.guest, to.port, address)
	if err != nil {
		return interruptedNot(ctx, err)
	}
	a.say("forwarding %s:%s to %s", f.Protocol, f.Address, f.Guest)
	select {
	case <-ctx.Done():
		return nil
	case e := <-service.ForwardEnded():
		return &codeError{exitTryAgain, fmt.Errorf("cannot forward to %q any more: %s", to, e.Reason)}
	case <-service.Done():
		return &codeError{exitTryAgain, fmt.Errorf("%w; nothing is forwarded any more", service.Err())}
	}
}

// dialGuest connects to a guest's port.
func dialGuest(ctx context.Context, client *switchboard.Client, to guestPort) (stream, error) {
	service, err := client.Networks(ctx)
	if err != nil {
		return nil, err
	}
	defer service.Close()
	c, err := service.Dial(ctx, to.network, to.guest, to.port)
	if err != nil {
		return nil, err // not a *net.UnixConn that is nil
	}
	return c, nil
}

// dialTo relays between a guest's port and stdin and stdout.
func (a *app) dialTo(ctx context.Context, to string) error {
	at, ok := strings.CutPrefix(to, "network:")
	if !ok {
		return usagef("--to is %q, and must be network:NAME/GUEST:PORT: what else there is needs no switchboard", to)
	}
	guest, err := parseNetworkAddress(at)
	if err != nil {
		return err
	}
	client := a.client()
	defer client.Close()
	c, err := dialGuest(ctx, client, guest)
	if err != nil {
		return err
	}
	defer c.Close()
	return attach(c, a.stdin, a.stdout)
}
