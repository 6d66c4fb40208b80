// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Kind is what the socket is that a guest gets.
type Kind string

// The kinds of sockets.
const (
	Stream    Kind = "stream"    // frames after their length, four bytes big-endian: -netdev stream of QEMU
	Datagram  Kind = "datagram"  // a frame is a datagram. The kernel does not tell of the peer's end before something is sent
	Seqpacket Kind = "seqpacket" // a frame is a packet
)

const (
	// maxConnections and maxExchanges are how many connections by TCP and exchanges of datagrams a guest may
	// have through the gateway: each holds two buffers.
	maxConnections, maxExchanges = 1024, 512
	// maxAddresses is how many addresses a guest may use beside its own.
	maxAddresses = 16
)

// GuestConfig says who a guest is.
type GuestConfig struct {
	MAC net.HardwareAddr
	IP  netip.Addr // the zero Addr: the one that the MAC had or that suits it
}

// Guest is one guest's attachment to a network.
type Guest struct {
	net    *Network
	port   *port
	ip     netip.Addr
	ctx    context.Context // ends with the attachment, and with it all that runs for it
	cancel context.CancelFunc
	tcp    slots
	udp    slots
	done   chan struct{}

	// mu guards what the guest has beside its own address.
	mu    sync.Mutex
	more  map[netip.Addr]hwaddr
	ended bool
}

// Attach attaches a guest whose other end of the socket somebody has. It owns end from now on, also if it fails. Its kind is that of
// the socket.
func (n *Network) Attach(end *os.File, c GuestConfig) (*Guest, error) {
	conn, err := net.FileConn(end)
	end.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot attach a guest: %w", err)
	}
	network := conn.LocalAddr().Network()
	if network != "unix" && network != "unixgram" && network != "unixpacket" {
		conn.Close()
		return nil, fmt.Errorf("cannot attach a guest: its socket is of %s, and must be a Unix socket", network)
	}
	g, err := n.attach(conn, network == "unix", c)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot attach guest %s: %w", c.MAC, err)
	}
	return g, nil
}

// Connect attaches a guest by a new pair of sockets, and returns the end that is for it, in blocking mode.
func (n *Network) Connect(kind Kind, c GuestConfig) (*Guest, *os.File, error) {
	types := map[Kind]sys.SocketType{Stream: sys.Stream, Seqpacket: sys.Seqpacket, Datagram: syscall.SOCK_DGRAM}
	t, ok := types[kind]
	if !ok {
		return nil, nil, fmt.Errorf("%q is no kind of socket: there are %s, %s and %s", kind, Stream, Datagram, Seqpacket)
	}
	ours, theirs, err := sys.Pair(t)
	if err != nil {
		return nil, nil, err
	}
	g, err := n.Attach(os.NewFile(uintptr(ours.Take()), "guest"), c)
	if err == nil {
		err = sys.SetNonblock(theirs.Int(), false)
	}
	if err != nil {
		theirs.Close()
		if g != nil {
			g.Close()
		}
		return nil, nil, err
	}
	return g, os.NewFile(uintptr(theirs.Take()), "network "+n.info.Name), nil
}

func (n *Network) attach(conn net.Conn, stream bool, c GuestConfig) (*Guest, error) {
	if len(c.MAC) != len(hwaddr{}) || hwaddr(c.MAC).isGroup() || hwaddr(c.MAC) == (hwaddr{}) {
		return nil, errors.New("it is no guest's MAC address")
	}
	mac := hwaddr(c.MAC)
	g := &Guest{net: n, port: newPort(mac, conn, stream), tcp: make(slots, maxConnections), udp: make(slots, maxExchanges), done: make(chan struct{})}
	g.port.guest = g
	if !n.enter() {
		return nil, ErrClosed
	}
	if !n.fabric.add(g.port) {
		n.leave()
		return nil, ErrMACInUse
	}
	var err error
	if g.ip, err = n.pool.take(mac, c.IP); err != nil {
		n.fabric.remove(g.port)
		n.leave()
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(n.ctx)
	n.addGuest(g)
	go g.run()
	return g, nil
}

// run is the guest's attachment, from its begin to its end.
func (g *Guest) run() {
	n := g.net
	defer n.leave()
	stop := whenDone(g.ctx, func() { g.port.close(nil) })
	var writer sync.WaitGroup
	writer.Go(g.port.write)
	g.port.read(n.fabric.fromGuest)
	writer.Wait()
	n.fabric.remove(g.port)
	g.cancel()
	stop()
	n.removeGuest(g)
	if err := g.Err(); err != nil {
		n.config.Logger.Warn("guest detached", "network", n.info.Name, "mac", g.port.mac.String(), "err", err)
	}
	g.mu.Lock()
	g.ended = true
	n.forget(g.ip)
	for a := range g.more {
		n.forget(a)
	}
	g.mu.Unlock()
	close(g.done)
}

// MAC returns the guest's MAC address.
func (g *Guest) MAC() net.HardwareAddr { return net.HardwareAddr(g.port.mac[:]) }

// IP returns the guest's address.
func (g *Guest) IP() netip.Addr { return g.ip }

// Done is closed when the guest is detached, be it by Close, by the network's, or because the other end is gone.
// Its addresses are free then.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Err returns why the guest was detached, if it was for a fault of its own.
func (g *Guest) Err() error {
	g.port.mu.Lock()
	defer g.port.mu.Unlock()
	return g.port.err
}

// Ended reports whether the guest's interface is closed, or about to be.
func (g *Guest) Ended() bool {
	g.port.mu.Lock()
	defer g.port.mu.Unlock()
	return g.port.closed
}

// Close detaches the guest: its interface ends, its connections through the gateway are cut, its address is free. It waits
// for that, and does nothing the second time.
func (g *Guest) Close() error {
	g.cancel()
	<-g.done
	return nil
}

// admits reports whether the guest may use an address, and notes one that it had not before.
func (n *Network) admits(p *port, a netip.Addr) bool {
	g := p.guest
	if a == g.ip {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.more[a]
	return ok || g.claimLocked(p.mac, a) == nil
}

// claimLocked takes one more address for the guest.
func (g *Guest) claimLocked(mac hwaddr, a netip.Addr) error {
	if g.ended || len(g.more) >= maxAddresses {
		return ErrNoAddress
	}
	got, err := g.net.pool.take(mac, a)
	if err != nil {
		return err
	}
	if g.more == nil {
		g.more = make(map[netip.Addr]hwaddr)
	}
	g.more[got] = mac
	g.net.addAddress(got, g)
	return nil
}

// addressOf returns the address for a MAC address of the guest's: its own, or one more.
func (g *Guest) addressOf(mac hwaddr) (netip.Addr, bool) {
	if mac == g.port.mac {
		return g.ip, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	find := func() (netip.Addr, bool) {
		for a, m := range g.more {
			if m == mac {
				return a, true
			}
		}
		return netip.Addr{}, false
	}
	if a, ok := find(); ok {
		return a, true
	}
	if g.claimLocked(mac, netip.Addr{}) != nil {
		return netip.Addr{}, false
	}
	return find()
}

// slots are what there is a limited number of; one that is taken is in the channel.
type slots chan struct{}

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() { <-s }

// whenDone calls f when ctx is done. The function that it returns makes sure that f is not called any more, or waits for its end.
func whenDone(ctx context.Context, f func()) func() {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		f()
	})
	return sync.OnceFunc(func() {
		if !stop() {
			<-ended
		}
	})
}
