// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/name"
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
	followed

	names watchedNames
	grace *time.Timer // until names that a new broker does not have are given up
}

// Watch tells of names in the session's namespace and below it: a name, "com.example.*" for all below com.example, or "*". What exists
// comes first, as Appeared, then Synced, then what happens. ctx is about this call only. A Watcher that nobody
// reads keeps 65,536 events, then lists anew when it is read.
func (c *Client) Watch(ctx context.Context, pattern string) (*Watcher, error) {
	if _, err := name.ParsePattern(pattern); err != nil {
		return nil, &Error{Code: CodeUsage, Op: "watch", Name: pattern, Text: err.Error(), Err: err}
	}
	w := &Watcher{}
	w.init(c, pattern)
	cl := w.call()
	if err := c.session.do(ctx, cl); err != nil {
		w.end(err)
		c.session.unfollowID(cl.id) // the broker may have heard it
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
			w.session.post(w.renewal(false))
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
	w.session.unfollow(w)
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

func (w *Watcher) call() *call {
	return w.session.followCall(w, session.OpWatch, session.Watch{Pattern: w.pattern}.Append)
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
		w.session.unfollow(w)
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

func (w *Watcher) renewal(restarted bool) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id, w.asked = 0, true
	w.names.relist(restarted)
	cl := w.call()
	cl.kept, cl.lost = true, w.lost
	return cl
}
