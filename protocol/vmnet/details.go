// SPDX-License-Identifier: Apache-2.0

package vmnet

import (
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// Details are what the reply to Acquire says in its key "network": how to attach, and what is to be known of the network.
type Details struct {
	Interface mach.Fd // the descriptor
	Kind      string  // of its socket: "stream" or "datagram"
	Name      string
	Mode      string // "shared" or "host"
	Subnet    string // "192.168.64.0"
	Mask      string
	Gateway   string
	DNS       string // "": there is none
	MTU       uint64 // in bytes
	MAC       string
	IP        string
	Lease     uint64
	Driver    string // "user"
	ID        string // whose MAC and address it is, with what was put behind it; "": an older service
}

// Reply returns the reply to Acquire.
func (d Details) Reply() xpc.Dict {
	return xpc.Dict{{Key: "network", Value: xpc.Dict{
		{Key: "interface", Value: xpc.FD{Right: mach.Right{Fd: d.Interface}}},
		{Key: "kind", Value: xpc.String(d.Kind)},
		{Key: "name", Value: xpc.String(d.Name)},
		{Key: "mode", Value: xpc.String(d.Mode)},
		{Key: "subnet", Value: xpc.String(d.Subnet)},
		{Key: "mask", Value: xpc.String(d.Mask)},
		{Key: "gateway", Value: xpc.String(d.Gateway)},
		{Key: "dns", Value: xpc.String(d.DNS)},
		{Key: "mtu", Value: xpc.Uint64(d.MTU)},
		{Key: "mac", Value: xpc.String(d.MAC)},
		{Key: "ip", Value: xpc.String(d.IP)},
		{Key: "lease", Value: xpc.Uint64(d.Lease)},
		{Key: "driver", Value: xpc.String(d.Driver)},
		{Key: "version", Value: xpc.Uint64(Version)},
		{Key: "id", Value: xpc.String(clean(d.ID))},
	}}}
}

// ParseError returns the [*Refusal] that a reply says, or nil. A code that is not known here is one, too.
func ParseError(root xpc.Dict) error {
	code, err := root.Int("error")
	switch {
	case err == nil:
		why, _ := root.String("reason")
		return &Refusal{Code: Code(code), Why: why}
	case root.Has("error"):
		return Refuse(InvalidReply, "%v", err)
	}
	return nil
}

// ParseDetails reads the reply to Acquire. The error is a [*Refusal]: what the reply says, or InvalidReply.
func ParseDetails(root xpc.Dict) (Details, error) {
	if err := ParseError(root); err != nil {
		return Details{}, err
	}
	network, err := root.Dict("network")
	if err != nil {
		return Details{}, Refuse(InvalidReply, "%v", err)
	}
	p := reading{root: network}
	fd, err := xpc.Get[xpc.FD](network, "interface")
	p.check(err, true)
	d := Details{
		Interface: fd.Fd, Kind: p.text("kind", true), Name: p.text("name", true), Mode: p.text("mode", true),
		Subnet: p.text("subnet", true), Mask: p.text("mask", true), Gateway: p.text("gateway", true), DNS: p.text("dns", true),
		MTU: p.number("mtu", true), MAC: p.text("mac", true), IP: p.text("ip", true), Lease: p.number("lease", true),
		Driver: p.text("driver", true), ID: p.text("id", false),
	}
	return d, p.invalid()
}
