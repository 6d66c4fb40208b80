// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// Mode says how far guests reach.
type Mode string

// The modes.
const (
	Shared Mode = "shared" // each other, the host, and the outside by address translation
	Host   Mode = "host"   // each other, and the host as far as host_access lets them
)

const (
	// DefaultMTU is the largest packet if a file does not say, in bytes.
	DefaultMTU = 1500
	// DefaultRemovalDelay is how long a network stays without users if a file does not say.
	DefaultRemovalDelay = 120 * time.Second
	// Never is the RemovalDelay of a network that is not removed.
	Never time.Duration = -1
)

// Network is what a file says of a network, with the defaults for what it does not say.
type Network struct {
	Name        string
	File        string // "" for a built-in network
	Description string
	Mode        Mode

	Subnet            netip.Prefix // not valid: the driver chooses
	IPv6Prefix        netip.Prefix // not valid: the driver chooses
	ExternalInterface string       // "": where the default route leads

	NAT44, NAT66        bool
	DHCP                bool
	DNSProxy            bool
	RouterAdvertisement bool
	HostAccess          bool // guests reach the host's loopback services at the gateway's address
	MTU                 int

	Forwards     []Forward
	Reservations []Reservation

	RemovalDelay time.Duration // 0: at once; [Never]
	AllowUID     []uint32      // with AllowGID: who may acquire it; both empty: everybody
	AllowGID     []uint32

	at keyline.Lines
}

// Forward lets the host's side reach a guest's port.
type Forward struct {
	Protocol        string // "tcp" or "udp"
	ExternalAddress netip.Addr
	ExternalPort    uint16
	InternalAddress netip.Addr
	InternalPort    uint16
}

// Reservation gives a guest's MAC a fixed address.
type Reservation struct {
	MAC     [6]byte
	Address netip.Addr
}

// Default returns a network with no file and nothing but defaults.
func Default(name string, mode Mode) *Network {
	return &Network{
		Name: name, Mode: mode,
		NAT44: true, NAT66: true, DHCP: true, DNSProxy: true, RouterAdvertisement: true,
		HostAccess:   mode == Shared,
		MTU:          DefaultMTU,
		RemovalDelay: DefaultRemovalDelay,
	}
}

// Builtin returns the networks that exist without a file, by name.
func Builtin() []*Network {
	host := Default("host", Host)
	host.Description = "Virtual machines among themselves"
	shared := Default("shared", Shared)
	shared.Description = "Virtual machines among themselves and to the outside"
	return []*Network{host, shared}
}

// Gateway returns the second address of a configured subnet, which is the host's, or the zero address.
func (n *Network) Gateway() netip.Addr {
	if !n.Subnet.IsValid() {
		return netip.Addr{}
	}
	return n.Subnet.Masked().Addr().Next()
}

// Allows reports whether a process of this user and these groups may acquire the network.
func (n *Network) Allows(uid uint32, gids []uint32) bool {
	if len(n.AllowUID) == 0 && len(n.AllowGID) == 0 {
		return true
	}
	return slices.Contains(n.AllowUID, uid) || slices.ContainsFunc(gids, func(g uint32) bool { return slices.Contains(n.AllowGID, g) })
}

// Given reports whether the file has the key, such as "nat66".
func (n *Network) Given(key string) bool {
	return n.at.Has(key)
}

// Errorf makes an error about a key, for the driver that cannot do what it says. The line is that of the key,
// of what the key is in ("dhcp_reservations[1].mac_address"), or none.
func (n *Network) Errorf(key, format string, args ...any) *Error {
	e := &Error{File: n.File, Reason: faultf(key, format, args...).reason}
	if !n.at.IsZero() {
		e.Line = n.at.Line(key)
	}
	return e
}
