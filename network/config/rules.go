// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"net/netip"
	"strings"
	"unicode"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

const (
	// A subnet's mask is between that of the largest private network and that which leaves room for one guest.
	minSubnetBits, maxSubnetBits = 8, 30
	// maxDescription is the length of the longest description, in bytes.
	maxDescription = 255
)

var uniqueLocal = netip.MustParsePrefix("fd00::/8")

// finish applies the rules about more than one key.
func (b *builder) finish() *fault {
	if b.mode == "" {
		return faultf("", `mode is missing: write mode = "shared" or mode = "host"`)
	}
	for _, rule := range []func() *fault{b.checkDescription, b.checkSubnet, b.checkIPv6, b.checkInterface, b.checkForwards, b.checkReservations} {
		if f := rule(); f != nil {
			return f
		}
	}
	return nil
}

func (b *builder) checkDescription() *fault {
	d := b.n.Description
	if len(d) > maxDescription || strings.ContainsFunc(d, unicode.IsControl) {
		return faultf("description", "description must be one line of at most %d bytes", maxDescription)
	}
	return nil
}

func (b *builder) checkSubnet() *fault {
	given, masked := b.subnet.IsValid(), b.n.Given("mask")
	switch {
	case given && !masked:
		return faultf("subnet", `subnet goes with mask only: add one, such as mask = "255.255.255.0"`)
	case masked && !given:
		return faultf("mask", "mask goes with subnet only: add that, or leave mask out")
	case !given:
		return nil
	case b.bits < minSubnetBits || b.bits > maxSubnetBits:
		return faultf("mask", "mask is that of a /%d, and must be from that of a /%d to that of a /%d", b.bits, minSubnetBits, maxSubnetBits)
	}
	p := netip.PrefixFrom(b.subnet, b.bits).Masked()
	a := p.Addr()
	if a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.As4()[0] == 0 || a.As4()[0] >= 224 {
		return faultf("subnet", `subnet is %s, which no network of guests can have: choose a private one, such as "192.168.42.0"`, p)
	}
	if a != b.subnet {
		return faultf("subnet", "subnet is %s, which with this mask is an address in a network: write %q", b.subnet, a)
	}
	b.n.Subnet = p
	return nil
}

func (b *builder) checkIPv6() *fault {
	switch {
	case !b.ipv6.IsValid() && b.length != 0:
		return faultf("ipv6_prefix_length", "ipv6_prefix_length goes with ipv6_prefix only: add that, or leave it out")
	case !b.ipv6.IsValid():
		return nil
	case !uniqueLocal.Contains(b.ipv6):
		return faultf("ipv6_prefix", `ipv6_prefix is %s, and must begin with "fd" (fd00::/8)`, b.ipv6)
	}
	if b.length == 0 {
		b.length = 64
	}
	p := netip.PrefixFrom(b.ipv6, int(b.length))
	if p.Masked() != p || p.Bits() < uniqueLocal.Bits() {
		return faultf("ipv6_prefix", "ipv6_prefix is %s, which has more bits than its length, %d", b.ipv6, b.length)
	}
	b.n.IPv6Prefix = p
	return nil
}

func (b *builder) checkInterface() *fault {
	if b.n.ExternalInterface != "" && b.n.Mode == Host {
		return faultf("external_interface", `external_interface goes with mode = "shared" only: a host network has no way out`)
	}
	return nil
}

// checkGuest checks that an address can be a guest's.
func (b *builder) checkGuest(key string, a netip.Addr) *fault {
	n := b.n
	if a.Is6() {
		if !n.IPv6Prefix.IsValid() || !n.IPv6Prefix.Contains(a) {
			return faultf(key, "%s is %s, which is not in the network's ipv6_prefix", key, a)
		}
		return nil
	}
	switch {
	case !n.Subnet.Contains(a):
		return faultf(key, "%s is %s, which is not in the subnet %s", key, a, n.Subnet)
	case a == n.Subnet.Addr(), a == n.Gateway(), a == Last(n.Subnet):
		return faultf(key, "%s is %s, which no guest can have: the first, second and last address of the subnet are taken", key, a)
	}
	return nil
}

// Last returns the last address of an IPv4 prefix, its broadcast address.
func Last(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for i, m := range net.CIDRMask(p.Bits(), 32) {
		a[i] |= ^m
	}
	return netip.AddrFrom4(a)
}

func (b *builder) checkForwards() *fault {
	const list = "port_forwarding_rules"
	n := b.n
	type outer struct {
		protocol string
		address  netip.Addr
		port     uint16
	}
	seen := make(map[outer]bool)
	for i, f := range n.Forwards {
		at := keyline.Element(list, i)
		o := outer{f.Protocol, f.ExternalAddress, f.ExternalPort}
		switch {
		case n.Mode != Shared:
			return faultf(list, `%s goes with mode = "shared" only: use "switchboard network forward" for a host network`, list)
		case !n.Subnet.IsValid():
			return faultf(list, "%s needs a fixed subnet: add subnet and mask", list)
		case seen[o]:
			return faultf(at+".external_port", "%s has %s port %d of %s a second time", list, f.Protocol, f.ExternalPort, f.ExternalAddress)
		}
		seen[o] = true
		if bad := b.checkGuest(at+".internal_address", f.InternalAddress); bad != nil {
			return bad
		}
	}
	return nil
}

func (b *builder) checkReservations() *fault {
	const list = "dhcp_reservations"
	n := b.n
	macs, addresses := make(map[[6]byte]bool), make(map[netip.Addr]bool)
	for i, r := range n.Reservations {
		at := keyline.Element(list, i)
		switch {
		case !n.DHCP:
			return faultf(list, "%s goes with dhcp only: take dhcp = false out, or the reservations", list)
		case !n.Subnet.IsValid():
			return faultf(list, "%s needs a fixed subnet: add subnet and mask", list)
		case macs[r.MAC]:
			return faultf(at+".mac_address", "%s has %s a second time", list, net.HardwareAddr(r.MAC[:]))
		case addresses[r.Address]:
			return faultf(at+".ip_address", "%s has %s a second time", list, r.Address)
		}
		macs[r.MAC], addresses[r.Address] = true, true
		if bad := b.checkGuest(at+".ip_address", r.Address); bad != nil {
			return bad
		}
	}
	return nil
}
