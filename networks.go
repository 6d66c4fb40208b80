// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// ErrNoNetworkService is in the error of [Client.Networks] where no network service runs, so that nobody holds a network.
var ErrNoNetworkService = errors.New("the network service does not run")

// Networks is a connection to the network service that runs, to ask it and to have it reach guests. Make it with [Client.Networks].
type Networks struct{ conn *networkConn }

// Networks connects to the network service. It starts none, and no broker: see [ErrNoNetworkService].
func (c *Client) Networks(ctx context.Context) (*Networks, error) {
	var n *Networks
	err := c.askNetworks(ctx, false, func(ctx context.Context, conn *networkConn) error {
		n = &Networks{conn}
		_, _, err := askList(ctx, conn, vmnet.Request{Command: vmnet.Leases}, vmnet.ParseLeases) // it is there, and knows more than vmnet-broker does
		return err
	})
	if errors.Is(err, ErrNoNetworkService) {
		err = &Error{Code: CodeUnavailable, Err: err, Text: "it does not run, so nobody holds a network; switchboard acquire starts it"}
	}
	return n, aboutNetwork(opAsk, "", err)
}

// Close ends the connection, and what was forwarded through it. Connections to guests go on.
func (n *Networks) Close() error {
	n.conn.close()
	return nil
}

// Done is closed when the connection has ended: by Close, or because the network service did.
func (n *Networks) Done() <-chan struct{} { return n.conn.done }

// Err returns nil while the service is there, and else why the connection ended.
func (n *Networks) Err() error { return aboutNetwork(opAsk, "", n.conn.whyOver()) }

// List returns the networks that can be acquired, or only the one of that name, with what is known of those that somebody holds. One that is unknown
// is ErrUnavailable.
func (n *Networks) List(ctx context.Context, network string) ([]vmnet.Network, error) {
	if network != "" {
		all, _, err := askList(ctx, n.conn, vmnet.Request{Command: vmnet.Status, Network: network}, vmnet.ParseNetworks)
		return all, aboutNetwork(opShow, network, err)
	}
	var all []vmnet.Network
	for r := (vmnet.Request{Command: vmnet.List}); ; {
		some, more, err := askList(ctx, n.conn, r, vmnet.ParseNetworks)
		if err != nil {
			return nil, aboutNetwork(opList, "", err)
		}
		all = append(all, some...)
		if !more || len(some) == 0 {
			return all, nil
		}
		r.After = some[len(some)-1].Name
	}
}

// askList asks for a list, or a part of it.
func askList[T any](ctx context.Context, n *networkConn, r vmnet.Request, parse func(xpc.Dict) ([]T, bool, error)) (all []T, more bool, err error) {
	r.Version = vmnet.Version
	answer, err := n.ask(ctx, r)
	if err != nil {
		return nil, false, err
	}
	defer answer.close()
	if all, more, err = parse(answer.root); err != nil {
		return nil, false, &networkFault{NetworkInvalidReply, err}
	}
	return all, more, nil
}

// Leases returns the leases that are held, on all networks or one.
func (n *Networks) Leases(ctx context.Context, network string) ([]vmnet.Lease, error) {
	op := opLeases
	if network != "" {
		op = opLeasesOf
	}
	var all []vmnet.Lease
	for r := (vmnet.Request{Command: vmnet.Leases, Network: network}); ; {
		some, more, err := askList(ctx, n.conn, r, vmnet.ParseLeases)
		if err != nil {
			return nil, aboutNetwork(op, network, err)
		}
		all = append(all, some...)
		if !more || len(some) == 0 {
			return all, nil
		}
		r.After = strconv.FormatUint(some[len(some)-1].ID, 10)
	}
}

// Forward makes a guest's port reachable at an address of this machine, such as "127.0.0.1:8080"; with port 0 the system chooses one, which the result tells.
// The guest is named by its address, MAC address or id, and need not be there for the first two. It ends with Close, or when the
// network is removed because nobody holds it: see [Networks.ForwardEnded].
func (n *Networks) Forward(ctx context.Context, network, guest string, port uint16, address string) (vmnet.Forwarded, error) {
	to := guestName(network, guest, port)
	answer, err := n.conn.ask(ctx, vmnet.Request{Command: vmnet.Forward, Version: vmnet.Version, Network: network, Guest: guest, Port: port, Address: address})
	if err != nil {
		return vmnet.Forwarded{}, aboutNetwork(opForward, to, err)
	}
	defer answer.close()
	f, err := vmnet.ParseForwarded(answer.root)
	if err != nil {
		err = &networkFault{NetworkInvalidReply, err}
	}
	return f, aboutNetwork(opForward, to, err)
}

// ForwardEnded returns a channel that gets what ended though the connection did not, with why.
func (n *Networks) ForwardEnded() <-chan vmnet.Event { return n.conn.events }

func guestName(network, guest string, port uint16) string {
	return fmt.Sprintf("%s/%s:%d", network, guest, port)
}

// Dial connects to a TCP port of a guest, which is named by its address, MAC address or id. The guest sees the network's gateway as its peer.
func (n *Networks) Dial(ctx context.Context, network, guest string, port uint16) (*net.UnixConn, error) {
	conn, err := n.dial(ctx, vmnet.Request{Command: vmnet.Dial, Version: vmnet.Version, Network: network, Guest: guest, Port: port})
	return conn, aboutNetwork(opDial, guestName(network, guest, port), err)
}

func (n *Networks) dial(ctx context.Context, r vmnet.Request) (*net.UnixConn, error) {
	answer, err := n.conn.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	defer answer.close()
	at, err := vmnet.ParseConnection(answer.root)
	if err != nil {
		return nil, &networkFault{NetworkInvalidReply, err}
	}
	fd, err := answer.take(at)
	if err != nil {
		return nil, &networkFault{NetworkInvalidReply, err}
	}
	file := os.NewFile(uintptr(fd.Take()), r.Guest)
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	stream, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, &networkFault{NetworkInvalidReply, errors.New("the connection is no Unix socket")}
	}
	return stream, nil
}
