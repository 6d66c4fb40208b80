// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"crypto/sha256"
	"net"
)

type hwaddr [6]byte

func (a hwaddr) isGroup() bool { return a[0]&1 != 0 }

func (a hwaddr) String() string { return net.HardwareAddr(a[:]).String() }

// MAC returns the MAC address that goes with an id: the same for the same id, always; locally administered, unicast.
func MAC(id string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("switchboard mac\x00" + id))
	m := net.HardwareAddr(sum[:6:6])
	m[0] = m[0]&^1 | 2
	return m
}
