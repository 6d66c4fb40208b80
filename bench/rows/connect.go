// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"net"
	"path/filepath"
	"strings"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// serveRole is a server at a path.
func serveRole(ctx context.Context, r *role) error {
	if err := r.need(1); err != nil {
		return err
	}
	l, err := net.Listen("unix", r.args[0])
	if err != nil {
		return err
	}
	return r.serve(l)
}

// ownRole is the same server with a name.
func ownRole(ctx context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	c := client(r.args[0])
	defer c.Close()
	var options []switchboard.ListenOption
	if len(r.args) > 2 {
		options = append(options, switchboard.ByPath())
	}
	l, err := c.Listen(ctx, r.args[1], options...)
	if err != nil {
		return err
	}
	return r.serve(l)
}

// serve answers each caller with one byte, until the input ends.
func (r *role) serve(l net.Listener) error {
	done := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			_, _ = c.Write([]byte{'x'}) // the caller may be gone
			_ = c.Close()
		}
	}()
	r.ready()
	r.wait()
	_ = l.Close()
	<-done
	return nil
}

// Calls is a process that calls services and takes the time.
type Calls struct{ *proc.Process }

// StartCalls starts such a process.
func (e *Env) StartCalls(ctx context.Context) (Calls, error) {
	p, err := e.StartRole(ctx, "call")
	return Calls{p}, err
}

// Medians calls in turn in all of the ways (callRole) for a slice, and returns
// the median time of each in microseconds.
func (c Calls) Medians(ctx context.Context, e *Env, ways []string) ([]float64, error) {
	if err := c.Tell("%s %s", e.Slice(), strings.Join(ways, ",")); err != nil {
		return nil, err
	}
	var list []float64
	if err := c.Result(ctx, &list); err != nil {
		return nil, err
	}
	for i := range list {
		list[i] /= 1000
	}
	return list, nil
}

// connect compares the ways to a service by the time to the first byte of its answer.
func connect(ctx context.Context, e *Env) ([]Row, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	plain := filepath.Join(e.Folder, "plain")
	for _, args := range [][]string{
		{"serve", plain},
		{"own", b.Folder, "bench.handed"},
		{"own", b.Folder, "bench.path", "path"},
	} {
		if _, err := e.StartRole(ctx, args...); err != nil {
			return nil, err
		}
	}
	caller, err := e.StartCalls(ctx)
	if err != nil {
		return nil, err
	}
	ways := []string{
		"plain " + plain,
		"dial " + b.Folder + " bench.handed",
		"go " + b.Folder + " bench.handed",
		"plain " + filepath.Join(b.Folder, "s", "bench.path"),
		"net " + plain,
	}
	took := make([][]float64, len(ways))
	for round := range e.Rounds() + 1 {
		m, err := caller.Medians(ctx, e, ways)
		if err != nil {
			return nil, err
		}
		for i := range ways {
			if round > 0 { // the first one warms up
				took[i] = append(took[i], m[i])
			}
		}
	}
	return []Row{
		Compare("DIAL in text, to the first byte", "µs", took[1], "connect", took[0], Limit{AtMost: 2.2}),
		Compare("Dial in Go, to the first byte", "µs", took[2], "connect", took[0], Limit{AtMost: 2.7}),
		Compare("Dial in Go against Go's own", "µs", took[2], "Go's net.Dial", took[4], Limit{}),
		Compare("by path s/NAME, to the first byte", "µs", took[3], "connect", took[0], Limit{AtMost: 1.1}),
	}, nil
}
