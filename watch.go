// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// EventKind is what an [Event] tells.
type EventKind uint32

// The kinds of event.
const (
	Appeared EventKind = EventKind(session.ChangeAppeared) // a name has an owner now, or had one when the watch began
	Changed  EventKind = EventKind(session.ChangeChanged)  // what is known of it changed
	Gone     EventKind = EventKind(session.ChangeGone)     // it has no owner any more
	Synced   EventKind = 100                               // once: what existed when the watch began has been told
)

// String returns "appeared", "changed", "gone", "synced" or "change N".
func (k EventKind) String() string {
	if k == Synced {
		return "synced"
	}
	return session.ChangeKind(k).String()
}

// Event is something that happened to names.
type Event struct {
	Kind   EventKind
	Entry  Entry  // as it is now; with Gone as it was; with Synced nothing
	Reason string // with Gone: why, for people
}

// Watcher tells of names that match a pattern. It outlives the broker: of the next one's names it tells what is different.
type Watcher struct {
	pattern string
	session *clientSession
	ctx     context.Context // ends with the Watcher; the cause is why
	cancel  context.CancelCauseFunc
	ready   chan struct{} // holds a token if Next should look

	mu    sync.Mutex // guards what follows
	id    uint32     // 0: there is no watch at the broker
	asked bool       // for one
	names watchedNames
	grace *time.Timer // until names that a new broker does not have are given up

	closed bool // by Close: nothing is told any more
}

// Watch tells of names in the session's namespace and below it: a name, "com.example.*" for all below com.example, or "*". What exists
// comes first, as Appeared, then Synced, then what happens. ctx is about this call only. A Watcher that nobody
// reads keeps 65,536 events, then lists anew when it is read.
func (c *Client) Watch(ctx context.Context, pattern string) (*Watcher, error) {
	if _, err := name.ParsePattern(pattern); err != nil {
		return nil, &Error{Code: CodeUsage, Op: "watch", Name: pattern, Text: err.Error(), Err: err}
	}
	w := &Watcher{pattern: pattern, session: c.session, ready: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancelCause(c.ctx)
	cl := w.call()
	if err := c.session.do(ctx, cl); err != nil {
		w.end(err)
		c.session.unwatchID(cl.id) // the broker may have heard it
		return nil, during("watch", pattern, err)
	}
	return w, nil
}

// Next waits for the next event. After Close the error is net.ErrClosed. A Watcher that was lost tells first what it had heard,
// then why.
func (w *Watcher) Next(ctx context.Context) (Event, error) {
	if event, ok := w.next(); ok {
		return event, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	for {
		if event, ok := w.next(); ok {
			return event, nil
		}
		if ctx.Err() != nil {
			return Event{}, during("watch", w.pattern, context.Cause(ctx))
		}
		if w.ended() {
			return Event{}, during("watch", w.pattern, errClosed)
		}
		if w.lapsed() {
			w.session.watchLater(w)
		}
		if err := w.session.await(ctx, w.ready, w.finished); err != nil && ctx.Err() == nil {
			return Event{}, during("watch", w.pattern, err)
		}
	}
}

// Close ends the watch, and drops what Next has not returned yet: from then on that is net.ErrClosed. Closing again does nothing.
func (w *Watcher) Close() error {
	w.mu.Lock()
	w.closed, w.names = true, watchedNames{}
	w.mu.Unlock()
	w.end(errClosed)
	w.session.unwatch(w)
	return nil
}

// end ends the Watcher on this side.
func (w *Watcher) end(why error) {
	w.cancel(why)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.grace != nil {
		w.grace.Stop()
	}
}

// ended reports whether the Watcher was closed.
func (w *Watcher) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *Watcher) lost(err error) { w.end(err) }

func (w *Watcher) next() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	event, ok := w.names.pop()
	if len(w.names.queue) > 0 {
		w.signal()
	}
	return event, ok
}

func (w *Watcher) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.names.queue) > 0
}

// lapsed reports whether the watch ended because nobody read it.
func (w *Watcher) lapsed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id == 0 && !w.asked
}

func (w *Watcher) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// call makes the request that begins the watch, or begins it anew. Its id is the watch's.
func (w *Watcher) call() *call {
	cl := newCall(session.OpWatch, session.Watch{Pattern: w.pattern}.Append)
	cl.apply = func(payload []byte, _ *sys.Buffer) error {
		m, err := session.ParseReply(payload)
		switch {
		case err != nil:
			return err
		case m.Code != session.OK:
			return refusal(m.Code, m.Text)
		}
		w.session.watched(cl.id, w)
		return nil
	}
	return cl
}

// changes takes what a packet tells. The reader calls it.
func (w *Watcher) changes(all []session.Changed) {
	w.mu.Lock()
	for i := range all {
		if !w.closed {
			w.names.change(&all[i])
		}
	}
	lapse := len(w.names.queue) > maxEvents
	w.signal()
	w.mu.Unlock()
	if lapse {
		w.session.unwatch(w)
	}
}

// listed: everything that existed has been told. The reader calls it.
func (w *Watcher) listed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.names.listed() {
		w.grace = time.AfterFunc(graceTime, w.giveUpMissing)
	}
	w.signal()
}

// giveUpMissing tells that names are gone that were not claimed again.
func (w *Watcher) giveUpMissing() {
	if !w.session.client.enter() {
		return
	}
	defer w.session.client.work.Done()
	w.mu.Lock()
	if !w.closed {
		w.names.giveUpMissing()
	}
	w.signal()
	w.mu.Unlock()
	w.session.wake() // the reader may be the one who waits in Next
}

// watched enters a watch into the books.
func (s *clientSession) watched(id uint32, w *Watcher) {
	s.mu.Lock()
	closed := s.closed || w.ctx.Err() != nil
	if !closed {
		s.watches[id] = w
	}
	s.mu.Unlock()
	if closed {
		s.unwatchID(id)
		return
	}
	w.mu.Lock()
	w.id, w.asked = id, false
	w.mu.Unlock()
	if w.ctx.Err() != nil { // meanwhile, before there was an id to end it by
		s.unwatch(w)
	}
}

// unwatch ends a watch at the broker, without waiting for its word.
func (s *clientSession) unwatch(w *Watcher) {
	w.mu.Lock()
	id := w.id
	w.id = 0
	w.mu.Unlock()
	s.mu.Lock()
	known := id != 0 && s.watches[id] == w
	if known {
		delete(s.watches, id)
	}
	s.mu.Unlock()
	if known {
		s.unwatchID(id)
	}
}

func (s *clientSession) unwatchID(id uint32) {
	cl := newCall(session.OpUnwatch, session.Unwatch{Watch: id}.Append)
	cl.bound, cl.apply = true, ignoreReply
	s.post(cl)
}

// post sends a request and leaves its reply to whoever reads it.
func (s *clientSession) post(cl *call) {
	if s.begin(cl) == nil {
		s.transmit(cl)
	}
}

// watchLater begins a lapsed watch anew.
func (s *clientSession) watchLater(w *Watcher) { s.post(w.renewal(false)) }

// watchAnew replaces a watch that the broker ended, on the same connection or another. The reader calls it.
func (s *clientSession) watchAnew(wire *wire, id uint32, w *Watcher, restarted bool) {
	s.mu.Lock()
	delete(s.watches, id)
	s.mu.Unlock()
	cl := w.renewal(restarted)
	if s.begin(cl) != nil {
		return
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	s.put(wire, cl)
}

// renewal makes the call that begins the watch anew.
func (w *Watcher) renewal(restarted bool) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id, w.asked = 0, true
	w.names.relist(restarted)
	cl := w.call()
	cl.kept, cl.lost = true, w.lost
	return cl
}

// watchAgain begins all watches anew on a new connection.
func (s *clientSession) watchAgain(wire *wire, restarted bool) {
	s.mu.Lock()
	watches := maps.Clone(s.watches)
	s.mu.Unlock()
	for id, w := range watches {
		s.watchAnew(wire, id, w, restarted)
	}
}
