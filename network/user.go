// SPDX-License-Identifier: Apache-2.0

package network

import (
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// UserDriver makes networks that need no privilege: they are in this process, and end with it. The zero value bounds nothing and logs
// nothing; see [NewUserDriver].
type UserDriver struct {
	log   *slog.Logger
	flows flows
}

// NewUserDriver makes the driver. The logger is told of guests that are detached for a fault of theirs; nil: nobody is. Guests of all its
// networks have so many connections to the host and outside at a time, that descriptors are left for the rest.
func NewUserDriver(log *slog.Logger) (UserDriver, error) {
	s, err := ownShares()
	if err != nil {
		return UserDriver{}, err
	}
	return UserDriver{log, make(flows, s.flows)}, nil
}

// Name returns "user".
func (UserDriver) Name() string { return "user" }

// Check returns a [*config.Error] for what needs a privilege, or is IPv6.
func (UserDriver) Check(n *config.Network) error {
	_, err := usernet.ConfigOf(n)
	return err
}

// Make makes a network.
func (d UserDriver) Make(n *config.Network, taken, avoid []netip.Prefix) (Network, error) {
	c, err := usernet.ConfigOf(n)
	if err != nil {
		return nil, err
	}
	c.Logger, c.Taken = d.log, taken
	if d.flows != nil {
		c.Dial = d.flows.dial
	}
	if !c.Subnet.IsValid() {
		if p, err := usernet.PickSubnet(c.Outside, append(avoid, taken...)); err == nil {
			c.Subnet = p
		}
	}
	made, err := usernet.New(c)
	if err != nil {
		return nil, err
	}
	return userNetwork{made}, nil
}

type userNetwork struct{ *usernet.Network }

func (n userNetwork) Attach(kind usernet.Kind, mac net.HardwareAddr) (Attachment, error) {
	guest, end, err := n.Connect(kind, usernet.GuestConfig{MAC: mac})
	if err != nil {
		return nil, err
	}
	return &userAttachment{guest, end}, nil
}

func (n userNetwork) Forward(protocol string, listen, guest netip.AddrPort) (Forward, error) {
	f, err := n.Network.Forward(protocol, listen, guest)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (n userNetwork) Forwards() []Forward {
	var all []Forward
	for _, f := range n.Network.Forwards() {
		all = append(all, f)
	}
	return all
}

type userAttachment struct {
	*usernet.Guest
	end *os.File
}

func (a *userAttachment) File() *os.File { return a.end }

func (a *userAttachment) Stats() usernet.Traffic { return a.Traffic() }

func (a *userAttachment) Close() error {
	a.Guest.Close()
	return a.end.Close()
}
