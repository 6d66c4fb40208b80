// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

func change(kind session.ChangeKind, lease uint64, name string, pid uint32) session.Changed {
	return session.Changed{Kind: kind, Entry: session.Entry{Lease: lease, Name: name, Namespace: "/", PID: pid}}
}

// version is a change of a name's version.
func version(v string, c session.Changed) session.Changed {
	c.Entry.Version = v
	return c
}

func TestWatchedNames(t *testing.T) {
	t.Parallel()
	const appeared, changed, gone = session.ChangeAppeared, session.ChangeChanged, session.ChangeGone
	type step struct {
		do    string // listed, relist, restarted, give up; else a change
		what  session.Changed
		want  []string
		later bool // of listed
	}
	for name, steps := range map[string][]step{
		"told twice": {
			{what: change(appeared, 1, "a", 9), want: []string{"appeared a 9"}},
			{what: change(appeared, 1, "a", 9)},
			{do: "listed", want: []string{"synced  0"}},
			{what: change(changed, 1, "a", 9), want: []string{"changed a 9"}},
			{what: change(gone, 1, "a", 9), want: []string{"gone a 9"}},
			{what: change(gone, 1, "a", 9)},
		},
		"versions side by side": {
			{what: version("1.0.0", change(appeared, 1, "a", 9)), want: []string{"appeared a 9"}},
			{what: version("2.0.0", change(appeared, 2, "a", 10)), want: []string{"appeared a 10"}},
			{what: version("2.0.0", change(appeared, 2, "a", 10))},
			{what: version("1.0.0", change(gone, 1, "a", 9)), want: []string{"gone a 9"}},
			{what: version("2.0.0", change(changed, 2, "a", 10)), want: []string{"changed a 10"}},
		},
		"gone before it was listed": {
			{what: change(gone, 1, "a", 9)},
			{do: "listed", want: []string{"synced  0"}},
		},
		"overflow": {
			{what: change(appeared, 1, "a", 9), want: []string{"appeared a 9"}},
			{what: change(appeared, 2, "b", 9), want: []string{"appeared b 9"}},
			{what: change(appeared, 3, "c", 9), want: []string{"appeared c 9"}},
			{do: "listed", want: []string{"synced  0"}},
			{do: "relist"},
			{what: change(appeared, 1, "a", 9)},
			{what: change(appeared, 4, "b", 9), want: []string{"gone b 9", "appeared b 9"}},
			{what: change(appeared, 5, "d", 9), want: []string{"appeared d 9"}},
			{do: "listed", want: []string{"gone c 9"}},
		},
		"overflow before it was listed": {
			{what: change(appeared, 1, "a", 9), want: []string{"appeared a 9"}},
			{do: "relist"},
			{do: "listed", want: []string{"gone a 9", "synced  0"}},
		},
		"another broker": {
			{what: change(appeared, 1, "a", 7), want: []string{"appeared a 7"}},
			{what: change(appeared, 2, "b", 8), want: []string{"appeared b 8"}},
			{what: change(appeared, 3, "c", 9), want: []string{"appeared c 9"}},
			{what: change(appeared, 4, "d", 9), want: []string{"appeared d 9"}},
			{do: "listed", want: []string{"synced  0"}},
			{do: "restarted"},
			{what: change(appeared, 2, "a", 7)}, // numbered anew
			{what: change(appeared, 3, "c", 10), want: []string{"gone c 9", "appeared c 10"}},
			{do: "listed", later: true},
			{what: change(appeared, 4, "b", 8)}, // its owner was slow
			{do: "give up", want: []string{"gone d 9"}},
			{what: change(gone, 2, "a", 7), want: []string{"gone a 7"}},
		},
		"another broker, and another one": {
			{what: change(appeared, 1, "a", 7), want: []string{"appeared a 7"}},
			{do: "listed", want: []string{"synced  0"}},
			{do: "restarted"},
			{do: "listed", later: true},
			{do: "restarted"},
			{do: "give up"},
			{what: change(appeared, 1, "a", 7)},
			{do: "listed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n watchedNames
			for i, s := range steps {
				later := false
				switch s.do {
				case "listed":
					later = n.listed()
				case "relist", "restarted":
					n.relist(s.do == "restarted")
				case "give up":
					n.giveUpMissing()
				default:
					n.change(&s.what)
				}
				var got []string
				for e, ok := n.pop(); ok; e, ok = n.pop() {
					got = append(got, fmt.Sprintf("%v %s %d", e.Kind, e.Entry.Name, e.Entry.PID))
				}
				if d := cmp.Diff(s.want, got); d != "" || later != s.later {
					t.Fatalf("step %d, later %t: %s", i+1, later, d)
				}
			}
		})
	}
}
