// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Traced is a message of a bootstrap front, and how it went: a request with the outcome, or a notification that was sent.
type Traced struct {
	Time      time.Time // to the microsecond
	PID, UID  int       // who sent it; of a notification: whom it was sent to
	Program   string    // its executable's name; "": it is not known
	Namespace string    // as a path: "/", "/ci/job"
	Protocol  string    // "mach" or "xpc"
	ID        int       // of the message
	Routine   string    // with its dialect, such as "look_up (canonical)"
	Name      string    // what it is about; of several, with spaces between; "": none
	Code      int       // of the reply
	Outcome   string    // what the code means
	Lost      uint64    // messages before this one that were not told, because there was no room
}

// Tracer tells of messages of the bootstrap fronts as they come. It outlives the broker; what its successor is sent before it is
// asked to trace is not told.
type Tracer struct {
	followed

	queue   []Traced
	dropped uint64 // since the last of queue
}

// Trace tells of messages of the bootstrap fronts, in the session's namespace and below it: those that are about a name of the pattern,
// as of [Client.Watch], or with "" all, also those that name nothing. ctx is about this call only. What nobody reads is kept up to
// 65,536 messages; what is lost beyond, or because the broker had no room, is counted.
func (c *Client) Trace(ctx context.Context, pattern string) (*Tracer, error) {
	if pattern != "" {
		if _, err := name.ParsePattern(pattern); err != nil {
			return nil, &Error{Code: CodeUsage, Op: "trace", Name: pattern, Text: err.Error(), Err: err}
		}
	}
	t := &Tracer{}
	t.init(c, pattern)
	cl := t.call()
	if err := c.session.do(ctx, cl); err != nil {
		t.cancel(err)
		c.session.unfollowID(cl.id) // the broker may have heard it
		return nil, during("trace", pattern, err)
	}
	return t, nil
}

// Next waits for the next message. After Close the error is net.ErrClosed. A Tracer that was lost tells first what it had heard, then why.
func (t *Tracer) Next(ctx context.Context) (Traced, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })()
	for {
		if m, ok := t.next(); ok {
			return m, nil
		}
		if ctx.Err() != nil {
			return Traced{}, during("trace", t.pattern, context.Cause(ctx))
		}
		if err := t.session.await(ctx, t.ready, t.finished); err != nil && ctx.Err() == nil {
			return Traced{}, during("trace", t.pattern, err)
		}
	}
}

// Close ends the trace, and drops what Next has not returned yet: from then on that is net.ErrClosed. Closing again does nothing.
func (t *Tracer) Close() error {
	t.mu.Lock()
	t.closed, t.queue = true, nil
	t.mu.Unlock()
	t.cancel(errClosed)
	t.session.unfollow(t)
	return nil
}

func (t *Tracer) next() (Traced, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return Traced{}, false
	}
	m := t.queue[0]
	if t.queue = t.queue[1:]; len(t.queue) == 0 {
		t.queue = nil
	} else {
		t.signal()
	}
	return m, true
}

func (t *Tracer) finished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) > 0
}

// take takes one message. The reader calls it.
func (t *Tracer) take(m session.Traced) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return
	case len(t.queue) >= maxEvents:
		t.dropped += m.Lost + 1
		return
	}
	t.queue = append(t.queue, Traced{
		Time: time.UnixMicro(int64(m.Time)), PID: int(m.PID), UID: int(m.UID), Program: m.Program, Namespace: m.Namespace,
		Protocol: m.Protocol, ID: int(int32(m.ID)), Routine: m.Routine, Name: m.Name, Code: int(int32(m.Code)), Outcome: m.Outcome,
		Lost: m.Lost + t.dropped,
	})
	t.dropped = 0
	t.signal()
}

func (t *Tracer) call() *call {
	return t.session.followCall(t, session.OpTrace, session.Trace{Pattern: t.pattern}.Append)
}

func (t *Tracer) renewal(bool) *call {
	cl := t.call()
	cl.kept, cl.lost = true, t.lost
	return cl
}

func (t *Tracer) lost(err error) { t.cancel(err) }
