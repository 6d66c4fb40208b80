// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// handoff is a client's connection on its way to a backend of the running-process front (section 10).
type handoff struct {
	connection directory.ID
	fd         *sys.FD
	token      [16]byte
	id         uint64 // correlation
	service    string
	peer       sys.Cred
	cookie     uint64
}

func (h *handoff) offer() envelope.HandoffOffer {
	return envelope.HandoffOffer{Token: h.token[:], ServiceName: h.service, CorrelationID: h.id}
}

// handoffs are those to one backend: one after the other, on a connection that is kept. All of it is done by who has the lock, without
// waiting: a goroutine on either side would take longer than all the rest, and reconnecting would be quicker.
type handoffs struct {
	socket  directory.ID // of the connection; 0: there is none
	fd      *sys.FD
	waiting []*handoff // the first was offered if due is set
	due     int64      // until when it is to be acknowledged; 0: nothing was offered
	ack     []byte     // as far as it came
	paused  int64      // until when none are offered, because one was not acknowledged
}

const (
	handoffDeadline = 2 * time.Second // for the backend's acknowledgement: the client waits no longer
	handoffPause    = 30 * time.Second
	handoffQueue    = 64 // that wait for one backend; beyond, clients reconnect
)

// handOff hands a connection to a backend. Whatever fails from here on is no failure for the client: without the event that ends a
// handoff it connects to the backend's path. The lock is held.
func (b *Broker) handOff(be *backend, h *handoff) {
	if len(be.handoffs.waiting) >= handoffQueue {
		h.fd.Close()
		return
	}
	be.handoffs.waiting = append(be.handoffs.waiting, h)
	b.offerNext(be)
}

// offerNext takes the connection that waits first through steps 3 to 5, unless another one is on its way. The lock is held.
func (b *Broker) offerNext(be *backend) {
	for q := &be.handoffs; q.due == 0 && len(q.waiting) > 0; {
		h := q.waiting[0]
		err := b.connectHandoff(be)
		if err == nil {
			err = sendAll(q.fd, h.token[:], h.fd.Int())
		}
		if err == nil {
			err = sendAll(q.fd, h.offer().Frame().AppendFramed(nil))
		}
		if err != nil {
			b.failHandoff(be, err)
			continue
		}
		// While the backend works: once it is told, the client must not wait for us, nor the connection be held by us.
		if h.cookie, err = sys.Cookie(h.fd.Int()); err != nil {
			b.log.Error("cannot identify a connection", "err", err)
		}
		q.due = b.now() + int64(handoffDeadline)
		b.passing[be.id] = be
		if q.due < b.wakeAt {
			b.wakeAt = q.due
			b.poller.Wake()
		}
	}
}

// connectHandoff connects to a backend's socket for handoffs, unless it is connected. The lock is held.
func (b *Broker) connectHandoff(be *backend) error {
	q := &be.handoffs
	if q.socket != 0 {
		return nil
	}
	fd, err := sys.Connect(handoffPath(be.path), sys.Stream, false)
	if err != nil {
		return err
	}
	id := b.table.id()
	if err := b.watch(&descriptor{id: id, kind: handoffSocket, fd: fd, backend: be}); err != nil {
		return err
	}
	q.socket, q.fd, q.ack = id, fd, nil
	return nil
}

// sendAll sends what a socket always has room for, unless its reader hangs.
func sendAll(fd *sys.FD, data []byte, fds ...int) error {
	n, err := sys.Send(fd.Int(), data, fds...)
	if err == nil && n < len(data) {
		err = fmt.Errorf("%d bytes of %d were sent", n, len(data))
	}
	return err
}

// readAck reads what a backend says. The loop's.
func (b *Broker) readAck(be *backend) {
	b.mu.Lock()
	defer b.finishSlices()
	defer b.mu.Unlock()
	if b.takeAck(be) {
		b.offerNext(be)
	}
}

// takeAck reads an acknowledgement, step 6, and ends its handoff with step 7. False: none has come. The lock is held.
func (b *Broker) takeAck(be *backend) bool {
	q := &be.handoffs
	if q.socket == 0 {
		return false
	}
	frame, whole, err := b.receiveAck(q)
	if err == nil && !whole {
		return false
	}
	if err == nil && q.due == 0 {
		err = errors.New("an acknowledgement of nothing")
	}
	if err == nil {
		_, err = envelope.CheckAck(frame, q.waiting[0].offer())
	}
	if err == nil {
		h := q.waiting[0]
		err = sendAll(h.fd, h.offer().Ack(nil).Frame(envelope.Event).AppendFramed(nil))
	}
	if err != nil {
		b.failHandoff(be, err)
	} else {
		b.passed(be, b.nextHandoff(be))
	}
	return true
}

// receiveAck reads what has come of one frame: nothing comes behind it before the next offer. The lock is held.
func (b *Broker) receiveAck(q *handoffs) (f envelope.Frame, whole bool, err error) {
	p := b.packet()
	defer b.putPacket(p)
	n, err := p.Recv(q.fd.Int())
	if isAgain(err) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	p.Message.Close() // descriptors are meant for nobody
	if n == 0 {
		return f, false, io.EOF
	}
	q.ack = append(q.ack, p.Data[:n]...)
	size, err := envelope.HeaderWithin(q.ack, maxReply)
	if size += envelope.HeaderSize; err != nil || len(q.ack) < max(size, envelope.HeaderSize) {
		return f, false, err
	}
	if len(q.ack) > size {
		return f, false, errors.New("there is more behind an acknowledgement")
	}
	f, err = envelope.ParseFrame(q.ack[envelope.HeaderSize:])
	q.ack = nil
	return f, true, err
}

// nextHandoff takes the first handoff out of the queue. The lock is held.
func (b *Broker) nextHandoff(be *backend) *handoff {
	q := &be.handoffs
	h := q.waiting[0]
	q.waiting = q.waiting[1:]
	q.due = 0
	delete(b.passing, be.id)
	return h
}

// failHandoff gives a handoff up, and the connection with it: the next has one of its own. The lock is held.
func (b *Broker) failHandoff(be *backend, err error) {
	q := &be.handoffs
	if q.socket != 0 {
		b.drop(q.socket)
		q.socket, q.fd, q.ack = 0, nil, nil
	}
	if q.due == 0 && len(q.waiting) == 0 {
		return // the backend has closed a connection that nothing was on its way on
	}
	b.log.Debug("a handoff failed", "name", be.key.Name, "err", err)
	b.nextHandoff(be).fd.Close()
}

// lateHandoffs gives up what was not acknowledged in time. The loop's.
func (b *Broker) lateHandoffs(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, be := range b.passing {
		if be.handoffs.due <= now {
			be.handoffs.paused = now + int64(handoffPause)
			for len(be.handoffs.waiting) > 0 { // whose clients have waited as long
				b.failHandoff(be, errors.New("it was not acknowledged in time"))
			}
		}
	}
}

// closeHandoffs ends a backend's handoffs. The lock is held.
func (b *Broker) closeHandoffs(be *backend) {
	be.takesHandoffs = false
	for len(be.handoffs.waiting) > 0 {
		b.failHandoff(be, errors.New("the backend has ended"))
	}
	b.failHandoff(be, nil)
}

// passed notes a connection that its backend has, so that it is counted as one. The lock is held.
func (b *Broker) passed(be *backend, h *handoff) {
	h.fd.Close()
	if h.cookie == 0 {
		return
	}
	b.applyLocked(directory.Passed{
		Backend: be.id, Connection: h.connection, Caller: directory.Peer{PID: h.peer.PID, UID: h.peer.UID}, Socket: directory.Socket(h.cookie), Now: b.now(),
	})
}
