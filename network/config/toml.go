// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"fmt"
	"net"
	"strings"
)

// TOML returns the text of a file that says the same: what has its default is left out.
func (n *Network) TOML() []byte {
	var b bytes.Buffer
	d := Default(n.Name, n.Mode)
	fmt.Fprintf(&b, "mode = %s\n", quote(string(n.Mode)))
	put := func(key, value string, say bool) {
		if say {
			fmt.Fprintf(&b, "%s = %s\n", key, value)
		}
	}
	put("description", quote(n.Description), n.Description != "")
	if n.Subnet.IsValid() {
		put("subnet", quote(n.Subnet.Addr().String()), true)
		put("mask", quote(net.IP(net.CIDRMask(n.Subnet.Bits(), 32)).String()), true)
	}
	if n.IPv6Prefix.IsValid() {
		put("ipv6_prefix", quote(n.IPv6Prefix.Addr().String()), true)
		put("ipv6_prefix_length", fmt.Sprint(n.IPv6Prefix.Bits()), true)
	}
	put("external_interface", quote(n.ExternalInterface), n.ExternalInterface != "")
	for _, f := range []struct {
		key        string
		value, dft bool
	}{
		{"nat44", n.NAT44, d.NAT44}, {"nat66", n.NAT66, d.NAT66}, {"dhcp", n.DHCP, d.DHCP}, {"dns_proxy", n.DNSProxy, d.DNSProxy},
		{"router_advertisement", n.RouterAdvertisement, d.RouterAdvertisement}, {"host_access", n.HostAccess, d.HostAccess},
	} {
		put(f.key, fmt.Sprint(f.value), f.value != f.dft)
	}
	put("mtu", fmt.Sprint(n.MTU), n.MTU != d.MTU)
	removal := quote(n.RemovalDelay.String())
	switch n.RemovalDelay {
	case 0:
		removal = "0"
	case Never:
		removal = quote("never")
	}
	put("removal_delay", removal, n.RemovalDelay != d.RemovalDelay)
	put("allow_uid", numbers(n.AllowUID), len(n.AllowUID) > 0)
	put("allow_gid", numbers(n.AllowGID), len(n.AllowGID) > 0)
	for _, f := range n.Forwards {
		fmt.Fprintf(&b, "\n[[port_forwarding_rules]]\nprotocol = %s\n", quote(f.Protocol))
		put("external_address", quote(f.ExternalAddress.String()), f.ExternalAddress.String() != "127.0.0.1")
		fmt.Fprintf(&b, "external_port = %d\ninternal_address = %s\ninternal_port = %d\n", f.ExternalPort, quote(f.InternalAddress.String()), f.InternalPort)
	}
	for _, r := range n.Reservations {
		fmt.Fprintf(&b, "\n[[dhcp_reservations]]\nmac_address = %s\nip_address = %s\n", quote(net.HardwareAddr(r.MAC[:]).String()), quote(r.Address.String()))
	}
	return b.Bytes()
}

func numbers(list []uint32) string {
	return "[" + strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]") + "]"
}

// quote writes a TOML text; control characters, which no value here has, become spaces.
func quote(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
