// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// clientSession is a Client's standing connection to the broker, made when it is first needed and made anew when it is lost.
//
// There is no goroutine that reads. Of those who wait for something (a caller for its reply, Accept, Next), one holds the role
// of the reader: it reads packets and passes to the others what is theirs, until it has its own; it also connects
// again when the connection is lost. While something is held that the broker may speak about, and nobody waits, the
// pump takes the role (pump.go).
type clientSession struct {
	client *Client
	id     [16]byte // chosen once; only the reader changes it

	role   chan struct{} // holds one token: who takes it is the reader
	turns  atomic.Uint64 // how often a caller was the reader
	change chan struct{} // holds one token: who takes it may send a request that changes something

	reader // the reader's own
	pump

	// sending orders requests on the wire. It comes before mu.
	sending  sync.Mutex
	wire     *wire  // nil: not connected. Changed by the reader, under sending
	sequence uint64 // the last one used

	mu        sync.Mutex // guards what follows
	closed    bool
	current   *wire // being read, also while it is greeted
	lastID    uint32
	pending   map[uint32]*call
	held      []holding           // what was obtained, in order
	byLease   map[uint64]holding  // names and doors
	following map[uint32]follower // by the id of the request that began it
	outcomes  map[*outcome]bool   // that somebody waits for
	orphans   []uint64            // leases that nobody wants any more
	epoch     uint64              // counts sessions that began with nothing: leases of another one mean nothing
	left      int                 // pending calls that nobody waits for, and whose replies matter
}

// holding is something that the session holds at the broker, and obtains again from its successor.
type holding interface {
	request() *call
	// granted takes the reply, with descriptors from b, and returns the lease or 0. It is called by the reader.
	granted(payload []byte, b *sys.Buffer) (lease uint64, err error)
	// lost says that it is gone.
	lost(err error)
}

func newSession(c *Client) *clientSession {
	s := &clientSession{
		client: c, id: newID(),
		role: make(chan struct{}, 1), change: make(chan struct{}, 1),
		pending: make(map[uint32]*call), byLease: make(map[uint64]holding), following: make(map[uint32]follower),
		epoch: 1,
	}
	s.role <- struct{}{}
	s.change <- struct{}{}
	return s
}

// do sends a request and waits for its reply, which it reads itself if nobody else is reading. Without a deadline in ctx, a
// broker that is silent for too long is errSilent.
func (s *clientSession) do(ctx context.Context, cl *call) error {
	if err := s.begin(cl); err != nil {
		s.finish(cl, err)
		return err
	}
	select {
	case <-s.role:
		return s.lead(ctx, cl)
	default:
	}
	s.transmit(cl)
	late := s.newPatience(ctx)
	defer late.Stop()
	for {
		select {
		case <-cl.done:
			return cl.err
		case <-s.role:
			return s.lead(ctx, cl)
		case <-ctx.Done():
			return s.abandon(cl, ctx.Err())
		case <-late.C:
			rest := time.Until(s.due(cl))
			if rest <= 0 {
				return s.abandon(cl, s.client.silent())
			}
			late.Reset(rest)
		}
	}
}

// newPatience returns a timer for a wait without a deadline; of one with a deadline it never fires.
func (s *clientSession) newPatience(ctx context.Context) *time.Timer {
	t := time.NewTimer(s.client.patience)
	if _, ok := ctx.Deadline(); ok {
		t.Stop()
	}
	return t
}

// due returns until when to wait for the reply to a call: of one that is not under way, as if it were sent now.
func (s *clientSession) due(cl *call) time.Time {
	s.sending.Lock()
	defer s.sending.Unlock()
	since := cl.sentAt
	if s.wire == nil || cl.sent != s.wire {
		since = time.Now()
	}
	return since.Add(s.client.patience)
}

// lead is the rest of do for who became the reader.
func (s *clientSession) lead(ctx context.Context, cl *call) error {
	s.turns.Add(1)
	m := calling
	if cl.once {
		m = unstarted
	}
	err := s.hold(ctx, cl, cl.finished, m)
	s.leave()
	if err != nil {
		return s.abandon(cl, err)
	}
	<-cl.done
	return cl.err
}

// begin makes a call known, so that its reply finds it.
func (s *clientSession) begin(cl *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errClosed
	case cl.epoch != 0 && cl.epoch != s.epoch:
		return errNotConnected
	}
	cl.id = s.newIDLocked()
	s.pending[cl.id] = cl
	if cl.kept {
		s.left++
	}
	return nil
}

func (s *clientSession) newIDLocked() uint32 {
	for {
		s.lastID++
		if s.lastID != 0 && s.pending[s.lastID] == nil && s.following[s.lastID] == nil {
			return s.lastID
		}
	}
}

// transmit sends a call if there is a connection. If not, who connects sends it.
func (s *clientSession) transmit(cl *call) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.wire != nil && cl.sent != s.wire {
		s.put(s.wire, cl)
	}
}

// put sends a call on w; false: the connection is lost. s.sending is held.
func (s *clientSession) put(w *wire, cl *call) bool {
	if cl.changes && cl.sequence == 0 {
		s.sequence++
		cl.sequence = s.sequence
	}
	cl.sent, cl.sentAt = w, time.Now()
	cl.write()
	return w.send(cl.packet, cl.fd, nil)
}

// putFirst is put for who does not hold s.sending.
func (s *clientSession) putFirst(w *wire, cl *call) bool {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.put(w, cl)
}

// abandon gives up waiting for a call, unless its reply has come. One that changes something stays until the reply comes, as
// the next one may not be sent before.
func (s *clientSession) abandon(cl *call, err error) error {
	pending, left := s.remove(cl)
	switch {
	case left:
		s.arm(pumpAfter)
		return err
	case pending:
		s.finish(cl, err)
		return err
	}
	<-cl.done
	return cl.err
}

// remove takes a call from those that wait for a reply, if it is there, or leaves it for its reply to come.
func (s *clientSession) remove(cl *call) (pending, left bool) {
	s.sending.Lock() // so that nobody sends it meanwhile
	defer s.sending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := cl.sent != nil && (cl.sent == s.wire || !cl.void())
	switch {
	case s.pending[cl.id] != cl:
		return false, false
	case cl.changes && sent:
		cl.abandoned = true
		s.left++
		return true, true
	}
	s.removeLocked(cl)
	return true, false
}

// finish completes a call that is no longer pending.
func (s *clientSession) finish(cl *call, err error) {
	cl.err = err
	if cl.lost != nil && err != nil {
		cl.lost(err)
	}
	cl.release()
	s.unlockChange(cl)
	cl.done <- struct{}{}
}

// lockChange waits until no request that changes something is under way.
func (s *clientSession) lockChange(ctx context.Context) error {
	select {
	case <-s.change:
		return nil
	default:
	}
	late := s.newPatience(ctx)
	defer late.Stop()
	select {
	case <-s.change:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.client.ctx.Done():
		return errClosed
	case <-late.C:
		return s.client.silent()
	}
}

func (s *clientSession) unlockChange(cl *call) {
	if cl.locked {
		s.change <- struct{}{}
	}
}

// take removes a call from those that wait for a reply, or returns nil.
func (s *clientSession) take(id uint32) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	cl := s.pending[id]
	if cl != nil {
		s.removeLocked(cl)
	}
	return cl
}

func (s *clientSession) removeLocked(cl *call) {
	delete(s.pending, cl.id)
	if cl.abandoned || cl.kept {
		s.left--
	}
}

// failPending gives all calls of the program's an error that would be the same for each, and with all the others too.
func (s *clientSession) failPending(err error, all bool) {
	s.mu.Lock()
	var failed []*call
	for _, cl := range s.pending {
		if all || !cl.kept {
			s.removeLocked(cl)
			failed = append(failed, cl)
		}
	}
	s.mu.Unlock()
	for _, cl := range failed {
		s.finish(cl, err)
	}
}

// interested reports whether the broker may have something to say that nobody asked for.
func (s *clientSession) interested() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)+len(s.following)+s.left > 0 && !s.closed
}

// close ends the session and everything in it.
func (s *clientSession) close() {
	s.mu.Lock()
	s.closed = true
	w := s.current
	held, following := s.held, s.following
	s.held, s.byLease, s.following = nil, nil, nil
	s.failOutcomesLocked(errClosed)
	s.mu.Unlock()
	s.stopPump()
	if w != nil {
		w.close()
	}
	for _, h := range held {
		h.lost(errClosed)
	}
	for _, f := range following {
		f.lost(errClosed)
	}
	s.failPending(errClosed, true)
	<-s.role // whoever was reading has noticed
	if s.forget != nil {
		s.forget()
		s.forget, s.attended = nil, nil
	}
	s.role <- struct{}{}
}

// helloPayload names the session, the program, and the launch that it is the process of.
func (s *clientSession) helloPayload(b []byte) []byte {
	return session.Hello{Session: s.id, Program: filepath.Base(os.Args[0]), Instance: os.Getenv(EnvInstance)}.Append(b)
}

// errNotConnected: there is no connection, and none is made for this.
var errNotConnected = errors.New("there is no connection to the broker")
