// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// newLease reads the texts of a reply (docs/networks.md).
func newLease(d vmnet.Details) (*Lease, error) {
	l := &Lease{Network: d.Name, Kind: d.Kind, Mode: d.Mode, Driver: d.Driver, ID: d.Lease, Name: d.ID, MTU: int(min(d.MTU, math.MaxInt32))}
	var r addressReader
	l.Gateway, l.IP = r.address("gateway", d.Gateway), r.address("ip", d.IP)
	if d.DNS != "" {
		l.DNS = r.address("dns", d.DNS)
	}
	subnet, mask := r.address("subnet", d.Subnet), r.address("mask", d.Mask)
	l.Mask = mask.AsSlice()
	ones, bits := l.Mask.Size()
	if bits == 0 || bits != subnet.BitLen() {
		r.fail("mask", fmt.Errorf("%q is none of %q", d.Mask, d.Subnet))
	}
	l.Subnet = netip.PrefixFrom(subnet, ones)
	mac, err := net.ParseMAC(d.MAC)
	if err != nil {
		r.fail("mac", err)
	}
	l.MAC = mac
	return l, r.err
}

// addressReader reads addresses, and keeps the first fault.
type addressReader struct{ err error }

func (r *addressReader) fail(key string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("key %q: %w", key, err)
	}
}

func (r *addressReader) address(key, text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		r.fail(key, err)
	}
	return a
}
