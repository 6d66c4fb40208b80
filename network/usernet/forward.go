// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxForwarded is how many connections or senders of datagrams a forward serves at a time.
	maxForwarded = 1024
	// guestTimeout is how long a guest may take to accept a connection.
	guestTimeout = 10 * time.Second
	acceptPause  = 50 * time.Millisecond
)

// Forward passes what comes to an address of the host on to a guest.
type Forward struct {
	net      *Network
	protocol string
	address  netip.AddrPort
	guest    netip.AddrPort
	ctx      context.Context
	cancel   context.CancelFunc
	slots    slots
	serving  sync.WaitGroup // what serves one connection or sender each
	done     chan struct{}
}

// Forward begins to listen at an address of the host, for "tcp" or "udp"; with port 0 the system chooses one. The guest need not be
// there yet. It ends with Close or with the network.
func (n *Network) Forward(protocol string, listen, guest netip.AddrPort) (*Forward, error) {
	f, err := n.forward(protocol, listen, guest)
	if err != nil {
		return nil, fmt.Errorf("cannot forward %s %s to %s: %w", protocol, listen, guest, err)
	}
	return f, nil
}

func (n *Network) forward(protocol string, listen, guest netip.AddrPort) (*Forward, error) {
	if err := n.checkGuest(guest); err != nil {
		return nil, err
	}
	f := &Forward{net: n, protocol: protocol, guest: guest, slots: make(slots, maxForwarded), done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(n.ctx)
	var socket io.Closer
	var serve func()
	switch protocol {
	case "tcp":
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(listen))
		if err != nil {
			return nil, err
		}
		f.address = l.Addr().(*net.TCPAddr).AddrPort()
		socket, serve = l, func() { f.serveTCP(l) }
	case "udp":
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(listen))
		if err != nil {
			return nil, err
		}
		f.address = c.LocalAddr().(*net.UDPAddr).AddrPort()
		socket, serve = c, func() { f.serveUDP(c) }
	default:
		return nil, fmt.Errorf(`the protocol is %q, and can be "tcp" or "udp"`, protocol)
	}
	f.note(true)
	if !n.spawn(func() {
		defer close(f.done)
		stop := whenDone(f.ctx, func() { socket.Close() })
		serve()
		f.cancel()
		stop()
		f.serving.Wait()
		f.note(false)
	}) {
		socket.Close()
		f.note(false)
		f.cancel()
		return nil, ErrClosed
	}
	return f, nil
}

func (f *Forward) note(on bool) {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	if on {
		f.net.forwards[f] = true
	} else {
		delete(f.net.forwards, f)
	}
}

// Forwards returns what is forwarded, by address.
func (n *Network) Forwards() []*Forward {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Keys(n.forwards), func(a, b *Forward) int {
		return cmp.Or(a.address.Compare(b.address), cmp.Compare(a.protocol, b.protocol))
	})
}

// Protocol returns "tcp" or "udp".
func (f *Forward) Protocol() string { return f.protocol }

// Addr returns where it listens.
func (f *Forward) Addr() netip.AddrPort { return f.address }

// Guest returns where it leads.
func (f *Forward) Guest() netip.AddrPort { return f.guest }

// Close ends it, and the connections that it made. It waits for that.
func (f *Forward) Close() error {
	f.cancel()
	<-f.done
	return nil
}

// serve runs one of the goroutines that serve, unless there are too many.
func (f *Forward) serve(one func()) bool {
	if !f.slots.take() {
		return false
	}
	f.serving.Go(func() {
		defer f.slots.free()
		one()
	})
	return true
}

func (f *Forward) serveTCP(l *net.TCPListener) {
	for {
		conn, err := l.Accept()
		if f.ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil { // out of descriptors, or the caller is gone already
			select {
			case <-f.ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if !f.serve(func() { f.connect(conn) }) {
			conn.Close()
		}
	}
}

// connect passes one connection on.
func (f *Forward) connect(out net.Conn) {
	ctx, cancel := context.WithTimeout(f.ctx, guestTimeout)
	in, err := f.net.dial(ctx, "tcp", f.guest)
	cancel()
	if err != nil {
		out.Close()
		return
	}
	guest := in.(*tcpToGuest)
	splice(f.ctx, guest.guestEnd, out)
	guest.stop()
}

func (f *Forward) serveUDP(c *net.UDPConn) {
	b := make([]byte, maxDatagram)
	var mu sync.Mutex // guards senders
	senders := make(map[netip.AddrPort]net.Conn)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			if f.ctx.Err() != nil {
				return
			}
			continue // the kernel tells of a reply that could not be delivered
		}
		mu.Lock()
		guest := senders[from]
		mu.Unlock()
		if guest == nil {
			if guest, err = f.net.dial(f.ctx, "udp", f.guest); err != nil {
				continue
			}
			mu.Lock()
			senders[from] = guest
			mu.Unlock()
			if !f.serve(func() {
				f.reply(c, guest, from)
				mu.Lock()
				delete(senders, from)
				mu.Unlock()
			}) {
				mu.Lock()
				delete(senders, from)
				mu.Unlock()
				guest.Close()
				continue
			}
		}
		guest.SetReadDeadline(time.Now().Add(datagramIdle))
		guest.Write(b[:n])
	}
}

// reply passes a guest's datagrams to one sender until there is nothing for a while.
func (f *Forward) reply(c *net.UDPConn, guest net.Conn, to netip.AddrPort) {
	stop := whenDone(f.ctx, func() { guest.Close() })
	defer guest.Close()
	defer stop()
	b := make([]byte, maxDatagram)
	for {
		n, err := guest.Read(b)
		if err != nil {
			return
		}
		guest.SetReadDeadline(time.Now().Add(datagramIdle))
		c.WriteToUDPAddrPort(b[:n], to)
	}
}
