// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// LookUpClients are the numbers of clients with which look-ups are measured.
func LookUpClients() []int { return []int{1, 8, 32} }

// rate is what a process that counts reports.
type rate struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
}

// lookUpNames is how many names one process looks up: so few that the library's
// own cost does not depend on how many there are.
const lookUpNames = 100

// lookUpRole looks up random names of a group for as long as it is told, and by as many clients as it is told:
// each has a session of its own and asks one thing after the other.
func lookUpRole(ctx context.Context, r *role) error {
	g, err := parseGroup(r)
	if err != nil {
		return err
	}
	var clients []*switchboard.Client
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	names := make([]string, lookUpNames)
	for i := range names {
		names[i] = g.name(rand.IntN(g.sessions), rand.IntN(g.names))
	}
	r.ready()
	return r.answer(func(d time.Duration, words []string) (any, error) {
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, err
		}
		for len(clients) < n {
			c := client(g.folder)
			clients = append(clients, c)
			if _, err := c.LookUp(ctx, names[0]); err != nil {
				return nil, err
			}
		}
		rates, errs := make([]rate, n), make([]error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { rates[i], errs[i] = lookUpFor(ctx, clients[i], names, d) })
		}
		all.Wait()
		var sum rate
		for _, one := range rates {
			sum.Count += one.Count
			sum.Seconds = max(sum.Seconds, one.Seconds)
		}
		return sum, errors.Join(errs...)
	})
}

// lookUpFor looks names up in turn.
func lookUpFor(ctx context.Context, c *switchboard.Client, names []string, d time.Duration) (rate, error) {
	start, count, next := time.Now(), 0, 0
	for {
		for range 16 { // the clock is read once in 16 look-ups
			if _, err := c.LookUp(ctx, names[next]); err != nil {
				return rate{}, err
			}
			if next++; next == len(names) {
				next = 0
			}
		}
		count += 16
		if took := time.Since(start); took >= d {
			return rate{Count: count, Seconds: took.Seconds()}, nil
		}
	}
}

// LookUpLoop is a number of processes that look a name up through the Go library.
type LookUpLoop struct{ clients []*proc.Process }

// StartLookUps starts as many processes that look up the names PREFIX.sS.nN of
// the broker in the folder.
func (e *Env) StartLookUps(ctx context.Context, folder, prefix string, sessions, names, clients int) (*LookUpLoop, error) {
	g := group{folder: folder, prefix: prefix, sessions: sessions, names: names}
	l := &LookUpLoop{}
	for range clients {
		p, err := e.StartRole(ctx, g.args("look-up")...)
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, p)
	}
	return l, nil
}

// Run lets n clients loop together, one in each of the first processes, and
// returns how many look-ups they made in all, and how many per second.
func (l *LookUpLoop) Run(ctx context.Context, n int, d time.Duration) (count int, perSecond float64, err error) {
	return l.run(ctx, n, 1, d)
}

// RunTogether is Run with all clients in one process.
func (l *LookUpLoop) RunTogether(ctx context.Context, n int, d time.Duration) (count int, perSecond float64, err error) {
	return l.run(ctx, 1, n, d)
}

func (l *LookUpLoop) run(ctx context.Context, processes, clients int, d time.Duration) (count int, perSecond float64, err error) {
	for _, p := range l.clients[:processes] {
		if err := p.Tell("%s %d", d, clients); err != nil {
			return 0, 0, err
		}
	}
	for _, p := range l.clients[:processes] {
		var r rate
		if err := p.Result(ctx, &r); err != nil {
			return 0, 0, err
		}
		count += r.Count
		perSecond += float64(r.Count) / r.Seconds
	}
	return count, perSecond, nil
}

// StartNames starts a process that has the names PREFIX.sS.nN of the broker in the folder.
func (e *Env) StartNames(ctx context.Context, folder, prefix string, sessions, names int) (*proc.Process, error) {
	return e.StartRole(ctx, group{folder: folder, prefix: prefix, sessions: sessions, names: names}.args("hold")...)
}

// lookUps measures look-ups per second from Go, compared with nothing.
func lookUps(ctx context.Context, e *Env) ([]Row, error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := e.StartNames(ctx, b.Folder, "bench", 1, 1); err != nil {
		return nil, err
	}
	clients := LookUpClients()
	loop, err := e.StartLookUps(ctx, b.Folder, "bench", 1, 1, clients[len(clients)-1])
	if err != nil {
		return nil, err
	}
	var table []Row
	for _, n := range clients {
		var apart, together []float64
		for range e.Rounds() {
			_, a, err := loop.Run(ctx, n, e.Slice())
			if err != nil {
				return nil, err
			}
			_, t, err := loop.RunTogether(ctx, n, e.Slice())
			if err != nil {
				return nil, err
			}
			apart, together = append(apart, a), append(together, t)
		}
		table = append(table, Alone(LookUpName(n, Apart), "/s", apart, Limit{}))
		if n > 1 {
			table = append(table, Alone(LookUpName(n, Together), "/s", together, Limit{}))
		}
	}
	return table, nil
}

// How the clients of a row of look-ups are made.
const (
	Apart    = "Go, a program each"
	Together = "Go, in one program"
)

// ApartNote says what limits Go programs that look up and do nothing else.
const ApartNote = "each look-up parks and wakes a program of its own; what the Go runtime asks for that " +
	"a client with blocking system calls pays, too"

// LookUpName is the name of a row of look-ups.
func LookUpName(clients int, how string) string {
	if clients == 1 {
		return fmt.Sprintf("look-ups, 1 client, %s", how)
	}
	return fmt.Sprintf("look-ups, %d clients, %s", clients, how)
}
