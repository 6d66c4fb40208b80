// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/rand"
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// sharedRight is one end of a port, for those who pass it on without holding the broker's lock: its descriptor is closed by whoever
// releases it last. It begins with one reference, that of the table.
type sharedRight struct {
	fd   *sys.FD
	refs atomic.Int64
}

func newSharedRight(fd *sys.FD) *sharedRight {
	r := &sharedRight{fd: fd}
	r.refs.Store(1)
	return r
}

// acquire takes a reference, so that the descriptor stays open until release; false: it was closed, or is about to be.
func (r *sharedRight) acquire() bool {
	for {
		n := r.refs.Load()
		if n <= 0 {
			return false
		}
		if r.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back. The last one closes the descriptor. A nil right has none.
func (r *sharedRight) release() {
	if r != nil && r.refs.Add(-1) == 0 {
		r.fd.Close()
	}
}

// Int returns the descriptor's number, for who holds a reference.
func (r *sharedRight) Int() int { return r.fd.Int() }

// port is a name of kind port: a pair of sockets, of which whoever receives has one end, and all who send share the other. The broker
// holds the send end always, and the receive end too if the port is declared: that is the queue which survives its owner, and nobody
// here reads it while somebody owns the port.
//
// The broker's lock guards it. Its descriptors are in the table: the send end under the lease; the receive end under receiveID, not watched
// at first.
type port struct {
	concern   // in the send end's death, unless the port is declared
	lease     directory.ID
	name      string
	namespace directory.ID

	send      *sharedRight
	cookie    uint64       // of the send end
	receive   *sharedRight // nil: the broker does not hold it
	receiveID directory.ID // of the receive end in the table
	uuid      [16]byte     // which pair it is: another one after a reset

	armed  bool   // the receive end is watched, for events and a hang-up (arm)
	events uint32 // if it is armed

	creator directory.Process // who declared it by create_service; 0: nobody

	given    atomic.Uint64 // send rights that were given away
	lookedUp atomic.Int64  // when the last was by a look-up, of one that look-ups launch
	hoped    int64         // until when a message is that of a look-up which the last owner did not live to serve
	owner    portOwner
}

// portOwner is who has checked a port in. It is kept until somebody else does.
type portOwner struct {
	session *machSession // nil: nobody has
	pgid    int          // the process' group when it checked in; its own pid: it led the group
}

// declared reports whether the broker holds the receive end.
func (p *port) declared() bool { return p.receive != nil }

// makePort makes a port under a lease, before the directory is asked for it, and returns the receive end, which is the caller's to pass on
// and to close. If it is to be declared, the broker keeps that end, and nil is returned. The lock is held.
func (b *Broker) makePort(lease directory.ID, namespace directory.ID, name string, declared bool) (*sys.FD, error) {
	receive, send, err := sys.PortPair()
	if err != nil {
		return nil, err
	}
	p := &port{lease: lease, name: name, namespace: namespace, uuid: newUUID()}
	if err := b.putPort(p, send, !declared); err != nil {
		receive.Close()
		return nil, err
	}
	if declared {
		b.keepReceive(p, receive)
		receive = nil
	}
	return receive, nil
}

// putPort puts a port and its send end into the table. Watched: when that hangs up, the port dies. The lock is held.
func (b *Broker) putPort(p *port, send *sys.FD, watched bool) error {
	var err error
	if p.cookie, err = sys.Cookie(send.Int()); err != nil {
		send.Close()
		return err
	}
	if !watched {
		p.send = newSharedRight(send)
	} else if err = b.watchRight(send, p); err != nil {
		return err
	} else {
		p.send = p.watch.right
		p.send.acquire() // the watch has one
	}
	b.table.put(&descriptor{id: p.lease, kind: portSend, fd: p.send.fd, right: p.send, port: p})
	b.ports[p.lease] = p
	return nil
}

// keepReceive puts the receive end of a declared port into the table. The lock is held.
func (b *Broker) keepReceive(p *port, receive *sys.FD) {
	p.receive, p.receiveID = newSharedRight(receive), b.table.id()
	b.declared++
	b.table.put(&descriptor{id: p.receiveID, kind: portReceive, fd: receive, right: p.receive, port: p})
}

// renewPort gives a declared port a pair of its own anew, which makes it another instance. Whoever holds an end of the old pair keeps it:
// shut it down first. The index still has the old send end, until the directory publishes the port again. The lock is held.
func (b *Broker) renewPort(p *port) error {
	receive, send, err := sys.PortPair()
	if err != nil {
		return err
	}
	b.drop(p.receiveID)
	if d := b.table.take(p.lease); d != nil {
		d.right.release()
	}
	p.uuid = newUUID()
	b.keepReceive(p, receive)
	return b.putPort(p, send, false)
}

func newUUID() (u [16]byte) {
	rand.Read(u[:])
	return u
}

// rightDied ends a port that nobody can receive from any more.
func (p *port) rightDied(b *Broker) {
	b.applyLocked(directory.PortDied{Lease: p.lease, Reason: "its port died", Now: b.now()})
}

// forgetPort forgets a port whose send end was dropped, and gives back its receive end. The lock is held.
func (b *Broker) forgetPort(p *port) {
	if b.ports[p.lease] == p {
		delete(b.ports, p.lease)
	}
	b.unwatchRight(p)
	if p.creator != 0 {
		uncount(b.created, p.creator)
	}
	b.drop(p.receiveID)
}

// describePort fills in what look-ups of the Mach front need. The lock is held.
func (b *Broker) describePort(r *record, e directory.Entry) {
	p := b.ports[e.Lease]
	if p == nil {
		return // it is being taken back
	}
	r.portRecord = portRecord{port: p, right: p.send, uuid: p.uuid, uid: e.Owner.UID, status: portActive, ofProcess: isOfProcess(e.Name)}
	launched := e.Service != directory.Key{}
	if e.State == directory.Inactive {
		r.uid, r.status = b.uid, portInactive
		if launched {
			r.status = portOnDemand
		}
	}
	r.byLookUps = launched && !e.OnMessage
	r.onLookUp = r.byLookUps && (e.State == directory.Inactive || e.State == directory.Stopping)
	if r.job = e.Service.Name; r.job == "" {
		r.job = base(e.Owner.Exe)
	}
}
