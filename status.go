// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Status is the state of a broker.
type Status struct {
	PID         int
	UID         int
	Version     string
	Folder      string // the runtime folder
	Started     time.Time
	Sessions    int
	Names       int
	Ports       int // of Names
	Namespaces  int
	Watches     int
	Waiting     int      // callers that wait now
	HandedOver  uint64   // connections, since the start
	Refused     uint64   // callers, since the start
	Descriptors int      // in the broker's table
	Services    []string // folders with definitions, in the order in which they count
	Backends    int      // that run, or are being started or ended
	Launches    uint64   // of backends, since the start
	Failures    []Failure
}

// Failure is a service that does not run because its last start failed.
type Failure struct {
	Name    string
	Version string
	Scope   string
	Reason  string
	Wait    time.Duration // for which it is not tried again; after that, the next caller has it tried
	Ports   []string      // of one with accept "mach"
}

// Status asks the broker for its state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var m session.StatusReply
	cl := newCall(session.OpStatus, empty)
	cl.apply = func(payload []byte, _ *sys.Buffer) (err error) {
		if m, err = session.ParseStatusReply(payload); err == nil && m.Code != session.OK {
			err = refusal(m.Code, m.Text)
		}
		return err
	}
	if err := c.session.do(ctx, cl); err != nil {
		return Status{}, during("ask for the status of", c.dir, err)
	}
	var failures []Failure
	for _, f := range m.Failures {
		failures = append(failures, Failure{f.Name, f.Version, f.Scope, f.Reason, time.Duration(f.Wait) * time.Millisecond, f.Ports})
	}
	return Status{
		PID: int(m.PID), UID: int(m.UID), Version: m.Version, Folder: m.Folder, Started: time.UnixMilli(int64(m.Started)),
		Sessions: int(m.Sessions), Names: int(m.Names), Ports: int(m.Ports), Namespaces: int(m.Namespaces), Watches: int(m.Watches), Waiting: int(m.Waiting),
		HandedOver: m.HandedOver, Refused: m.Refused, Descriptors: int(m.Descriptors),
		Services: m.Services, Backends: int(m.Backends), Launches: m.Launches, Failures: failures,
	}, nil
}

// ShutdownOption changes what [Client.Shutdown] does.
type ShutdownOption interface{ applyShutdown(*session.Shutdown) }

type shutdownOption func(*session.Shutdown)

func (f shutdownOption) applyShutdown(m *session.Shutdown) { f(m) }

// KeepBackends leaves what the broker launched to the next one, which finds it and uses it.
func KeepBackends() ShutdownOption {
	return shutdownOption(func(m *session.Shutdown) { m.KeepBackends = true })
}

// Shutdown makes the broker stop what it launched and end, politely, and waits until it has left: another one can be started then. It starts
// none itself: if none runs the error is ErrUnavailable.
func (c *Client) Shutdown(ctx context.Context, opts ...ShutdownOption) error {
	var m session.Shutdown
	for _, opt := range opts {
		opt.applyShutdown(&m)
	}
	cl := newCall(session.OpShutdown, m.Append)
	cl.once = true
	cl.apply = func(payload []byte, _ *sys.Buffer) error {
		m, err := session.ParseReply(payload)
		if err == nil && m.Code != session.OK {
			err = refusal(m.Code, m.Text)
		}
		return err
	}
	err := c.session.do(ctx, cl)
	switch {
	case errors.Is(err, errNotConnected): // it has ended
		return nil
	case err == nil:
		err = c.session.lostOf(ctx, cl)
	}
	return during("shut down the broker of", c.dir, err)
}

// lostOf waits until the connection on which a call was made is lost.
func (s *clientSession) lostOf(ctx context.Context, cl *call) error {
	s.sending.Lock()
	w := cl.sent
	s.sending.Unlock()
	for {
		select {
		case <-w.lost:
			return nil
		default:
		}
		if err := s.await(ctx, w.lost, func() bool { return s.wire != w }); err != nil {
			return err
		}
	}
}

func empty(b []byte) []byte { return b }
