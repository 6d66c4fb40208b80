// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// networks makes networks when they are asked for, attaches guests, and removes networks when their time is over, as the ledger says.
type networks struct {
	folders []string
	uid     int // whose files count
	driver  Driver
	log     *slog.Logger
	most    int                          // leases
	idle    time.Duration                // 0: never idle
	reap    func(connection uint64) bool // ends a connection if its client is gone; reports whether it was
	tell    func(connection uint64, e vmnet.Event)

	making sync.Mutex     // held by who makes a network, so that two do not choose one subnet
	work   sync.WaitGroup // removals

	// mu guards the rest.
	mu       sync.Mutex
	ledger   *ledger
	made     map[string]*made
	guests   map[uint64]*guest // by lease
	macs     map[place]*guest
	forwards map[Forward]forwarding
	changed  map[string]chan struct{} // of networks that are being made or removed; closed when that is done
	timer    *time.Timer
	over     bool          // nothing can be opened any more
	idled    chan struct{} // closed when it was idle for long enough
}

// made is a network that is there.
type made struct {
	Network
	config *config.Network
	since  time.Time
}

func newNetworks(c Config, reap func(uint64) bool, tell func(uint64, vmnet.Event)) *networks {
	return &networks{
		folders: c.Folders, uid: c.UID, driver: c.Driver, log: c.Logger, most: c.MaxLeases, idle: c.IdleExit, reap: reap, tell: tell,
		ledger: newLedger(c.MaxNetworks, time.Now()),
		made:   make(map[string]*made), guests: make(map[uint64]*guest), macs: make(map[place]*guest), forwards: make(map[Forward]forwarding),
		changed: make(map[string]chan struct{}), idled: make(chan struct{}),
	}
}

// start begins to look after time.
func (n *networks) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.timer = time.AfterFunc(time.Hour, n.tick)
	n.scheduleLocked()
}

// open adds a connection; false: it is too late.
func (n *networks) open(connection uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return false
	}
	n.ledger.open(connection)
	return true
}

// refuse lets nobody in any more.
func (n *networks) refuse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
}

// hurry makes idleness end at once.
func (n *networks) hurry() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.idle = 1
	n.scheduleLocked()
}

// leave ends a connection with its leases. It waits until their guests are detached.
func (n *networks) leave(connection uint64) {
	n.mu.Lock()
	var gone []*guest
	for _, l := range n.ledger.close(connection, time.Now()) {
		gone = append(gone, n.endLocked(l)...)
	}
	forwards := n.takeForwardsLocked(func(f forwarding) bool { return f.connection == connection })
	n.scheduleLocked()
	n.mu.Unlock()
	for _, f := range forwards {
		f.Close()
	}
	n.detach(gone)
}

// release ends a lease of a connection's.
func (n *networks) release(connection, id uint64) error {
	n.mu.Lock()
	l := n.ledger.leases[id]
	if l == nil || l.connection != connection {
		n.mu.Unlock()
		return vmnet.Refuse(vmnet.NotFound, "this connection has no lease %d", id)
	}
	n.ledger.release(l, time.Now())
	gone := n.endLocked(l)
	n.scheduleLocked()
	n.mu.Unlock()
	n.detach(gone)
	return nil
}

// endLocked takes the guest of a lease out.
func (n *networks) endLocked(l *lease) []*guest {
	g := n.guests[l.id]
	if g == nil {
		return nil
	}
	delete(n.guests, l.id)
	n.log.Info("lease ended", "network", l.network, "lease", l.id, "mac", g.mac.String(), "ip", g.ip(), "pid", g.client.PID)
	return []*guest{g}
}

// make makes a network for a client.
func (n *networks) make(name string, who *Client) (*made, error) {
	n.making.Lock()
	defer n.making.Unlock()
	c, err := config.Find(n.folders, n.uid, name)
	if err == nil {
		err = n.driver.Check(c)
	}
	switch {
	case err == config.ErrNotFound:
		return nil, n.unknown()
	case errors.Is(err, config.ErrNotFound):
		return nil, vmnet.Refuse(vmnet.NotFound, "%v", err)
	case err != nil:
		return nil, vmnet.Refuse(vmnet.NotFound, "its file is wrong: %v", err)
	case !who.may(c):
		return nil, notAllowed(who)
	}
	var avoid []netip.Prefix
	if !c.Subnet.IsValid() {
		for _, e := range config.List(n.folders, n.uid) {
			if e.Err == nil && e.Network.Subnet.IsValid() {
				avoid = append(avoid, e.Network.Subnet)
			}
		}
	}
	begun := time.Now()
	made_, err := n.driver.Make(c, n.taken(), avoid)
	if err != nil {
		return nil, vmnet.Refuse(vmnet.CreateFailure, "%v", inner(err))
	}
	info := made_.Info()
	n.log.Info("network made", "network", name, "mode", c.Mode, "subnet", info.Subnet, "file", c.File, "took", time.Since(begun))
	return &made{Network: made_, config: c, since: begun}, nil
}

// unknown says that there is no such network, and where its file would be.
func (n *networks) unknown() error {
	check := "switchboard network check"
	if len(n.folders) == 1 {
		check += " --networks " + n.folders[0]
	}
	return vmnet.Refuse(vmnet.NotFound, "there is no network of this name, in %s or built in (%s tells which there are)", strings.Join(n.folders, ", "), check)
}

// inner leaves out what an error was wrapped in: whoever is told knows what was tried.
func inner(err error) error {
	if within := errors.Unwrap(err); within != nil {
		return within
	}
	return err
}

// taken returns the subnets that networks have.
func (n *networks) taken() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []netip.Prefix
	for _, m := range n.made {
		all = append(all, m.Info().Subnet)
	}
	return all
}

// settleLocked wakes those who wait for a network.
func (n *networks) settleLocked(name string) {
	if ch := n.changed[name]; ch != nil {
		close(ch)
		delete(n.changed, name)
	}
}

// awaitLocked waits until a network has been made or removed. The lock is let go meanwhile.
func (n *networks) awaitLocked(ctx context.Context, name string) error {
	ch := n.changed[name]
	if ch == nil {
		ch = make(chan struct{})
		n.changed[name] = ch
	}
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tick does what is due.
func (n *networks) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scheduleLocked()
}

// scheduleLocked begins to remove the networks whose time is over, and sets the timer for the next.
func (n *networks) scheduleLocked() {
	now := time.Now()
	if n.timer == nil {
		return
	}
	for _, name := range n.ledger.due(now) {
		n.removeLocked(name)
	}
	next := n.ledger.next()
	if since := n.ledger.idleSince; n.idle > 0 && !since.IsZero() && !n.over {
		if end := since.Add(n.idle); end.After(now) {
			next = end
		} else {
			n.over = true
			close(n.idled)
		}
	}
	if next.IsZero() {
		n.timer.Stop()
	} else {
		n.timer.Reset(next.Sub(now))
	}
}

// removeLocked removes a network in the background.
func (n *networks) removeLocked(name string) {
	m := n.made[name]
	n.work.Go(func() {
		m.Close()
		n.log.Info("network removed", "network", name, "subnet", m.Info().Subnet)
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.made, name)
		n.tellOfForwardsLocked(m, name) // they have ended with it
		n.ledger.removed(name, time.Now())
		n.settleLocked(name)
		n.scheduleLocked()
	})
}

// close removes all networks, whoever holds them, and waits for that. All connections must have left, or be about to.
func (n *networks) close() {
	n.mu.Lock()
	n.over = true
	for _, r := range n.ledger.networks {
		if r.phase == active {
			r.phase = removing
			n.removeLocked(r.name)
		}
	}
	if n.timer != nil {
		n.timer.Stop()
	}
	n.timer = nil
	n.mu.Unlock()
	n.work.Wait()
}
