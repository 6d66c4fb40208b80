// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// SelectOption narrows which backends of a name [Client.Stop], [Client.Restart] and [Client.Retire] mean.
type SelectOption interface{ applySelect(*selectOptions) }

type selectOptions struct{ version, scope string }

// Stop ends the backends of a name, politely first, and waits until they have ended. Callers that are connected lose their service; the
// next call launches it again. It returns how many there were. Stop starts no broker.
func (c *Client) Stop(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	n, err := c.backends(ctx, session.OpStop, "stop", service, opts)
	return n, during("stop", service, err)
}

// Restart launches a new backend for each one of a name that runs, and waits until the new ones are ready; newcomers get those, and an
// old one ends when its last caller has gone. It returns how many were launched. One that fails to start is ErrUnavailable, with the reason.
// Restart starts no broker.
func (c *Client) Restart(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	n, err := c.backends(ctx, session.OpRestart, "restart", service, opts)
	return n, during("restart", service, err)
}

// Retire keeps newcomers away from the backends of a name; each ends when its last caller has gone. It returns how many there are, and does not wait.
// Retire starts no broker.
func (c *Client) Retire(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	n, err := c.backends(ctx, session.OpRetire, "retire", service, opts)
	return n, during("retire", service, err)
}

// Stop ends the backends of a name of the user's broker; see [Client.Stop].
func Stop(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	return user().Stop(ctx, service, opts...)
}

// Restart replaces the backends of a name of the user's broker; see [Client.Restart].
func Restart(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	return user().Restart(ctx, service, opts...)
}

// Retire keeps newcomers away from the backends of a name of the user's broker; see [Client.Retire].
func Retire(ctx context.Context, service string, opts ...SelectOption) (int, error) {
	return user().Retire(ctx, service, opts...)
}

// errBrokerGone: the events that were waited for will not come.
var errBrokerGone = errors.New("the broker went away before it said how that ended: ask again")

// outcome collects what becomes of the backends that one request named. clientSession.mu guards it.
type outcome struct {
	ready    chan struct{} // holds a token when it is complete
	open     map[uint64]bool
	restarts bool  // an end is a failure
	err      error // the first one
}

// backends asks for something to be done with the backends of a name, and waits for its events, of which RETIRE has none.
func (c *Client) backends(ctx context.Context, op session.Op, verb, service string, opts []SelectOption) (int, error) {
	if err := name.Check(service); err != nil {
		return 0, &Error{Code: CodeUsage, Op: verb, Name: service, Text: err.Error(), Err: err}
	}
	var o selectOptions
	for _, opt := range opts {
		opt.applySelect(&o)
	}
	s := c.session
	if err := s.giveBack(ctx); err != nil {
		return 0, err
	}
	out := &outcome{ready: make(chan struct{}, 1), open: make(map[uint64]bool), restarts: op == session.OpRestart}
	n := 0
	cl := newCall(op, session.Select{Name: service, Version: o.version, Scope: o.scope}.Append)
	cl.changes, cl.locked, cl.once = true, true, true
	cl.apply = func(payload []byte, _ *sys.Buffer) error {
		m, err := session.ParseBackendsReply(payload)
		switch {
		case err != nil:
			return err
		case m.Code != session.OK:
			return refusal(m.Code, m.Text)
		}
		if n = len(m.Backends); op != session.OpRetire {
			s.expect(out, m.Backends)
		}
		return nil
	}
	err := s.do(ctx, cl)
	switch {
	case errors.Is(err, errNotConnected):
		err = &Error{Code: CodeTryAgain, Text: errBrokerGone.Error(), Err: errBrokerGone}
	case err == nil && op != session.OpRetire:
		err = s.outcome(ctx, out)
	}
	return n, err
}

// expect makes the events of backends known before what comes behind the reply is read. The reader calls it.
func (s *clientSession) expect(out *outcome, backends []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcomes == nil {
		s.outcomes = make(map[*outcome]bool)
	}
	for _, id := range backends {
		out.open[id] = true
	}
	s.outcomes[out] = true
}

// outcome waits until each backend has had its event.
func (s *clientSession) outcome(ctx context.Context, out *outcome) error {
	complete := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(out.open) == 0
	}
	for !complete() {
		if err := s.await(ctx, out.ready, complete); err != nil {
			return s.forgetOutcome(out, err)
		}
	}
	return s.forgetOutcome(out, nil)
}

func (s *clientSession) forgetOutcome(out *outcome, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outcomes, out)
	if out.err != nil {
		return out.err
	}
	return err
}

// settled tells whoever waits for a backend how it ended, or (nil) that it started. false: nobody waits.
func (s *clientSession) settled(backend uint64, ended *session.Ended) (known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for out := range s.outcomes {
		if !out.open[backend] {
			continue
		}
		known = true
		delete(out.open, backend)
		if ended != nil && out.restarts && out.err == nil {
			out.err = &Error{Code: CodeUnavailable, Text: ended.Reason}
		}
		out.signal()
	}
	return known
}

// failOutcomesLocked ends the wait for events that will not come. s.mu is held.
func (s *clientSession) failOutcomesLocked(err error) {
	for out := range s.outcomes {
		if len(out.open) > 0 && out.err == nil {
			out.err = err
		}
		clear(out.open)
		out.signal()
	}
}

func (o *outcome) signal() {
	if len(o.open) > 0 {
		return
	}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}
