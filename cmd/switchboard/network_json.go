// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// networkJSON is one network in the output of network ls and show. What follows Active is that of one that is there, else empty.
type networkJSON struct {
	Name        string `json:"name"`
	Mode        string `json:"mode"` // "" if its file is faulty
	Description string `json:"description"`
	File        string `json:"file"`  // "": built in
	Fault       string `json:"fault"` // "", or FILE:LINE: reason
	Active      bool   `json:"active"`

	Driver       string        `json:"driver"`
	Subnet       string        `json:"subnet"`
	Mask         string        `json:"mask"`
	Gateway      string        `json:"gateway"`
	DNS          string        `json:"dns"`
	MTU          uint64        `json:"mtu"`
	Since        string        `json:"since"`         // RFC 3339 with milliseconds
	RemovalDelay float64       `json:"removal_delay"` // seconds; -1: never
	RemoveAt     string        `json:"remove_at"`     // "": it is held, or never removed
	LeaseCount   uint64        `json:"lease_count"`
	Forwards     []forwardJSON `json:"forwards"`
	Traffic      trafficJSON   `json:"traffic"`
	TCP          flowsJSON     `json:"tcp"`
	UDP          flowsJSON     `json:"udp"`

	Leases []leaseRowJSON `json:"leases,omitempty"` // of show only
}

type forwardJSON struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Guest    string `json:"guest"`
}

type trafficJSON struct {
	FramesIn  uint64 `json:"frames_in"`
	BytesIn   uint64 `json:"bytes_in"`
	FramesOut uint64 `json:"frames_out"`
	BytesOut  uint64 `json:"bytes_out"`
	Dropped   uint64 `json:"dropped"`
	Refused   uint64 `json:"refused"`
}

type flowsJSON struct {
	Now     uint64 `json:"now"`
	All     uint64 `json:"all"`
	Refused uint64 `json:"refused"`
}

// leaseRowJSON is one lease in the output of network leases.
type leaseRowJSON struct {
	Lease   uint64      `json:"lease"`
	Network string      `json:"network"`
	ID      string      `json:"id"`
	MAC     string      `json:"mac"`
	IP      string      `json:"ip"`
	Kind    string      `json:"kind"`
	PID     uint64      `json:"pid"` // of who acquired it, 0 if it cannot be seen
	UID     uint64      `json:"uid"`
	Since   string      `json:"since"`
	Fault   string      `json:"fault"` // why its interface is closed; "": it is not
	Traffic trafficJSON `json:"traffic"`
}

func newNetworkJSON(n vmnet.Network) networkJSON {
	j := networkJSON{
		Name: n.Name, Mode: n.Mode, Description: n.Description, File: n.File, Fault: n.Fault, Active: n.Active,
		Driver: n.Driver, Subnet: n.Subnet, Mask: n.Mask, Gateway: n.Gateway, DNS: n.DNS, MTU: n.MTU, Since: nanoTime(n.Since),
		RemovalDelay: time.Duration(n.RemovalDelay).Seconds(), RemoveAt: nanoTime(n.RemoveAt), LeaseCount: n.Leases,
		Forwards: []forwardJSON{}, Traffic: trafficJSON(n.Counts), TCP: flowsJSON(n.TCP), UDP: flowsJSON(n.UDP),
	}
	if n.RemovalDelay == vmnet.Never {
		j.RemovalDelay = -1
	}
	for _, f := range n.Forwards {
		j.Forwards = append(j.Forwards, forwardJSON(f))
	}
	return j
}

func newLeaseRow(l vmnet.Lease) leaseRowJSON {
	return leaseRowJSON{
		Lease: l.ID, Network: l.Network, ID: l.Identity, MAC: l.MAC, IP: l.IP, Kind: l.Kind, PID: l.PID, UID: l.UID, Since: nanoTime(l.Since),
		Fault: l.Fault, Traffic: trafficJSON(l.Counts),
	}
}

func nanoTime(n int64) string {
	if n == 0 {
		return ""
	}
	return timestamp(time.Unix(0, n))
}

func leaseRows(leases []vmnet.Lease) []leaseRowJSON {
	rows := make([]leaseRowJSON, 0, len(leases))
	for _, l := range leases {
		rows = append(rows, newLeaseRow(l))
	}
	return rows
}
