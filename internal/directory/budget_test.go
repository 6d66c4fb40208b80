// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

func probed() directory.Definition {
	def := definition(directory.Path)
	def.Version, def.Probed, def.Hash, def.RetryMax = "1.2.0", true, "a1", 30e9
	return def
}

// exactly is the call of a client that names a version.
func exactly(id directory.ID, now int64, def directory.Definition) directory.Call {
	ev := ask(id, now, def)
	ev.Version, ev.Exact, ev.ByPath = def.Version, true, true
	return ev
}

const second = int64(1e9)

// TestSpawnBudget: 3 starts in 30 s, and after a failure none for a second; a success makes it forgotten.
func TestSpawnBudget(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), probed()
	fail := func(i int, now int64, after string) {
		t.Helper()
		id := directory.ID(100 + 10*i)
		s.play(
			on(exactly(id, now, def), launch(nth(2+i), def)), launched(nth(2+i), "/run/up", now),
			on(directory.Ended{Backend: nth(2 + i), Status: "exited with status 3", Failed: true, Now: now},
				refuse(id, directory.NotStarted, `service "up" did not start: it exited with status 3; it is tried again after `+after)),
			on(exactly(id+1, now+1, def), refuse(id+1, directory.BackingOff,
				`service "up" is not tried again for `+after+`: it exited with status 3`)))
	}
	fail(0, 0, "1000 ms")
	fail(1, second, "1000 ms")
	if got := s.d.Retry(key0(def), second+1); got.Exhausted || got.After != second-1 || got.Reason != "it exited with status 3" {
		t.Errorf("after two failures: %+v", got)
	}
	fail(2, 2*second, "28 s")
	if got := s.d.Retry(key0(def), 3*second); !got.Exhausted || got.After != 27*second {
		t.Errorf("after three failures: %+v", got)
	}
	budget := func(now int64) (all [][3]int64) {
		s.d.Budgets(now, func(_ directory.Key, used, left int, until int64, _ bool) {
			all = append(all, [3]int64{int64(used), int64(left), until})
		})
		return all
	}
	if got := budget(3 * second); len(got) != 1 || got[0] != [3]int64{3, 0, 30 * second} {
		t.Errorf("the budgets are %v", got)
	}
	b := nth(5)
	s.play(
		on(exactly(200, 30*second, def), launch(b, def)), launched(b, "/run/up", 30*second),
		on(directory.Ready{Backend: b, Now: 30*second + 1}, directory.Publish{Entry: running(b, def, "/run/up")}, directory.Redirect{Connection: 200, Path: "/run/up"}))
	if got := budget(31 * second); len(got) != 1 || got[0] != [3]int64{0, 3, 0} {
		t.Errorf("after a success the budgets are %v", got)
	}
}

// TestCrashes: what was ready and crashes may be launched after 250 ms once, then not before 30 s are over.
func TestCrashes(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), probed()
	now := int64(0)
	for i, after := range []string{"250 ms", "30 s"} {
		b, id := nth(2+i), directory.ID(100+10*i)
		s.play(
			on(exactly(id, now, def), launch(b, def)), launched(b, "/run/up", now),
			on(directory.Ready{Backend: b, Now: now}, directory.Publish{Entry: running(b, def, "/run/up")}, directory.Redirect{Connection: id, Path: "/run/up"}),
			on(directory.Ended{Backend: b, Status: "was killed", Failed: true, Now: now}, unpublish(), directory.EndLease{Lease: b, Reason: "its process was killed"}),
			on(exactly(id+1, now, def), refuse(id+1, directory.BackingOff, fmt.Sprintf(`service "up" is not tried again for %s: it was killed`, after))))
		now += 250e6
	}
}

// TestProgramChanged: newcomers get the program as it is now; who is connected keeps the old one.
func TestProgramChanged(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), probed()
	changed := def
	changed.Hash = "b2"
	s.play(
		on(exactly(100, 0, def), launch(nth(2), def)), launched(nth(2), "/run/1", 0),
		on(directory.Ready{Backend: nth(2), Now: 0}, directory.Publish{Entry: running(nth(2), def, "/run/1")}, directory.Redirect{Connection: 100, Path: "/run/1"}),
		on(exactly(101, 1, def), directory.Redirect{Connection: 101, Path: "/run/1"}),
		on(exactly(102, 2, changed), unpublish(), directory.Retire{Backend: nth(2), Key: key0(def)}, launch(nth(3), changed)))
}

// TestExactVersion: a version is meant as it is written, and what has no path is not offered to who needs one.
func TestExactVersion(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}), probed()
	other := exactly(100, 0, def)
	other.Version = "1.2"
	native := definition(directory.HandedOver)
	s.play(
		on(other, refuse(100, directory.Mismatch, `name "up" has other versions, and "1.2" was asked for`)),
		on(exactly(101, 0, native), refuse(101, directory.WrongKind, `service "up" has no path of its own`)))
}
