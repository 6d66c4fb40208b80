// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// vlanTag is what a frame may be longer than the MTU and its Ethernet header.
	vlanTag = 4
	// maxLearned is how many MAC addresses a guest may have beside its own: bridges and machines in it.
	maxLearned = 16
)

var broadcast = hwaddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// fabric is the switch. Who sends into it, guest or gateway, never waits: what a port has no room for is dropped.
type fabric struct {
	gateway  hwaddr
	up       *tap.LinkEndpoint
	maxFrame int
	// admits reports whether a guest may speak to the gateway from an address.
	admits func(p *port, a netip.Addr) bool

	// table is replaced, never changed; mu is held by who replaces it.
	mu    sync.Mutex
	table atomic.Pointer[table]
}

type table struct {
	ports map[*port]int // and how many addresses it has beside its own
	where map[hwaddr]*port
}

func newFabric(gateway hwaddr, up *tap.LinkEndpoint, mtu int, admits func(*port, netip.Addr) bool) *fabric {
	f := &fabric{gateway: gateway, up: up, maxFrame: mtu + header.EthernetMinimumSize + vlanTag, admits: admits}
	f.table.Store(&table{})
	return f
}

// change replaces the table by what edit makes of a copy, or leaves it as it is.
func (f *fabric) change(edit func(t *table) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.table.Load()
	t := &table{ports: maps.Clone(old.ports), where: maps.Clone(old.where)}
	if t.ports == nil {
		t.ports, t.where = make(map[*port]int), make(map[hwaddr]*port)
	}
	if !edit(t) {
		return false
	}
	f.table.Store(t)
	return true
}

// add adds a port, unless somebody else has its address.
func (f *fabric) add(p *port) bool {
	return f.change(func(t *table) bool {
		if other := t.where[p.mac]; p.mac == f.gateway || other != nil && other.mac == p.mac {
			return false
		} else if other != nil { // it was only learned there
			t.ports[other]--
		}
		t.ports[p], t.where[p.mac] = 0, p
		return true
	})
}

func (f *fabric) remove(p *port) {
	f.change(func(t *table) bool {
		delete(t.ports, p)
		maps.DeleteFunc(t.where, func(_ hwaddr, at *port) bool { return at == p })
		return true
	})
}

// at returns the port that a MAC address is at, or nil.
func (f *fabric) at(a hwaddr) *port { return f.table.Load().where[a] }

// learn notes an address of a guest that is not its own.
func (f *fabric) learn(p *port, a hwaddr) bool {
	if a.isGroup() || a == f.gateway || a == (hwaddr{}) {
		return false
	}
	return f.change(func(t *table) bool {
		n, attached := t.ports[p]
		if _, known := t.where[a]; known || !attached || n == maxLearned {
			return false
		}
		t.ports[p], t.where[a] = n+1, p
		return true
	})
}

// fromGuest passes a frame on; it belongs to the caller again afterwards.
func (f *fabric) fromGuest(p *port, frame []byte) {
	if len(frame) < header.EthernetMinimumSize || len(frame) > f.maxFrame {
		p.refused.Add(1)
		return
	}
	to, from := hwaddr(frame[0:6]), hwaddr(frame[6:12])
	t := f.table.Load()
	if t.where[from] != p && !f.learn(p, from) {
		p.refused.Add(1)
		return
	}
	p.framesIn.Add(1)
	p.bytesIn.Add(uint64(len(frame)))
	switch {
	case to == f.gateway:
		f.toGateway(p, frame)
	case to.isGroup():
		for other := range t.ports {
			if other != p {
				other.send(frame)
			}
		}
		if to == broadcast {
			f.toGateway(p, frame)
		}
	default:
		if other := t.where[to]; other != nil && other != p {
			other.send(frame)
		}
	}
}

// toGateway hands a frame to the gateway's stack, which copies it.
func (f *fabric) toGateway(p *port, frame []byte) {
	protocol, payload := header.Ethernet(frame).Type(), frame[header.EthernetMinimumSize:]
	var source []byte
	switch {
	case protocol == header.IPv4ProtocolNumber && len(payload) >= header.IPv4MinimumSize:
		source = payload[12:16]
	case protocol == header.ARPProtocolNumber && len(payload) >= header.ARPSize:
		source = payload[14:18]
	default:
		return
	}
	if a := netip.AddrFrom4([4]byte(source)); !a.IsUnspecified() && !f.admits(p, a) {
		p.refused.Add(1)
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(payload)})
	f.up.DeliverNetworkPacket(protocol, pkt)
	pkt.DecRef()
}

// DeliverNetworkPacket passes a frame of the gateway's on; it is what a [tap.LinkEndpoint] sends into.
func (f *fabric) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	parts := pkt.AsSlices()
	if len(parts) == 0 || len(parts[0]) < header.EthernetMinimumSize {
		return
	}
	to, t := hwaddr(parts[0][0:6]), f.table.Load()
	if !to.isGroup() {
		if p := t.where[to]; p != nil {
			p.send(parts...)
		}
		return
	}
	for p := range t.ports {
		p.send(parts...)
	}
}
