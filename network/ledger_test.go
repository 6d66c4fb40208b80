// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/network/config"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestLedgerIsIdempotentAndLimited(t *testing.T) {
	l := newLedger(8, start)
	l.open(1)
	acquire := func(name string, want answer) *lease {
		t.Helper()
		got, lease := l.acquire(1, name, start)
		if got != want {
			t.Fatalf("acquire %s: answer %d, want %d", name, got, want)
		}
		return lease
	}
	for i := range 8 {
		name := fmt.Sprint("net", i)
		acquire(name, create)
		l.made(name, time.Minute, start)
		first := acquire(name, attach)
		for range 9 {
			if again := acquire(name, held); again != first {
				t.Fatalf("%s: another lease", name)
			}
		}
	}
	acquire("net8", full)
	l.release(l.connections[1]["net3"], start)
	acquire("net8", create)
	l.removed("net8", start) // it could not be made
	acquire("net3", attach)
	acquire("net8", full)
	if got, _ := l.acquire(2, "net0", start); got != gone {
		t.Errorf("a connection that is not there: answer %d", got)
	}
}

func TestLedgerWaitsForWhoMakesOrRemoves(t *testing.T) {
	l := newLedger(8, start)
	l.open(1)
	l.open(2)
	l.acquire(1, "shared", start)
	if got, _ := l.acquire(2, "shared", start); got != wait {
		t.Errorf("while it is made: answer %d", got)
	}
	l.made("shared", 0, start)
	if due := l.due(start); len(due) != 1 {
		t.Errorf("nobody has it: %q is due", due)
	}
	if got, _ := l.acquire(2, "shared", start); got != wait {
		t.Errorf("while it is removed: answer %d", got)
	}
	l.removed("shared", start)
	if got, _ := l.acquire(2, "shared", start); got != create {
		t.Errorf("once it is removed: answer %d", got)
	}
}

// TestLedgerAgainstModel compares the ledger with what its documentation says, written down in the plainest way.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 3
		delays := map[string]time.Duration{"a": 0, "b": 10 * time.Second, "c": config.Never, "d": time.Second, "e": 5 * time.Second}
		type unused struct{ at time.Time }
		l, now := newLedger(limit, start), start
		holds := map[uint64]map[string]bool{}
		networks := map[string]*unused{} // nil: held, or never removed
		users := func(name string) (n int) {
			for _, h := range holds {
				if h[name] {
					n++
				}
			}
			return n
		}
		settle := func(name string) {
			if users(name) == 0 && delays[name] != config.Never {
				networks[name] = &unused{now.Add(delays[name])}
			}
		}
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		id := rapid.Uint64Range(1, 3)
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				c := id.Draw(t, "connection")
				if holds[c] == nil {
					l.open(c)
					holds[c] = map[string]bool{}
				}
			},
			"close": func(t *rapid.T) {
				c := id.Draw(t, "connection")
				had := holds[c]
				delete(holds, c)
				if ended := l.close(c, now); len(ended) != len(had) {
					t.Fatalf("%d leases ended, want %d", len(ended), len(had))
				}
				for n := range had {
					settle(n)
				}
			},
			"acquire": func(t *rapid.T) {
				c, n := id.Draw(t, "connection"), name.Draw(t, "network")
				_, there := networks[n]
				want := attach
				switch {
				case holds[c] == nil:
					want = gone
				case holds[c][n]:
					want = held
				case len(holds[c]) == limit:
					want = full
				case !there:
					want = create
				}
				got, _ := l.acquire(c, n, now)
				if got != want {
					t.Fatalf("answer %d, want %d", got, want)
				}
				if got == create {
					l.made(n, delays[n], now)
					got, _ = l.acquire(c, n, now)
				}
				if got == attach {
					holds[c][n] = true
					networks[n] = nil
				}
			},
			"release": func(t *rapid.T) {
				c, n := id.Draw(t, "connection"), name.Draw(t, "network")
				if holds[c][n] {
					l.release(l.connections[c][n], now)
					delete(holds[c], n)
					settle(n)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "seconds")) * time.Second)
				for _, n := range l.due(now) {
					if u := networks[n]; u == nil || u.at.After(now) {
						t.Fatalf("%s is due, and should not be", n)
					}
					l.removed(n, now)
					delete(networks, n)
				}
			},
			"": func(t *rapid.T) {
				first := time.Time{}
				for n, u := range networks {
					if u != nil && (first.IsZero() || u.at.Before(first)) {
						first = u.at
					}
					if l.networks[n] == nil || l.networks[n].leases != users(n) {
						t.Fatalf("network %s: %+v, want %d leases", n, l.networks[n], users(n))
					}
				}
				if !l.next().Equal(first) {
					t.Fatalf("next is %v, want %v", l.next(), first)
				}
				if len(l.networks) != len(networks) || l.idleSince.IsZero() != (len(networks)+len(holds) > 0) {
					t.Fatalf("%d networks, idle since %v; want %d and %d connections", len(l.networks), l.idleSince, len(networks), len(holds))
				}
			},
		})
	})
}
