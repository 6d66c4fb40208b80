// SPDX-License-Identifier: Apache-2.0

package vmnet

import (
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// Never is the RemovalDelay of a network that is not removed.
const Never = -1

// Network is what List and Status say of one network.
type Network struct {
	Name        string
	Mode        string // "shared" or "host"; "": its file is wrong
	Description string
	File        string // "": built in
	Fault       string // what is wrong with the file, with its line
	Active      bool   // what follows is there

	Driver       string
	Subnet       string
	Mask         string
	Gateway      string
	DNS          string // "": there is none
	MTU          uint64
	Since        int64 // nanoseconds since 1970
	RemovalDelay int64 // nanoseconds; Never
	RemoveAt     int64 // nanoseconds since 1970; 0: it is held, or never removed
	Leases       uint64
	Forwards     []Forwarded
	Counts       Counts
	TCP, UDP     Flows
}

// Counts are a network's or a guest's frames and their bytes.
type Counts struct {
	FramesIn, BytesIn   uint64 // from guests
	FramesOut, BytesOut uint64 // to guests
	Dropped             uint64 // for guests that did not read
	Refused             uint64 // from guests
}

// Flows counts connections, or exchanges of datagrams, through a network's gateway.
type Flows struct{ Now, All, Refused uint64 }

// Forwarded is what listens on the host for a guest; also the reply to Forward.
type Forwarded struct {
	Protocol string // "tcp" or "udp"
	Address  string // "127.0.0.1:8080"
	Guest    string // "192.168.64.5:80"
}

// Lease is what Leases says of one.
type Lease struct {
	ID       uint64
	Network  string
	Identity string // what its MAC follows from
	MAC, IP  string
	Kind     string
	PID, UID uint64 // of who acquired it
	Since    int64  // nanoseconds since 1970
	Fault    string // why its interface is closed; "": it is not
	Counts   Counts
}

// Replies are bounded, so that they can be read; More says that there is more After the last one.
const (
	maxListBytes  = 48 << 10
	maxListValues = 3000
	maxForwards   = 256
)

// NetworksReply returns the reply to List and Status: as many of the networks as fit.
func NetworksReply(all []Network) xpc.Dict { return list("networks", all, Network.dict) }

// LeasesReply returns the reply to Leases: as many of them as fit.
func LeasesReply(all []Lease) xpc.Dict { return list("leases", all, Lease.dict) }

func list[T any](key string, all []T, dict func(T) xpc.Dict) xpc.Dict {
	some := xpc.Array{}
	size, values, more := 0, 0, false
	for _, one := range all {
		d := dict(one)
		b, _, err := xpc.AppendPayload(nil, xpc.MagicCurrent, d, nil)
		if err != nil { // such as text that is none: it is better left out than the others with it
			continue
		}
		size, values = size+len(b), values+count(d)
		if more = len(some) > 0 && (size > maxListBytes || values > maxListValues); more {
			break
		}
		some = append(some, d)
	}
	return xpc.Dict{{Key: key, Value: some}, {Key: "more", Value: xpc.Bool(more)}, {Key: "version", Value: xpc.Uint64(Version)}}
}

// count counts a value and those in it.
func count(v xpc.Value) int {
	n := 1
	switch v := v.(type) {
	case xpc.Dict:
		for _, e := range v {
			n += count(e.Value)
		}
	case xpc.Array:
		for _, e := range v {
			n += count(e)
		}
	}
	return n
}

func (n Network) dict() xpc.Dict {
	d := xpc.Dict{
		{Key: "name", Value: xpc.String(n.Name)}, {Key: "mode", Value: xpc.String(n.Mode)}, {Key: "description", Value: xpc.String(n.Description)},
		{Key: "file", Value: xpc.String(n.File)}, {Key: "fault", Value: xpc.String(n.Fault)}, {Key: "active", Value: xpc.Bool(n.Active)},
	}
	if !n.Active {
		return d
	}
	forwards := xpc.Array{}
	for _, f := range n.Forwards[:min(len(n.Forwards), maxForwards)] {
		forwards = append(forwards, f.Reply())
	}
	d = append(d, xpc.Dict{
		{Key: "driver", Value: xpc.String(n.Driver)}, {Key: "subnet", Value: xpc.String(n.Subnet)}, {Key: "mask", Value: xpc.String(n.Mask)},
		{Key: "gateway", Value: xpc.String(n.Gateway)}, {Key: "dns", Value: xpc.String(n.DNS)}, {Key: "mtu", Value: xpc.Uint64(n.MTU)},
		{Key: "since", Value: xpc.Date(n.Since)}, {Key: "removal_delay", Value: xpc.Int64(n.RemovalDelay)},
		{Key: "remove_at", Value: xpc.Date(n.RemoveAt)}, {Key: "leases", Value: xpc.Uint64(n.Leases)}, {Key: "forwards", Value: forwards},
	}...)
	d = append(d, n.Counts.dict()...)
	d = append(d, n.TCP.dict("tcp")...)
	return append(d, n.UDP.dict("udp")...)
}

func (c Counts) dict() xpc.Dict {
	return xpc.Dict{
		{Key: "frames_in", Value: xpc.Uint64(c.FramesIn)}, {Key: "bytes_in", Value: xpc.Uint64(c.BytesIn)},
		{Key: "frames_out", Value: xpc.Uint64(c.FramesOut)}, {Key: "bytes_out", Value: xpc.Uint64(c.BytesOut)},
		{Key: "dropped", Value: xpc.Uint64(c.Dropped)}, {Key: "refused", Value: xpc.Uint64(c.Refused)},
	}
}

func (f Flows) dict(protocol string) xpc.Dict {
	return xpc.Dict{
		{Key: protocol + "_now", Value: xpc.Uint64(f.Now)}, {Key: protocol + "_all", Value: xpc.Uint64(f.All)},
		{Key: protocol + "_refused", Value: xpc.Uint64(f.Refused)},
	}
}

// Reply returns the reply to Forward.
func (f Forwarded) Reply() xpc.Dict {
	return xpc.Dict{
		{Key: "protocol", Value: xpc.String(f.Protocol)}, {Key: "address", Value: xpc.String(f.Address)}, {Key: "guest", Value: xpc.String(f.Guest)},
	}
}

func (l Lease) dict() xpc.Dict {
	return append(xpc.Dict{
		{Key: "lease", Value: xpc.Uint64(l.ID)}, {Key: "network", Value: xpc.String(l.Network)}, {Key: "id", Value: xpc.String(l.Identity)},
		{Key: "mac", Value: xpc.String(l.MAC)}, {Key: "ip", Value: xpc.String(l.IP)}, {Key: "kind", Value: xpc.String(l.Kind)},
		{Key: "pid", Value: xpc.Uint64(l.PID)}, {Key: "uid", Value: xpc.Uint64(l.UID)}, {Key: "since", Value: xpc.Date(l.Since)},
		{Key: "fault", Value: xpc.String(clean(l.Fault))},
	}, l.Counts.dict()...)
}

// ReleasedReply returns the reply to Release.
func ReleasedReply(lease uint64) xpc.Dict {
	return xpc.Dict{{Key: "released", Value: xpc.Uint64(lease)}}
}

// ConnectionReply returns the reply to Dial: the message's only descriptor is the connection, a stream.
func ConnectionReply() xpc.Dict {
	return xpc.Dict{{Key: "connection", Value: xpc.FD{Right: mach.Right{Fd: 1}}}}
}

// ParseNetworks reads the reply to List or Status. The error is a [*Refusal]: what the reply says, or InvalidReply.
func ParseNetworks(root xpc.Dict) (all []Network, more bool, err error) {
	err = parseList(root, "networks", &more, func(p *reading) {
		n := Network{
			Name: p.text("name", true), Mode: p.text("mode", true), Description: p.text("description", true), File: p.text("file", true),
			Fault: p.text("fault", true), Active: p.truth("active"),
		}
		if n.Active {
			n.Driver, n.Subnet, n.Mask = p.text("driver", true), p.text("subnet", true), p.text("mask", true)
			n.Gateway, n.DNS, n.MTU = p.text("gateway", true), p.text("dns", true), p.number("mtu", true)
			n.Since, n.RemovalDelay, n.RemoveAt = p.date("since"), p.signed("removal_delay"), p.date("remove_at")
			n.Leases, n.Counts, n.TCP, n.UDP = p.number("leases", true), p.counts(), p.flows("tcp"), p.flows("udp")
			forwards, err := p.root.Array("forwards")
			p.check(err, true)
			for _, v := range forwards {
				n.Forwards = append(n.Forwards, p.inside(v).forwarded())
			}
		}
		all = append(all, n)
	})
	return all, more, err
}

// ParseLeases reads the reply to Leases, as ParseNetworks.
func ParseLeases(root xpc.Dict) (all []Lease, more bool, err error) {
	err = parseList(root, "leases", &more, func(p *reading) {
		all = append(all, Lease{
			ID: p.number("lease", true), Network: p.text("network", true), Identity: p.text("id", true), MAC: p.text("mac", true),
			IP: p.text("ip", true), Kind: p.text("kind", true), PID: p.number("pid", true), UID: p.number("uid", true),
			Since: p.date("since"), Fault: p.text("fault", false), Counts: p.counts(),
		})
	})
	return all, more, err
}

// ParseForwarded reads the reply to Forward.
func ParseForwarded(root xpc.Dict) (Forwarded, error) {
	if err := ParseError(root); err != nil {
		return Forwarded{}, err
	}
	p := reading{root: root}
	f := p.forwarded()
	return f, p.invalid()
}

// ParseConnection reads the reply to Dial, and returns the position of its descriptor.
func ParseConnection(root xpc.Dict) (mach.Fd, error) {
	if err := ParseError(root); err != nil {
		return 0, err
	}
	p := reading{root: root}
	fd, err := xpc.Get[xpc.FD](root, "connection")
	p.check(err, true)
	return fd.Fd, p.invalid()
}

func parseList(root xpc.Dict, key string, more *bool, one func(*reading)) error {
	if err := ParseError(root); err != nil {
		return err
	}
	p := reading{root: root}
	*more = p.truth("more")
	all, err := root.Array(key)
	p.check(err, true)
	for _, v := range all {
		one(p.inside(v))
	}
	return p.invalid()
}
