// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/network/usernet"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// guest is what a lease is for: an interface.
type guest struct {
	Attachment // nil while it is being attached
	lease      uint64
	connection uint64
	client     *Client
	network    string
	id         string
	mac        net.HardwareAddr
	kind       usernet.Kind
	since      time.Time
	gone       chan struct{} // closed when its MAC is free
}

// place is a MAC on a network.
type place struct{ network, mac string }

func (g *guest) place() place { return place{g.network, string(g.mac)} }

func (g *guest) ip() netip.Addr {
	if g.Attachment == nil {
		return netip.Addr{}
	}
	return g.IP()
}

// fault says why the guest's interface is closed; "": it is not.
func (g *guest) fault() string {
	if g.Attachment == nil || !g.Ended() {
		return ""
	}
	if err := g.Err(); err != nil {
		return err.Error()
	}
	return "the guest has shut it down"
}

var errGone = errors.New("the connection has ended")

// acquire gives a connection a lease on a network, or the one that it has. The descriptor becomes the caller's. The error is a
// [*vmnet.Refusal], errGone, or the context's.
func (n *networks) acquire(ctx context.Context, connection uint64, r vmnet.Request, who *Client) (vmnet.Details, *sys.FD, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var checked *made
	for {
		if m := n.made[r.Network]; m != nil && m != checked {
			n.mu.Unlock()
			allowed := who.may(m.config) // may have to read who the client is
			n.mu.Lock()
			if !allowed {
				return vmnet.Details{}, nil, notAllowed(who)
			}
			checked = m
			continue
		}
		answer, l := n.ledger.acquire(connection, r.Network, time.Now())
		switch answer {
		case gone: // maybe while it made the network
			n.scheduleLocked()
			return vmnet.Details{}, nil, errGone
		case full:
			return vmnet.Details{}, nil, vmnet.Refuse(vmnet.InternalError, "the connection holds %d networks, and may not hold more", n.ledger.limit)
		case wait:
			if err := n.awaitLocked(ctx, r.Network); err != nil {
				return vmnet.Details{}, nil, err
			}
		case create:
			if err := n.createLocked(r.Network, who); err != nil {
				return vmnet.Details{}, nil, err
			}
			checked = n.made[r.Network]
		default:
			g, err := n.guestLocked(l, r, who)
			if err != nil {
				return vmnet.Details{}, nil, err
			}
			return n.detailsLocked(g)
		}
	}
}

// createLocked makes a network that the ledger wants made. The lock is let go meanwhile.
func (n *networks) createLocked(name string, who *Client) error {
	n.mu.Unlock()
	m, err := n.make(name, who)
	n.mu.Lock()
	defer n.settleLocked(name)
	now := time.Now()
	if err != nil {
		n.ledger.removed(name, now)
		n.scheduleLocked()
		return err
	}
	n.made[name] = m
	n.ledger.made(name, m.config.RemovalDelay, now)
	if n.over {
		n.removeLocked(name) // it came too late for close, which waits for whoever still asks
		return errGone
	}
	return nil
}

// guestLocked returns the guest of a lease, and attaches it if it is not there, or no longer.
func (n *networks) guestLocked(l *lease, r vmnet.Request, who *Client) (*guest, error) {
	g := n.guests[l.id]
	if g != nil && !g.Ended() {
		return g, nil
	}
	if g != nil { // it was detached for a fault of the guest's: once more
		delete(n.guests, l.id)
		n.mu.Unlock()
		n.detach([]*guest{g})
		n.mu.Lock()
	}
	m := n.made[l.network]
	if m == nil { // the service is ending
		return nil, errGone
	}
	if len(n.ledger.leases) > n.most {
		n.ledger.release(l, time.Now())
		n.scheduleLocked()
		return nil, vmnet.Refuse(vmnet.InternalError, "there are %d leases, and may not be more", n.most)
	}
	g = &guest{lease: l.id, connection: l.connection, client: who, network: l.network, kind: usernet.Stream, since: time.Now(), gone: make(chan struct{})}
	if r.Kind != "" {
		g.kind = usernet.Kind(r.Kind)
	}
	id := r.ID
	if id == "" {
		n.mu.Unlock()
		id = who.identity()
		n.mu.Lock()
	}
	n.placeLocked(g, id)
	n.mu.Unlock()
	a, err := m.Attach(g.kind, g.mac)
	n.mu.Lock()
	lost := n.ledger.leases[l.id] != l // the connection ended meanwhile
	if err != nil || lost {
		if err == nil {
			n.mu.Unlock()
			a.Close()
			n.mu.Lock()
		}
		delete(n.macs, g.place()) // not before it is detached
		close(g.gone)
		n.ledger.release(l, time.Now())
		n.scheduleLocked()
		if lost {
			return nil, errGone
		}
		return nil, vmnet.Refuse(vmnet.CreateFailure, "%v", err)
	}
	g.Attachment = a
	n.guests[l.id] = g
	n.work.Go(func() {
		<-a.Done()
		n.tellOfEnd(g)
	})
	n.log.Info("lease", "network", l.network, "lease", l.id, "id", g.id, "mac", g.mac.String(), "ip", g.ip(), "kind", g.kind, "pid", who.PID, "uid", who.UID)
	return g, nil
}

// tellOfEnd tells who has a lease that its interface is closed, for a fault of the guest's. The lease stays, and shows it; to acquire again replaces it.
func (n *networks) tellOfEnd(g *guest) {
	n.mu.Lock()
	held := n.guests[g.lease] == g
	n.mu.Unlock()
	if held && g.Err() != nil {
		n.tell(g.connection, vmnet.Event{Name: vmnet.InterfaceEnded, Network: g.network, Lease: g.lease, Reason: g.fault()})
	}
}

// placeLocked gives a guest its id and MAC: those of the id wanted, or, if another guest has these, with a number after it.
// The lock is let go meanwhile.
func (n *networks) placeLocked(g *guest, id string) {
	for i := 1; ; {
		if g.id = id; i > 1 {
			g.id = id + "#" + strconv.Itoa(i)
		}
		g.mac = usernet.MAC(g.network + "\x00" + g.id)
		other := n.macs[g.place()]
		switch {
		case other == nil:
			n.macs[g.place()] = g
			return
		case n.ledger.leases[other.lease] == nil: // on its way out
			n.mu.Unlock()
			<-other.gone
			n.mu.Lock()
		default:
			n.mu.Unlock()
			reaped := n.reap(other.connection)
			n.mu.Lock()
			if !reaped {
				i++
			}
		}
	}
}

// detach ends guests that were taken out.
func (n *networks) detach(gone []*guest) {
	for _, g := range gone {
		g.Close()
		n.mu.Lock()
		if n.macs[g.place()] == g {
			delete(n.macs, g.place())
		}
		n.mu.Unlock()
		close(g.gone)
	}
}

// detailsLocked says what the client is to know, with a duplicate of the guest's descriptor.
func (n *networks) detailsLocked(g *guest) (d vmnet.Details, fd *sys.FD, err error) {
	raw, err := g.File().SyscallConn()
	if err == nil {
		cerr := raw.Control(func(number uintptr) { fd, err = sys.Dup(int(number)) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		return d, nil, vmnet.Refuse(vmnet.InternalError, "cannot duplicate the descriptor: %v", err)
	}
	m := n.made[g.network]
	if m == nil {
		fd.Close()
		return d, nil, errGone
	}
	info := m.Info()
	d = vmnet.Details{
		Interface: 1, Kind: string(g.kind), Name: g.network, Mode: string(m.config.Mode),
		Subnet: info.Subnet.Addr().String(), Mask: net.IP(info.Mask()).String(), Gateway: info.Gateway.String(),
		MTU: uint64(info.MTU), MAC: g.mac.String(), IP: g.ip().String(), Lease: g.lease, Driver: n.driver.Name(), ID: g.id,
	}
	if info.DNS.IsValid() {
		d.DNS = info.DNS.String()
	}
	return d, fd, nil
}
