// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/switchboard-ipc/switchboard"
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

// Call calls in one of the ways of callRole for a while, and returns the median
// time in microseconds.
func (e *Env) Call(ctx context.Context, way ...string) (float64, error) {
	median, _, err := e.callFor(ctx, e.Slice()/4, way)
	return median, err
}

// callFor calls for so long, and returns the median and the 99th percentile in microseconds.
func (e *Env) callFor(ctx context.Context, d time.Duration, way []string) (median, p99 float64, err error) {
	p, err := e.StartRole(ctx, append([]string{"call", d.String()}, way...)...)
	if err != nil {
		return 0, 0, err
	}
	p.Stop()
	if _, err := fmt.Sscan(p.First, &median, &p99); err != nil {
		return 0, 0, fmt.Errorf("cannot read the times %q: %w", p.First, err)
	}
	return median / 1000, p99 / 1000, nil
}

// connect compares the ways to a service by the time to the first byte of its answer.
func connect(ctx context.Context, e *Env) ([]Row, error) {
	place, note := Places()
	e.On = place.Services
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
	ways := [][]string{
		{"plain", plain},
		{"dial", b.Folder, "bench.handed"},
		{"go", b.Folder, "bench.handed"},
		{"plain", filepath.Join(b.Folder, "s", "bench.path")},
		{"net", plain},
	}
	e.On = place.Caller
	took := make([][]float64, len(ways))
	for range 2 * e.Rounds() {
		for i, way := range ways {
			m, err := e.Call(ctx, way...)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], m)
		}
	}
	text := Compare("DIAL in text, to the first byte", "µs", took[1], "connect", took[0], Limit{AtMost: 2.2})
	text.Note = note
	return []Row{
		text,
		Compare("Dial in Go, to the first byte", "µs", took[2], "connect", took[0], Limit{AtMost: 2.7}),
		Compare("Dial in Go against Go's own", "µs", took[2], "Go's net.Dial", took[4], Limit{}),
		Compare("by path s/NAME, to the first byte", "µs", took[3], "connect", took[0], Limit{AtMost: 1.1}),
	}, nil
}
