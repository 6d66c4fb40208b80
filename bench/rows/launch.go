// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// crowd are the callers that want the same service at once.
const crowd = 64

// launches measures with a backend in Go, which takes most of the time for itself.
func launches(ctx context.Context, e *Env) ([]Row, error) {
	return e.Launches(ctx, e.GoBackend(), "Go")
}

// Launches measures what the launch of a backend takes: backend is the command
// of one that takes one more argument, as c/backend.c does.
func (e *Env) Launches(ctx context.Context, backend []string, language string) ([]Row, error) {
	told := func(arg string) []string { return append(backend[:len(backend):len(backend)], arg) }
	b, err := e.startLaunching(ctx, []definition{
		{"bench.listener", "listener", told("1")},
		{"bench.connection", connection, told(connection)},
		{"bench.crowd", "listener", told(strconv.Itoa(crowd))},
	})
	if err != nil {
		return nil, err
	}
	byHand := append([]string{"listener", e.Folder}, told("1")...)
	ways := [][]string{
		{"dial", b.Folder, "bench.listener", "1"},
		byHand,
		{"dial", b.Folder, "bench.connection", "1"},
		append([]string{connection, e.Folder}, told(connection)...),
		append([]string{"shim", e.Folder, e.options.Binary}, told("1")...),
		{"dial", b.Folder, "bench.crowd", strconv.Itoa(crowd)},
	}
	count := 10
	if e.Quick() {
		count = 1
	}
	answer, began := make([][]float64, len(ways)), make([][]float64, len(ways))
	for range e.Rounds() {
		for i, way := range ways {
			f, err := e.firstCalls(ctx, count, way)
			if err != nil {
				return nil, err
			}
			answer[i], began[i] = append(answer[i], f.Answer), append(began[i], f.Main)
		}
	}
	in := ", backend in " + language
	shim := Compare("fork to main through the exec shim"+in, "ms", began[4], "fork and exec", began[1], Limit{})
	shim.Note = fmt.Sprintf("the shim's own share is %.1f ms", Median(minus(began[4], began[1])))
	later := minus(answer[5], answer[0])
	all := Compare(fmt.Sprintf("%d first callers, all served%s", crowd, in), "ms", answer[5], "one first caller", answer[0], Limit{})
	all.Note = fmt.Sprintf("wanted is the difference, which is %.1f ms", Median(later))
	limit := Alone("", "ms", later, Limit{AtMost: 10})
	all.Wanted, all.Met = limit.Wanted+" later", limit.Met
	return []Row{
		Compare("first DIAL, listener, to the first byte"+in, "ms", answer[0], "listen, fork, exec, connect by hand", answer[1], Limit{}),
		Compare("first DIAL, connection, to the first byte"+in, "ms", answer[2], "socketpair, fork, exec by hand", answer[3], Limit{}),
		shim,
		all,
	}, nil
}

// minus are the rounds' differences.
func minus(a, b []float64) []float64 {
	list := make([]float64, min(len(a), len(b)))
	for i := range list {
		list[i] = a[i] - b[i]
	}
	return list
}

// firstCalls has a program launched so many times, in one of the ways of firstCallRole.
func (e *Env) firstCalls(ctx context.Context, count int, way []string) (f first, err error) {
	p, err := e.StartRole(ctx, append([]string{"first-call", strconv.Itoa(count)}, way...)...)
	if err != nil {
		return f, err
	}
	p.Stop()
	return f, json.Unmarshal([]byte(p.First), &f)
}

// backends measures what the broker has resident for each backend that runs and does nothing.
func backends(ctx context.Context, e *Env) ([]Row, error) {
	const warm = 10 // not counted: what the first ones need is needed once
	count, after := 100, 10*time.Second
	if e.Quick() {
		count, after = 40, time.Second
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return nil, fmt.Errorf("cannot launch anything: %w", err)
	}
	list := make([]definition, warm+count)
	for i := range list {
		list[i] = definition{fmt.Sprintf("bench.n%d", i), "listener", []string{sleep, "1000"}}
	}
	b, err := e.startLaunching(ctx, list)
	if err != nil {
		return nil, err
	}
	if err := b.run(list[:warm]); err != nil {
		return nil, err
	}
	if err := pause(ctx, after); err != nil {
		return nil, err
	}
	before, err := proc.MemoryOf(b.PID())
	if err != nil {
		return nil, err
	}
	if err := b.run(list[warm:]); err != nil {
		return nil, err
	}
	if err := pause(ctx, after); err != nil {
		return nil, err
	}
	then, err := proc.MemoryOf(b.PID())
	if err != nil {
		return nil, err
	}
	row := Alone("a backend that runs, in the broker", "KiB", []float64{float64(then.Anonymous-before.Anonymous) / float64(count) / kib}, Limit{})
	row.Note = fmt.Sprintf("%d backends, %s after; the whole broker has %.1f MiB resident", count, after, float64(then.Resident)/mib)
	return []Row{row}, nil
}

// run launches services, one after the other.
func (b *Broker) run(list []definition) error {
	for _, d := range list {
		if err := b.launch(d.name); err != nil {
			return fmt.Errorf("cannot launch %s: %w", d.name, err)
		}
	}
	return nil
}
