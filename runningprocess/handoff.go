// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	offerDeadline = envelope.TokenAckDeadline * time.Millisecond // for the rest of a handoff that has begun
	maxOffer      = 64 << 10                                     // bytes of its body
)

var errBusy = errors.New("the backend has too many connections that wait")

// takeHandoffs takes the broker's connections for handing over.
func (l *Listener) takeHandoffs() {
	for {
		c, err := l.handoffs.next(l.undecided.shed, l.closed)
		if err != nil {
			l.end(fmt.Errorf("runningprocess: cannot accept: %w", err))
			return
		}
		at := l.brokers.add(c)
		l.tasks.Go(func() {
			if checkPeer(c) == nil {
				for l.takeHandoff(c) == nil {
				}
			}
			if l.brokers.remove(at) {
				c.Close()
			}
		})
	}
}

// takeHandoff takes one client's connection: steps 4 to 6 of section 10. After an error the broker's connection is of no use any more.
func (l *Listener) takeHandoff(broker *net.UnixConn) error {
	token, passed, err := receivePassed(broker)
	if err != nil {
		return err
	}
	defer passed.Close()
	// Of the time since the token came, which is that of its deadline.
	if err := broker.SetDeadline(time.Now().Add(offerDeadline)); err != nil {
		return err
	}
	frame, err := ReadFrame(broker, maxOffer)
	if err != nil {
		return err
	}
	offer, err := envelope.CheckOffer(frame)
	if err != nil {
		return err // not one that can be answered: whose is the connection?
	}
	client, why := l.acceptOffer(offer, token, passed)
	if err := WriteFrame(broker, offer.Ack(why).Frame(envelope.Response)); err != nil {
		if client != nil {
			client.Close()
		}
		return err
	}
	if client != nil {
		l.receive(client, true)
	}
	return broker.SetDeadline(time.Time{})
}

// acceptOffer returns the connection that is offered, or what the broker is told why not.
func (l *Listener) acceptOffer(offer envelope.HandoffOffer, token [envelope.TokenSize]byte, passed *sys.FD) (*net.UnixConn, error) {
	if err := offer.CheckToken(token); err != nil {
		return nil, err
	}
	if l.queue.full() {
		return nil, errBusy
	}
	if _, err := sys.CheckSocket(passed.Int(), sys.Stream); err != nil {
		return nil, err
	}
	if !l.spent.spend(token) {
		return nil, envelope.ErrTokenNotPending
	}
	return unixconn.Of(passed)
}

// receivePassed waits for the token and the descriptor that comes with it. io.EOF: there are no more.
func receivePassed(broker *net.UnixConn) (token [envelope.TokenSize]byte, passed *sys.FD, err error) {
	oob := make([]byte, syscall.CmsgSpace(4*sys.MaxFDs)) // as many as can come, so that all can be closed
	var fds []int
	for have := 0; have < len(token); {
		var n, control, flags int
		n, control, flags, _, err = broker.ReadMsgUnix(token[have:], oob)
		got, malformed := descriptors(oob[:control])
		fds = append(fds, got...)
		switch {
		case err != nil:
		case n == 0:
			err = io.EOF
		case malformed != nil:
			err = malformed
		case flags&syscall.MSG_CTRUNC != 0:
			err = errors.New("a descriptor was lost")
		}
		if err != nil {
			sys.CloseAll(fds)
			return token, nil, err
		}
		if have += n; have < len(token) { // the rest is on its way
			_ = broker.SetReadDeadline(time.Now().Add(offerDeadline))
		}
	}
	if len(fds) != 1 {
		sys.CloseAll(fds)
		return token, nil, fmt.Errorf("%d descriptors came with a handoff token", len(fds))
	}
	return token, sys.NewFD(fds[0]), nil
}

// descriptors returns those that came with a message. They are close-on-exec.
func descriptors(oob []byte) (fds []int, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level != syscall.SOL_SOCKET || m.Header.Type != syscall.SCM_RIGHTS {
			continue
		}
		got, rights := syscall.ParseUnixRights(&m)
		fds, err = append(fds, got...), errors.Join(err, rights)
	}
	return fds, err
}

// spent are the tokens that were used last: each counts once.
type spent struct {
	mu   sync.Mutex
	used map[[envelope.TokenSize]byte]bool
	ring [envelope.TokenLimit][envelope.TokenSize]byte
	next int
}

// spend uses a token up, and reports whether it was unused.
func (s *spent) spend(token [envelope.TokenSize]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[token] {
		return false
	}
	if s.used == nil {
		s.used = make(map[[envelope.TokenSize]byte]bool)
	}
	if len(s.used) >= len(s.ring) {
		delete(s.used, s.ring[s.next])
	}
	s.ring[s.next], s.used[token] = token, true
	s.next = (s.next + 1) % len(s.ring)
	return true
}
