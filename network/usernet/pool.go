// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"sync"

	"github.com/switchboard-ipc/switchboard/network/config"
)

// maxRemembered is for how many MAC addresses that are gone a pool keeps their address.
const maxRemembered = 4096

// pool hands out a subnet's addresses. A MAC gets the address that it had, or its reserved one, or one that follows
// from the MAC itself, so that it mostly is the same also in a network that was made anew.
type pool struct {
	first, size uint32 // the guests' range
	reserved    map[hwaddr]netip.Addr
	reservedFor map[netip.Addr]hwaddr

	// mu guards the rest.
	mu         sync.Mutex
	taken      map[netip.Addr]hwaddr
	remembered map[hwaddr]netip.Addr
	had        map[netip.Addr]hwaddr // remembered, the other way round
}

func newPool(info Info, reservations []config.Reservation) *pool {
	p := &pool{
		first:    toNumber(info.First),
		size:     toNumber(info.Last) - toNumber(info.First) + 1,
		reserved: make(map[hwaddr]netip.Addr), reservedFor: make(map[netip.Addr]hwaddr),
		taken: make(map[netip.Addr]hwaddr), remembered: make(map[hwaddr]netip.Addr), had: make(map[netip.Addr]hwaddr),
	}
	for _, r := range reservations {
		p.reserved[r.MAC], p.reservedFor[r.Address] = r.Address, r.MAC
	}
	return p
}

func toNumber(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

func toAddr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// usable reports whether an address can be a guest's at all.
func (p *pool) usable(a netip.Addr) bool { return a.Is4() && toNumber(a)-p.first < p.size }

// take takes an address for a MAC: the wanted one if it is valid, else the one that suits it best.
func (p *pool) take(mac hwaddr, want netip.Addr) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if want.IsValid() {
		return want, p.takeLocked(mac, want)
	}
	for _, a := range []netip.Addr{p.reserved[mac], p.remembered[mac]} {
		if a.IsValid() && p.takeLocked(mac, a) == nil {
			return a, nil
		}
	}
	h := fnv.New32a()
	h.Write(mac[:])
	begin := h.Sum32() % p.size
	for _, spare := range []bool{true, false} { // spare: those that somebody had who may come back
		for i := range p.size {
			a := toAddr(p.first + (begin+i)%p.size)
			if _, had := p.had[a]; had && spare {
				continue
			}
			if p.takeLocked(mac, a) == nil {
				return a, nil
			}
		}
	}
	return netip.Addr{}, ErrNoAddress
}

func (p *pool) takeLocked(mac hwaddr, a netip.Addr) error {
	if !p.usable(a) {
		return ErrNotHere
	}
	if _, ok := p.taken[a]; ok {
		return ErrAddressInUse
	}
	if owner, ok := p.reservedFor[a]; ok && owner != mac {
		return ErrAddressInUse
	}
	p.taken[a] = mac
	if old, ok := p.had[a]; ok {
		delete(p.remembered, old)
		delete(p.had, a)
	}
	if old, ok := p.remembered[mac]; ok {
		delete(p.remembered, mac)
		delete(p.had, old)
	}
	return nil
}

// release frees an address, and remembers whose it was.
func (p *pool) release(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mac, ok := p.taken[a]
	if !ok {
		return
	}
	delete(p.taken, a)
	for old, addr := range p.remembered { // whichever comes first
		if len(p.remembered) < maxRemembered {
			break
		}
		delete(p.remembered, old)
		delete(p.had, addr)
	}
	if _, another := p.remembered[mac]; !another {
		p.remembered[mac], p.had[a] = a, mac
	}
}
