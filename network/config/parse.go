// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Suffix is how the name of a network's file ends.
const Suffix = ".toml"

// MinMTU and MaxMTU are the smallest and the largest mtu, in bytes.
const (
	MinMTU = 576
	MaxMTU = 65520
)

const knownKeys = "mode, description, subnet, mask, ipv6_prefix, ipv6_prefix_length, external_interface, nat44, nat66, dhcp, dns_proxy, " +
	"router_advertisement, host_access, mtu, port_forwarding_rules, dhcp_reservations, removal_delay, allow_uid and allow_gid"

// Parse reads the text of a network's file, whose name gives the network's. The file is only named, not
// opened. The error is an [*Error].
func Parse(file string, data []byte) (*Network, error) {
	called, err := nameOf(file, Suffix)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		line := 1
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ = syntax.Position()
		}
		return nil, &Error{File: file, Line: line, Reason: "this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: "), Err: err}
	}
	return build(file, called, values, keyline.OfTOML(data))
}

// nameOf returns the name of the network that a file is about.
func nameOf(file string, suffixes ...string) (string, error) {
	base := filepath.Base(file)
	for _, suffix := range suffixes {
		stem, ok := strings.CutSuffix(base, suffix)
		if !ok {
			continue
		}
		if err := name.Check(stem); err != nil {
			return "", &Error{File: file, Reason: "the file is not named after a network: " + err.Error(), Err: err}
		}
		return stem, nil
	}
	return "", &Error{File: file, Reason: "the file's name does not end in " + strings.Join(suffixes, " or ") + ": name it after the network, NAME" + suffixes[0]}
}

// build makes a network of values, from wherever they come.
func build(file, called string, values map[string]any, at keyline.Lines) (*Network, error) {
	b := builder{n: Default(called, Shared), at: at}
	b.n.File, b.n.at = file, at
	f := b.each("", values, b.set)
	if f == nil {
		f = b.finish()
	}
	if f != nil {
		return nil, &Error{File: file, Line: at.Line(f.key), Reason: f.reason}
	}
	return b.n, nil
}

type builder struct {
	n  *Network
	at keyline.Lines

	mode         string
	subnet, ipv6 netip.Addr
	bits         int
	length       int64
}

// each sets every value of a table, in the order of the text.
func (b *builder) each(prefix string, values map[string]any, set func(key string, value any) *fault) *fault {
	order := make([]string, 0, len(values))
	for key := range values {
		order = append(order, key)
	}
	slices.SortFunc(order, func(x, y string) int {
		if d := b.at.Line(keyline.Join(prefix, x)) - b.at.Line(keyline.Join(prefix, y)); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	for _, key := range order {
		if f := set(key, values[key]); f != nil {
			return f
		}
	}
	return nil
}

// set takes the value of one key.
func (b *builder) set(key string, value any) *fault {
	n := b.n
	switch key {
	case "mode":
		return b.setMode(value)
	case "description":
		return text(key, value, &n.Description)
	case "subnet":
		return address4(key, value, &b.subnet)
	case "mask":
		return maskBits(key, value, &b.bits)
	case "ipv6_prefix":
		return address(key, value, &b.ipv6)
	case "ipv6_prefix_length":
		return number(key, value, 1, 128, &b.length)
	case "external_interface":
		return text(key, value, &n.ExternalInterface)
	case "nat44":
		return flag(key, value, &n.NAT44)
	case "nat66":
		return flag(key, value, &n.NAT66)
	case "dhcp":
		return flag(key, value, &n.DHCP)
	case "dns_proxy":
		return flag(key, value, &n.DNSProxy)
	case "router_advertisement":
		return flag(key, value, &n.RouterAdvertisement)
	case "host_access":
		return flag(key, value, &n.HostAccess)
	case "mtu":
		var v int64
		f := number(key, value, MinMTU, MaxMTU, &v)
		n.MTU = int(v)
		return f
	case "port_forwarding_rules":
		return tables(key, value, b.addForward)
	case "dhcp_reservations":
		return tables(key, value, b.addReservation)
	case "removal_delay":
		return delay(key, value, &n.RemovalDelay)
	case "allow_uid":
		return ids(key, value, &n.AllowUID)
	case "allow_gid":
		return ids(key, value, &n.AllowGID)
	}
	return faultf(key, "unknown key %q: the keys are %s", keyline.Clip(key), knownKeys)
}

func (b *builder) setMode(value any) *fault {
	if f := text("mode", value, &b.mode); f != nil {
		return f
	}
	b.n.Mode = Mode(b.mode)
	if b.n.Mode != Shared && b.n.Mode != Host {
		return faultf("mode", `mode is %q, and must be "shared" or "host"`, keyline.Clip(b.mode))
	}
	if !b.n.Given("host_access") {
		b.n.HostAccess = b.n.Mode == Shared
	}
	return nil
}

func (b *builder) addForward(prefix string, values map[string]any) *fault {
	f := Forward{ExternalAddress: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	bad := b.each(prefix, values, func(key string, value any) *fault {
		at := prefix + "." + key
		switch key {
		case "protocol":
			if bad := text(at, value, &f.Protocol); bad != nil {
				return bad
			}
			if f.Protocol != "tcp" && f.Protocol != "udp" {
				return faultf(at, `%s is %q, and must be "tcp" or "udp"`, at, keyline.Clip(f.Protocol))
			}
			return nil
		case "external_address":
			return address(at, value, &f.ExternalAddress)
		case "external_port":
			return port(at, value, &f.ExternalPort)
		case "internal_address":
			return address(at, value, &f.InternalAddress)
		case "internal_port":
			return port(at, value, &f.InternalPort)
		}
		return faultf(at, `unknown key %q: a rule has protocol, external_port, internal_address, internal_port, and perhaps external_address`, keyline.Clip(key))
	})
	if bad == nil {
		bad = required(prefix, values, "protocol", "external_port", "internal_address", "internal_port")
	}
	b.n.Forwards = append(b.n.Forwards, f)
	return bad
}

func (b *builder) addReservation(prefix string, values map[string]any) *fault {
	var r Reservation
	bad := b.each(prefix, values, func(key string, value any) *fault {
		at := prefix + "." + key
		switch key {
		case "mac_address":
			return mac(at, value, &r.MAC)
		case "ip_address":
			return address4(at, value, &r.Address)
		}
		return faultf(at, `unknown key %q: a reservation has mac_address and ip_address`, keyline.Clip(key))
	})
	if bad == nil {
		bad = required(prefix, values, "mac_address", "ip_address")
	}
	b.n.Reservations = append(b.n.Reservations, r)
	return bad
}

func required(prefix string, values map[string]any, keys ...string) *fault {
	for _, key := range keys {
		if _, ok := values[key]; !ok {
			return faultf(prefix, "%s has no %s, and must have one", prefix, key)
		}
	}
	return nil
}
