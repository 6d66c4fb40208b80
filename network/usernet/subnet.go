// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Where candidates begin, as vmnet has it: 192.168.64 for networks with a way out, 192.168.128 for others.
const firstShared, firstHost = 64, 128

// neighbours are what other programs take without looking; they come last.
var neighbours = []netip.Prefix{
	netip.MustParsePrefix("192.168.0.0/23"),   // home routers
	netip.MustParsePrefix("192.168.39.0/24"),  // minikube
	netip.MustParsePrefix("192.168.104.0/22"), // Lima
	netip.MustParsePrefix("192.168.122.0/24"), // libvirt
	netip.MustParsePrefix("192.168.127.0/24"), // gvproxy
}

var errNoSubnet = errors.New("every private subnet overlaps an address or route of this machine, or another network")

// PickSubnet returns a /24 that overlaps nothing that is taken and no address or route of this machine.
func PickSubnet(outside bool, taken []netip.Prefix) (netip.Prefix, error) {
	used, err := HostPrefixes()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cannot choose a subnet: %w", err)
	}
	return pickSubnet(outside, append(used, taken...))
}

func pickSubnet(outside bool, used []netip.Prefix) (netip.Prefix, error) {
	first := firstHost
	if outside {
		first = firstShared
	}
	overlaps := func(list []netip.Prefix, p netip.Prefix) bool { return slices.ContainsFunc(list, p.Overlaps) }
	for _, last := range []bool{false, true} {
		for i := range 256 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(first + i), 0}), 24)
			if overlaps(neighbours, p) == last && !overlaps(used, p) {
				return p, nil
			}
		}
	}
	for _, large := range []struct{ a, from, to int }{{10, 64, 128}, {172, 20, 32}, {100, 64, 128}} {
		for b := large.from; b < large.to; b++ {
			for c := range 256 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(large.a), byte(b), byte(c), 0}), 24)
				if !overlaps(used, p) {
					return p, nil
				}
			}
		}
	}
	return netip.Prefix{}, errNoSubnet
}

// HostPrefixes returns the IPv4 networks that this machine has addresses in or routes to; on other systems than Linux, the former.
func HostPrefixes() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Bits() > 0 {
			all = append(all, p.Masked())
		}
	}
	if runtime.GOOS != "linux" {
		return all, nil
	}
	file, err := os.Open("/proc/net/route")
	if err != nil {
		return all, nil // there may be no /proc; the addresses are the better part
	}
	defer file.Close()
	return append(all, parseRoutes(file)...), nil
}

// parseRoutes reads the destinations of a table as Linux has it in /proc/net/route, without the default one.
func parseRoutes(r io.Reader) []netip.Prefix {
	var all []netip.Prefix
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			continue
		}
		destination, err := hex.DecodeString(fields[1])
		mask, err2 := strconv.ParseUint(fields[7], 16, 32)
		if err != nil || err2 != nil || len(destination) != 4 || mask == 0 {
			continue
		}
		a := toAddr(binary.NativeEndian.Uint32(destination)) // the table's numbers are in the machine's order
		all = append(all, netip.PrefixFrom(a, bits.OnesCount32(uint32(mask))).Masked())
	}
	return all
}
