// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Network is one virtual network. Its methods may be called from several goroutines.
type Network struct {
	config Config
	info   Info
	ctx    context.Context // ends with the network
	cancel context.CancelFunc
	stack  *stack.Stack
	fabric *fabric
	pool   *pool
	tcp    flowCount
	udp    flowCount
	gone   Traffic // of guests that are detached; guarded by mu

	work     sync.WaitGroup // every goroutine of the network, see enter
	shutDown sync.Once

	// mu guards the rest.
	mu       sync.Mutex
	closed   bool
	services []io.Closer // DHCP and DNS
	guests   map[*Guest]bool
	owners   map[netip.Addr]*Guest
	forwards map[*Forward]bool
}

type flowCount struct{ now, all, refused atomic.Int64 }

// New makes a network and starts it. It runs until Close.
func New(c Config) (*Network, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("cannot make network %q: %w", c.Name, err)
	}
	n := &Network{
		config: c, info: c.info(),
		guests: make(map[*Guest]bool), owners: make(map[netip.Addr]*Guest), forwards: make(map[*Forward]bool),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.pool = newPool(n.info, c.Reservations)
	err := n.start()
	for i := 0; err == nil && i < len(c.Forwards); i++ {
		f := c.Forwards[i]
		_, err = n.Forward(f.Protocol, netip.AddrPortFrom(f.ExternalAddress, f.ExternalPort), netip.AddrPortFrom(f.InternalAddress, f.InternalPort))
	}
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("cannot make network %q: %w", c.Name, err)
	}
	return n, nil
}

// start puts the parts together.
func (n *Network) start() error {
	link, err := tap.NewLinkEndpoint(false, uint32(n.info.MTU), n.info.GatewayMAC.String(), n.info.Gateway.String(), nil)
	if err != nil {
		return err
	}
	n.fabric = newFabric(hwaddr(n.info.GatewayMAC), link, n.info.MTU, n.admits)
	link.Connect(n.fabric)
	if n.stack, err = newStack(n.info, link); err != nil {
		return err
	}
	n.handleTCP()
	n.handleUDP()
	if !n.config.NoDHCP {
		if err := n.serveDHCP(); err != nil {
			return fmt.Errorf("cannot start DHCP: %w", err)
		}
	}
	if !n.config.NoDNS {
		if err := n.serveDNS(); err != nil {
			return fmt.Errorf("cannot start DNS: %w", err)
		}
	}
	return nil
}

// Info returns what is to be known of the network.
func (n *Network) Info() Info { return n.info }

// enter lets a goroutine of the network begin, unless the network is closed; leave is called when it ends.
func (n *Network) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.work.Add(1)
	return true
}

func (n *Network) leave() { n.work.Done() }

// spawn runs f in a goroutine of the network's. It must end when the network's context does, or what is in services is closed.
func (n *Network) spawn(f func()) bool {
	if !n.enter() {
		return false
	}
	go func() {
		defer n.leave()
		f()
	}()
	return true
}

// Close ends the network: its guests' interfaces, connections, forwards, and every goroutine. It waits for that.
func (n *Network) Close() error {
	n.shutDown.Do(func() {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		// What runs for a guest or a forward hangs on contexts below this one. The guests go first, so that
		// nothing reaches the stack any more.
		n.cancel()
		n.mu.Lock()
		guests := slices.Collect(maps.Keys(n.guests))
		services := n.services
		n.mu.Unlock()
		for _, g := range guests {
			<-g.done
		}
		for _, s := range services {
			s.Close()
		}
		if n.stack != nil {
			closeStack(n.stack, &n.work)
		}
		n.work.Wait()
	})
	n.work.Wait()
	return nil
}

func (n *Network) addService(s io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.services = append(n.services, s)
}

func (n *Network) addGuest(g *Guest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guests[g] = true
	n.owners[g.ip] = g
}

func (n *Network) removeGuest(g *Guest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.guests, g)
	n.gone.add(g.Traffic())
}

func (n *Network) addAddress(a netip.Addr, g *Guest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owners[a] = g
}

// owner returns the guest that has an address, or nil.
func (n *Network) owner(a netip.Addr) *Guest {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[a]
}

// forget frees an address, also in the gateway's memory.
func (n *Network) forget(a netip.Addr) {
	n.mu.Lock()
	delete(n.owners, a)
	n.mu.Unlock()
	n.stack.RemoveNeighbor(nic, ipv4.ProtocolNumber, tcpip.AddrFrom4(a.As4()))
	n.pool.release(a)
}

// Guests returns the guests that are attached, by address.
func (n *Network) Guests() []*Guest {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Keys(n.guests), func(a, b *Guest) int { return a.ip.Compare(b.ip) })
}
