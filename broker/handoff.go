// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"net"
	"syscall"
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
}

const (
	handoffDeadline = 5 * time.Second // for the backend's acknowledgement
	handoffQueue    = 64              // that wait for one backend; beyond, clients reconnect
)

// handOff queues a connection for a backend. Whatever fails from here on is no failure for the client: without the event that ends a
// handoff it connects to the backend's path. The lock is held.
func (b *Broker) handOff(be *backend, h *handoff) {
	if be.handoffs == nil {
		be.handoffs = make(chan *handoff, handoffQueue)
		queue, path := be.handoffs, be.handoffPath
		b.tasks.Go(func() { b.passOn(be, path, queue) })
	}
	select {
	case be.handoffs <- h:
	default:
		h.fd.Close()
	}
}

// closeHandoffs ends a backend's handoffs. The lock is held.
func (b *Broker) closeHandoffs(be *backend) {
	if be.handoffs != nil {
		close(be.handoffs)
		be.handoffs = nil
	}
	be.takesHandoffs = false
}

// passOn hands connections to one backend, one after the other, on a connection that is kept. One that fails is given up; the next
// has a connection of its own.
func (b *Broker) passOn(be *backend, path string, queue <-chan *handoff) {
	var conn *net.UnixConn
	for h := range queue {
		var err error
		if conn == nil {
			conn, err = connectHandoff(path)
		}
		if err == nil {
			err = b.pass(conn, h)
		}
		if err != nil {
			b.log.Debug("a handoff failed", "name", be.key.Name, "err", err)
			if conn != nil {
				conn.Close()
				conn = nil
			}
		} else {
			b.passed(be, h)
		}
		h.fd.Close()
	}
	if conn != nil {
		conn.Close()
	}
}

func connectHandoff(path string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := dialPath(ctx, path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// pass takes one connection through steps 4 to 7 of the handoff.
func (b *Broker) pass(conn *net.UnixConn, h *handoff) error {
	if err := conn.SetDeadline(time.Now().Add(handoffDeadline)); err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix(h.token[:], syscall.UnixRights(h.fd.Int()), nil); err != nil {
		return err
	}
	offer := envelope.HandoffOffer{Token: h.token[:], ServiceName: h.service, CorrelationID: h.id}
	if _, err := conn.Write(offer.Frame().AppendFramed(nil)); err != nil {
		return err
	}
	reply, err := readReply(conn)
	if err != nil {
		return err
	}
	if _, err := envelope.CheckAck(reply, offer); err != nil {
		return err
	}
	data := offer.Ack(nil).Frame(envelope.Event).AppendFramed(nil)
	n, err := sys.Send(h.fd.Int(), data)
	if err == nil && n < len(data) {
		err = fmt.Errorf("the client read %d bytes of %d", n, len(data))
	}
	return err
}

// passed notes a connection that its backend has, so that it is counted as one.
func (b *Broker) passed(be *backend, h *handoff) {
	cookie, err := sys.Cookie(h.fd.Int())
	if err != nil {
		b.log.Error("cannot identify a connection", "err", err)
		return
	}
	b.apply(directory.Passed{
		Backend: be.id, Connection: h.connection, Caller: directory.Peer{PID: h.peer.PID, UID: h.peer.UID}, Socket: directory.Socket(cookie), Now: b.now(),
	})
}
