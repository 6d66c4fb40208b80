// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/switchboard-ipc/switchboard/network/config"
)

// Errors of attaching and dialling.
var (
	ErrClosed       = net.ErrClosed
	ErrMACInUse     = errors.New("a guest with this MAC address is attached")
	ErrAddressInUse = errors.New("the address is taken")
	ErrNoAddress    = errors.New("the network has no free address")
	ErrNotHere      = errors.New("the address is not one that a guest of this network can have")
)

// Config says how a network is to be.
type Config struct {
	Name       string
	Outside    bool         // guests reach the outside
	HostAccess bool         // the gateway's address is the host's 127.0.0.1
	Subnet     netip.Prefix // the zero Prefix: one that is free, see [PickSubnet]
	Taken      []netip.Prefix
	MTU        int // 0: 1500
	NoDHCP     bool
	NoDNS      bool

	Reservations []config.Reservation
	Forwards     []config.Forward

	// Dial makes the connections of the way out; nil: a [net.Dialer]. The network is "tcp" or "udp".
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolver answers guests' questions for names; nil: the host's. Without Outside nobody is asked.
	Resolver *net.Resolver
	// Logger is told of guests that are detached for a fault of theirs; nil: nobody is.
	Logger *slog.Logger
}

// Info is what those who use a network need to know of it.
type Info struct {
	Name        string
	Subnet      netip.Prefix
	Gateway     netip.Addr
	DNS         netip.Addr // the zero Addr if there is none
	First, Last netip.Addr // the guests' range
	MTU         int
	GatewayMAC  net.HardwareAddr
}

// Mask returns the subnet's mask, such as 255.255.255.0.
func (i Info) Mask() net.IPMask { return net.CIDRMask(i.Subnet.Bits(), 32) }

// ConfigOf returns the Config for what a file says, or a [*config.Error] that names the line of what this driver cannot do.
func ConfigOf(n *config.Network) (Config, error) {
	for _, c := range []struct {
		key string
		bad bool
		why string
	}{
		{"ipv6_prefix", n.IPv6Prefix.IsValid(), "has no IPv6: take ipv6_prefix out"},
		{"nat66", n.NAT66 && n.Given("nat66"), "has no IPv6: take nat66 out, or make it false"},
		{"router_advertisement", n.RouterAdvertisement && n.Given("router_advertisement"),
			"has no IPv6: take router_advertisement out, or make it false"},
		{"external_interface", n.ExternalInterface != "", "goes out as the host's programs do, and cannot choose an interface: take external_interface out"},
		{"nat44", !n.NAT44 && n.Mode == config.Shared, `reaches the outside by address translation only: take nat44 = false out, or write mode = "host"`},
	} {
		if c.bad {
			return Config{}, n.Errorf(c.key, "the user driver %s", c.why)
		}
	}
	for i, f := range n.Forwards {
		if f.InternalAddress.Is6() {
			return Config{}, n.Errorf(fmt.Sprintf("port_forwarding_rules[%d].internal_address", i), "the user driver has no IPv6: use the guest's IPv4 address")
		}
	}
	return Config{
		Name: n.Name, Outside: n.Mode == config.Shared, HostAccess: n.HostAccess, Subnet: n.Subnet, MTU: n.MTU,
		NoDHCP: !n.DHCP, NoDNS: !n.DNSProxy, Reservations: n.Reservations, Forwards: n.Forwards,
	}, nil
}

// complete checks a Config, fills in defaults, and chooses the subnet.
func (c *Config) complete() (err error) {
	if c.MTU == 0 {
		c.MTU = config.DefaultMTU
	}
	if c.MTU < config.MinMTU || c.MTU > config.MaxMTU {
		return fmt.Errorf("mtu %d is not from %d to %d", c.MTU, config.MinMTU, config.MaxMTU)
	}
	if !c.Subnet.IsValid() {
		if c.Subnet, err = PickSubnet(c.Outside, c.Taken); err != nil {
			return err
		}
	}
	c.Subnet = c.Subnet.Masked()
	if !c.Subnet.Addr().Is4() || c.Subnet.Bits() > 30 || c.Subnet.Bits() < 8 {
		return fmt.Errorf("subnet %s is not one of IPv4 from /8 to /30", c.Subnet)
	}
	for _, t := range c.Taken {
		if t.Overlaps(c.Subnet) {
			return fmt.Errorf("subnet %s overlaps %s, which another network has", c.Subnet, t)
		}
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (c *Config) info() Info {
	i := Info{Name: c.Name, Subnet: c.Subnet, Gateway: c.Subnet.Addr().Next(), MTU: c.MTU, GatewayMAC: MAC("gateway of " + c.Name)}
	i.First, i.Last = i.Gateway.Next(), config.Last(c.Subnet).Prev()
	if !c.NoDNS {
		i.DNS = i.Gateway
	}
	return i
}
