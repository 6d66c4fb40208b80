// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// call is a request and what becomes of it.
type call struct {
	id      uint32
	op      session.Op
	packet  []byte                // header and payload; the header is written when it is sent
	build   func(b []byte) []byte // appends the payload, anew for each connection; nil: it is in packet already
	fd      *sys.FD               // goes with it, and stays its owner's; or nil
	own     bool                  // the call is that owner
	changes bool                  // it has a sequence
	locked  bool                  // it holds the token of clientSession.change
	bound   bool                  // it is about what this connection holds: done when the connection is lost
	once    bool                  // bound from when it was sent; and no broker is started for it
	epoch   uint64                // if bound: of the session that it is about; 0: any
	kept    bool                  // nobody waits, and it is wanted whatever happens to others

	// Guarded by clientSession.sending.
	sent     *wire     // where it was sent last
	sentAt   time.Time // when that was
	sequence uint64

	// apply takes the reply, run by whoever read it, before what comes behind it is looked at. Without one the
	// reply's buffer goes to the caller.
	apply func(payload []byte, b *sys.Buffer) error

	abandoned bool            // nobody waits; guarded by clientSession.mu
	lost      func(err error) // if not nil: told the error, if there is one

	done    chan struct{} // holds one token when what follows is valid
	err     error
	reply   *sys.Buffer // the caller's to put back
	payload []byte      // in reply
}

// calls keeps calls of the kind that happens often.
var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// newCall makes a call with a payload that is built when it is sent.
func newCall(op session.Op, build func(b []byte) []byte) *call {
	return &call{op: op, build: build, done: make(chan struct{}, 1)}
}

// void reports whether the call means nothing on another connection. clientSession.sending is held, or the role.
func (cl *call) void() bool { return cl.bound || cl.once && cl.sent != nil }

// release closes what is the call's own, once nobody sends it any more.
func (cl *call) release() {
	if cl.own {
		cl.fd.Close()
	}
}

func (cl *call) finished() bool { return len(cl.done) > 0 }

// emptyHeader is what a packet begins with until it is sent.
var emptyHeader [session.HeaderSize]byte

// write finishes the packet.
func (cl *call) write() {
	if cl.build != nil {
		cl.packet = cl.build(append(cl.packet[:0], emptyHeader[:]...))
	}
	h := session.Header{Kind: session.KindRequest, Op: cl.op, ID: cl.id, Sequence: cl.sequence}
	if cl.fd != nil {
		h.Descriptors = 1
	}
	h.Append(cl.packet[:0])
}
