// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// arm has the loop tell what is to be known of a declared port that nobody owns: that somebody shut its pair down, and, if it is launched
// by a message and may be launched, that there is one. Where the last start failed, each message is told once: it launches the next, or
// its sender is told that there will be no reply. Nobody else's is watched. The lock is held.
func (b *Broker) arm(p *port) {
	e, ok := b.directory.Entry(p.lease)
	if !ok || p.receive == nil {
		return
	}
	if e.State != directory.Inactive {
		b.disarm(p)
		p.hoped = 0
		if svc := b.serviceOfPort(e); svc != nil && e.State == directory.Active {
			svc.wanted, svc.failing = false, false
		}
		return
	}
	events := uint32(sys.ReadEnd)
	switch svc := b.serviceOfPort(e); {
	case svc == nil:
	case e.OnMessage && b.launchable(svc) || !e.OnMessage && b.now() < p.hoped:
		events |= sys.Readable
	case svc.failing && !b.underWay(svc):
		events |= sys.Readable | sys.Edge
	}
	fd, token := p.receive.Int(), uint64(p.receiveID)
	err := error(nil)
	switch {
	case !p.armed:
		err = b.poller.Add(fd, events, token)
	case p.events != events:
		err = b.poller.Modify(fd, events, token)
	}
	if err != nil {
		b.log.Error("cannot watch a port", "name", p.name, "err", err)
		return
	}
	p.armed, p.events = true, events
}

// disarm ends that. The lock is held.
func (b *Broker) disarm(p *port) {
	if p.armed {
		_ = b.poller.Remove(p.receive.Int())
		p.armed = false
	}
}

// launchable reports whether a service may be launched now. If it is only too early, it is looked at again in time. The lock is held.
func (b *Broker) launchable(svc *machService) bool {
	if svc.knocking || b.ending != "" || b.launcher == nil || b.busy(svc.key) {
		return false
	}
	after := max(b.directory.Retry(svc.key, b.now()).After, svc.brokenAt-b.now())
	if after > 0 {
		b.portsAt = min(b.portsAt, b.now()+after)
		if b.portsAt < b.wakeAt {
			b.wakeAt = b.portsAt
			b.poller.Wake()
		}
	}
	return after <= 0
}

// armService arms the ports of a service, and launches it if a look-up wanted that too early. The lock is held.
func (b *Broker) armService(svc *machService) {
	if svc.wanted && b.launchable(svc) {
		b.knockService(svc)
	}
	for _, lease := range svc.ports {
		if p := b.ports[lease]; p != nil {
			b.arm(p)
		}
	}
}

// armKey is armService for the service of a key, if it is one with ports. The lock is held.
func (b *Broker) armKey(key directory.Key) {
	if svc := b.portServices[key]; svc != nil {
		b.armService(svc)
	}
}

// lookUpLasts is how long a look-up counts whose port's owner ends before the message comes.
const lookUpLasts = time.Second

// wantedFor has the next process of a service launched if the last one left something unread in a port that has returned: whoever sent it
// looked the port up when it was there. What comes later may be of such a look-up, too, unless it is long ago, or the process was told to
// end. The lock is held.
func (b *Broker) wantedFor(r *returning) {
	p, svc := r.port, b.portServices[r.service]
	if svc == nil || p.receive == nil || b.ports[p.lease] != p {
		return
	}
	if _, err := sys.Peek(p.receive.Int(), make([]byte, 1)); err == nil {
		svc.wanted = true
	} else if !r.stopped {
		p.hoped = p.lookedUp.Load() + int64(lookUpLasts)
	}
	b.armService(svc)
}

// retryPorts arms what could not be launched earlier. The loop's.
func (b *Broker) retryPorts(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now < b.portsAt {
		return
	}
	b.portsAt = never
	for _, svc := range b.portServices {
		b.armService(svc)
	}
}

// portReadable launches the service of a port because there is a message. The loop's.
func (b *Broker) portReadable(p *port) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ports[p.lease] != p || !p.armed {
		return
	}
	if b.hungUp(p) {
		b.renewHungUp(p)
		return
	}
	e, ok := b.directory.Entry(p.lease)
	switch svc := b.serviceOfPort(e); {
	case !ok || svc == nil || e.State != directory.Inactive:
	case b.refusing(svc):
		b.refuseQueued(p)
	case (e.OnMessage || svc.failing) && b.launchable(svc):
		b.knockService(svc)
	case !e.OnMessage && b.now() < p.hoped:
		svc.wanted = true
		defer b.armService(svc)
	}
	p.hoped = 0
	b.arm(p) // whose it is now is not watched
}
