// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/switchboard-ipc/switchboard/network/usernet"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

const (
	maxForwards = 64 // of one connection
	lowPorts    = 1024
)

// forwarding says whose a forward is.
type forwarding struct {
	connection uint64
	on         *made
}

// forward has an address of the host lead to a guest, until the connection or the network ends.
func (n *networks) forward(connection uint64, r vmnet.Request, who *Client) (vmnet.Forwarded, error) {
	listen, err := netip.ParseAddrPort(r.Address)
	if err != nil {
		return vmnet.Forwarded{}, vmnet.Refuse(vmnet.InvalidRequest, "address is %q, and must be an address and a port, such as 127.0.0.1:8080", r.Address)
	}
	if !who.ours() && (listen.Port() != 0 && listen.Port() < lowPorts || !listen.Addr().IsLoopback()) {
		return vmnet.Forwarded{}, vmnet.Refuse(vmnet.NotAllowed, "%v may forward ports of loopback addresses from %d on only", who, lowPorts)
	}
	m, guest, err := n.find(r, who)
	if err != nil {
		return vmnet.Forwarded{}, err
	}
	protocol := r.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, f := range n.forwards {
		if f.connection == connection {
			count++
		}
	}
	if count >= maxForwards {
		return vmnet.Forwarded{}, vmnet.Refuse(vmnet.InternalError, "the connection has %d forwards, and may not have more", count)
	}
	if _, open := n.ledger.connections[connection]; !open {
		return vmnet.Forwarded{}, errGone
	}
	f, err := m.Forward(protocol, listen, guest) // which waits for nothing
	switch {
	case errors.Is(err, usernet.ErrNotHere):
		return vmnet.Forwarded{}, vmnet.Refuse(vmnet.NotFound, "%v", inner(err))
	case err != nil:
		return vmnet.Forwarded{}, vmnet.Refuse(vmnet.CreateFailure, "%v", inner(err))
	}
	n.forwards[f] = forwarding{connection, m}
	n.log.Info("forward", "network", r.Network, "protocol", protocol, "address", f.Addr(), "guest", guest, "pid", who.PID)
	return vmnet.Forwarded{Protocol: protocol, Address: f.Addr().String(), Guest: guest.String()}, nil
}

// tellOfForwardsLocked takes out the forwards of a network that is gone, and tells whose they were.
func (n *networks) tellOfForwardsLocked(m *made, name string) {
	for f, of := range n.forwards {
		if of.on != m {
			continue
		}
		delete(n.forwards, f)
		e := vmnet.Event{
			Name: vmnet.ForwardEnded, Network: name, Address: f.Addr().String(),
			Reason: fmt.Sprintf("the network was removed: nobody had held it for %v", m.config.RemovalDelay),
		}
		n.work.Go(func() { n.tell(of.connection, e) }) // not under the lock
	}
}

func (n *networks) takeForwardsLocked(which func(forwarding) bool) (taken []Forward) {
	for f, of := range n.forwards {
		if which(of) {
			delete(n.forwards, f)
			taken = append(taken, f)
		}
	}
	return taken
}

// find returns an active network that the client may use, and the guest that a request names by address, MAC or id.
func (n *networks) find(r vmnet.Request, who *Client) (*made, netip.AddrPort, error) {
	m := n.running()[r.Network]
	switch {
	case m == nil:
		return nil, netip.AddrPort{}, vmnet.Refuse(vmnet.NotFound, "the network is not active: nobody has acquired it")
	case !who.may(m.config):
		return nil, netip.AddrPort{}, notAllowed(who)
	}
	if a, err := netip.ParseAddr(r.Guest); err == nil {
		return m, netip.AddrPortFrom(a, r.Port), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.guests {
		if g.network == r.Network && (g.id == r.Guest || strings.EqualFold(g.mac.String(), r.Guest)) {
			return m, netip.AddrPortFrom(g.ip(), r.Port), nil
		}
	}
	return nil, netip.AddrPort{}, vmnet.Refuse(vmnet.NotFound, "no guest has the address, MAC or id %q", r.Guest)
}

// ours reports whether the client is of this process' user, or root's.
func (c *Client) ours() bool { return c.UID == 0 || c.UID == os.Geteuid() }
