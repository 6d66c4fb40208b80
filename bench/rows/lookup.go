// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

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

// lookUpRole looks up random names of a group, one after the other, for as long as it is told.
func lookUpRole(ctx context.Context, r *role) error {
	g, err := parseGroup(r)
	if err != nil {
		return err
	}
	c := client(g.folder)
	defer c.Close()
	names := make([]string, lookUpNames)
	for i := range names {
		names[i] = g.name(rand.IntN(g.sessions), rand.IntN(g.names))
	}
	if _, err := c.LookUp(ctx, names[0]); err != nil {
		return err
	}
	r.ready()
	next := 0
	return r.answer(func(d time.Duration, _ []string) (any, error) {
		start, count := time.Now(), 0
		for {
			// The clock is read once in 16 look-ups.
			for range 16 {
				if _, err := c.LookUp(ctx, names[next]); err != nil {
					return nil, err
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
	})
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

// Run lets the first n of the processes loop together, and returns how many
// look-ups they made in all, and how many per second.
func (l *LookUpLoop) Run(ctx context.Context, n int, d time.Duration) (count int, perSecond float64, err error) {
	for _, p := range l.clients[:n] {
		if err := p.Tell("%s", d); err != nil {
			return 0, 0, err
		}
	}
	for _, p := range l.clients[:n] {
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
	var rows []Row
	for _, n := range clients {
		var rates []float64
		for range e.Rounds() {
			_, r, err := loop.Run(ctx, n, e.Slice())
			if err != nil {
				return nil, err
			}
			rates = append(rates, r)
		}
		rows = append(rows, Alone(LookUpName(n, "Go"), "/s", rates, Limit{}))
	}
	return rows, nil
}

// LookUpName is the name of a row of look-ups.
func LookUpName(clients int, how string) string {
	if clients == 1 {
		return fmt.Sprintf("look-ups, 1 client, %s", how)
	}
	return fmt.Sprintf("look-ups, %d clients, %s", clients, how)
}
