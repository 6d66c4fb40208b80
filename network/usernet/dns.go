// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/services/dns"
	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

const (
	dnsPort = 53
	// zone is where the gateway's own names are.
	zone = "switchboard.internal."
	// maxQuestions is how many questions of a network are asked at a time.
	maxQuestions = 64
	// questionTimeout is how long an answer may take.
	questionTimeout = 10 * time.Second
	// maxDNSConnections is how many connections for questions a network may have.
	maxDNSConnections = 64
)

// serveDNS starts the DNS service. Its name gateway.switchboard.internal is the gateway's address.
func (n *Network) serveDNS() error {
	at := fullAddress(netip.AddrPortFrom(n.info.Gateway, dnsPort))
	udp, err := gonet.DialUDP(n.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return err
	}
	n.addService(udp)
	tcp, err := gonet.ListenTCP(n.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		return err
	}
	listener := &dnsListener{Listener: tcp, open: make(map[net.Conn]bool)}
	n.addService(listener)
	zones := []types.Zone{{Name: zone, Records: []types.Record{{Name: "gateway", IP: net.IP(n.info.Gateway.AsSlice())}}}}
	server, err := dns.NewWithUpstreamResolver(dnsPackets{udp}, listener, zones, &resolver{net: n, slots: make(chan struct{}, maxQuestions)})
	if err != nil {
		return err
	}
	n.spawn(func() { server.Serve() })
	n.spawn(func() { server.ServeTCP() })
	return nil
}

// dnsPackets is the service's socket. The service would wake up every two seconds to look whether it
// should end, and write an error to its log for every answer to a guest that is gone.
type dnsPackets struct{ *gonet.UDPConn }

func (dnsPackets) SetReadDeadline(time.Time) error { return nil }

func (c dnsPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	c.UDPConn.WriteTo(b, to)
	return len(b), nil
}

// dnsListener accepts connections and closes them when it is closed: the service cannot be told to.
type dnsListener struct {
	net.Listener

	// mu guards the rest.
	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func (l *dnsListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		refused := l.closed || len(l.open) >= maxDNSConnections
		if !refused {
			l.open[conn] = true
		}
		l.mu.Unlock()
		if !refused {
			return &dnsConn{conn, l}, nil
		}
		conn.Close()
	}
}

func (l *dnsListener) Close() error {
	l.mu.Lock()
	l.closed = true
	for conn := range l.open {
		conn.Close()
	}
	l.mu.Unlock()
	return l.Listener.Close()
}

type dnsConn struct {
	net.Conn
	listener *dnsListener
}

func (c *dnsConn) Write(b []byte) (int, error) {
	if _, err := c.Conn.Write(b); err != nil {
		c.Conn.Close() // ends the reader too; the service would only log it
	}
	return len(b), nil
}

func (c *dnsConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// resolver asks the host's resolver: a limited number of questions, for a limited time, and none after the network's end.
type resolver struct {
	net   *Network
	slots chan struct{}
}

var errNotAsked = errors.New("the network does not ask for names outside of it")

// ask calls f when it may.
func ask[T any](r *resolver, f func(context.Context) (T, error)) (answer T, err error) {
	if !r.net.config.Outside {
		return answer, errNotAsked
	}
	ctx, cancel := context.WithTimeout(r.net.ctx, questionTimeout)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	defer func() { <-r.slots }()
	return f(ctx)
}

func (r *resolver) LookupIPAddr(_ context.Context, host string) ([]net.IPAddr, error) {
	return ask(r, func(ctx context.Context) ([]net.IPAddr, error) { return r.net.config.Resolver.LookupIPAddr(ctx, host) })
}

func (r *resolver) LookupCNAME(_ context.Context, host string) (string, error) {
	return ask(r, func(ctx context.Context) (string, error) { return r.net.config.Resolver.LookupCNAME(ctx, host) })
}

func (r *resolver) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	return ask(r, func(ctx context.Context) ([]*net.MX, error) { return r.net.config.Resolver.LookupMX(ctx, name) })
}

func (r *resolver) LookupNS(_ context.Context, name string) ([]*net.NS, error) {
	return ask(r, func(ctx context.Context) ([]*net.NS, error) { return r.net.config.Resolver.LookupNS(ctx, name) })
}

func (r *resolver) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	records, err := ask(r, func(ctx context.Context) ([]*net.SRV, error) {
		_, records, err := r.net.config.Resolver.LookupSRV(ctx, service, proto, name)
		return records, err
	})
	return "", records, err
}

func (r *resolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	return ask(r, func(ctx context.Context) ([]string, error) { return r.net.config.Resolver.LookupTXT(ctx, name) })
}
