// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// list says which networks there are: those of files, the built-in ones, and active ones whose file is gone. Those that the client may not
// acquire are left out.
func (n *networks) list(who *Client, after string) []vmnet.Network {
	var all []vmnet.Network
	seen := make(map[string]bool)
	running := n.running()
	for _, e := range config.List(n.folders, n.uid) {
		if seen[e.Name] = true; e.Name != "" && e.Name <= after {
			continue
		}
		one := vmnet.Network{Name: e.Name, File: e.File}
		m := running[e.Name]
		err := e.Err
		if err == nil {
			err = n.driver.Check(e.Network)
		}
		switch {
		case m != nil && !who.may(m.config), m == nil && e.Network != nil && !who.may(e.Network):
			continue
		case m != nil:
			one = n.describe(m)
		case e.Network != nil:
			one.Mode, one.Description = string(e.Network.Mode), e.Network.Description
		}
		if err != nil {
			one.Fault = err.Error()
		}
		all = append(all, one)
	}
	for name, m := range running {
		if !seen[name] && name > after && who.may(m.config) {
			all = append(all, n.describe(m))
		}
	}
	slices.SortStableFunc(all, func(a, b vmnet.Network) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// status says what the active networks do, or one network, active or not.
func (n *networks) status(who *Client, name, after string) ([]vmnet.Network, error) {
	running := n.running()
	all := []vmnet.Network{}
	if name != "" {
		for _, one := range n.list(who, "") {
			if one.Name == name {
				return append(all, one), nil
			}
		}
		return nil, n.unknown()
	}
	for _, name := range slices.Sorted(maps.Keys(running)) {
		if m := running[name]; name > after && who.may(m.config) {
			all = append(all, n.describe(m))
		}
	}
	return all, nil
}

// running returns the networks that are there.
func (n *networks) running() map[string]*made {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.made)
}

func (n *networks) describe(m *made) vmnet.Network {
	info, stats := m.Info(), m.Stats()
	one := vmnet.Network{
		Name: info.Name, Mode: string(m.config.Mode), Description: m.config.Description, File: m.config.File, Active: true,
		Driver: n.driver.Name(), Subnet: info.Subnet.Addr().String(), Mask: net.IP(info.Mask()).String(), Gateway: info.Gateway.String(),
		MTU: uint64(info.MTU), Since: m.since.UnixNano(), RemovalDelay: int64(m.config.RemovalDelay),
		Counts: counts(stats.Traffic), TCP: flowCount(stats.TCP), UDP: flowCount(stats.UDP),
	}
	if info.DNS.IsValid() {
		one.DNS = info.DNS.String()
	}
	for _, f := range m.Forwards() {
		one.Forwards = append(one.Forwards, vmnet.Forwarded{Protocol: f.Protocol(), Address: f.Addr().String(), Guest: f.Guest().String()})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.ledger.networks[info.Name]; r != nil && n.made[info.Name] == m {
		one.Leases = uint64(r.leases)
		if !r.remove.IsZero() {
			one.RemoveAt = r.remove.UnixNano()
		}
	}
	return one
}

func counts(t usernet.Traffic) vmnet.Counts { return vmnet.Counts(t) }

func flowCount(f usernet.Flows) vmnet.Flows {
	return vmnet.Flows{Now: uint64(f.Now), All: uint64(f.All), Refused: uint64(f.Refused)}
}

// leases says who holds what, by number, on one network or, without a name, on all that the client may acquire.
func (n *networks) leases(who *Client, name, after string) ([]vmnet.Lease, error) {
	var last uint64
	if after != "" {
		var err error
		if last, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, vmnet.Refuse(vmnet.InvalidRequest, "after is %q, and must be the number of a lease", after)
		}
	}
	running := n.running()
	if name != "" && running[name] == nil { // it may be there, without leases
		if _, err := n.status(who, name, ""); err != nil {
			return nil, err
		}
	}
	allowed := make(map[string]bool)
	for network, m := range running {
		allowed[network] = (name == "" || name == network) && who.may(m.config)
	}
	n.mu.Lock()
	var guests []*guest
	for _, g := range n.guests {
		if g.lease > last && allowed[g.network] {
			guests = append(guests, g)
		}
	}
	n.mu.Unlock()
	slices.SortFunc(guests, func(a, b *guest) int { return cmp.Compare(a.lease, b.lease) })
	all := []vmnet.Lease{}
	for _, g := range guests {
		all = append(all, vmnet.Lease{
			ID: g.lease, Network: g.network, Identity: g.id, MAC: g.mac.String(), IP: g.ip().String(), Kind: string(g.kind),
			PID: uint64(max(g.client.PID, 0)), UID: uint64(g.client.UID), Since: g.since.UnixNano(), Fault: g.fault(), Counts: counts(g.Stats()),
		})
	}
	return all, nil
}
