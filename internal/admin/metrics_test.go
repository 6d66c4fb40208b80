// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// sets is how many sets of labels there are, and what their counters add up to.
func sets(c admin.Counters) (n int, hellos, spawns, lengths uint64) {
	for _, h := range c.Hellos {
		hellos += h.N
	}
	for _, s := range c.Spawns {
		spawns += s.N
	}
	for _, d := range c.Durations {
		for _, b := range d.Buckets {
			lengths += b
		}
	}
	return len(c.Hellos) + len(c.Spawns) + len(c.Durations), hellos, spawns, lengths
}

// TestStoreIsBounded: whatever is asked for, nothing is lost and there are at most MaxSets sets.
func TestStoreIsBounded(t *testing.T) {
	t.Parallel()
	const each = 5000
	for name, labels := range map[string]func(i int) (service, version, outcome string){
		"services": func(i int) (string, string, string) { return fmt.Sprint("s", i), "1.0.0", "accepted" },
		"versions": func(i int) (string, string, string) { return "zccache", fmt.Sprint("1.0.", i), "accepted" },
		"outcomes": func(i int) (string, string, string) { return "zccache", "1.0.0", fmt.Sprint("o", i) },
		"all":      func(i int) (string, string, string) { return fmt.Sprint("s", i%70), fmt.Sprint(i % 30), fmt.Sprint(i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := admin.NewStore()
			for i := range each {
				service, version, outcome := labels(i)
				s.HelloDone(service, version, outcome, time.Millisecond)
				s.SpawnAttempt(service, version, outcome)
			}
			c := s.Read()
			n, hellos, spawns, lengths := sets(c)
			if n > admin.MaxSets {
				t.Errorf("%d sets", n)
			}
			if hellos != each || spawns != each || lengths != each {
				t.Errorf("%d, %d, %d of %d were counted", hellos, spawns, lengths, each)
			}
		})
	}
}

// TestOther: beyond the limit services are counted together, and one service with many versions leaves room for others.
func TestOther(t *testing.T) {
	t.Parallel()
	s := admin.NewStore()
	for i := range 5000 {
		s.HelloDone("greedy", fmt.Sprint("1.0.", i), admin.HelloAccepted, 0)
	}
	s.HelloDone("modest", "1.0.0", admin.HelloAccepted, 0)
	c := s.Read()
	if got := find(c.Hellos, "greedy", admin.Other); got == 0 {
		t.Error("the versions of one service are not counted together")
	}
	if got := find(c.Hellos, "modest", "1.0.0"); got != 1 {
		t.Errorf("another service was counted %d times", got)
	}
	for i := range 5000 {
		s.HelloDone(fmt.Sprint("s", i), "1.0.0", admin.HelloAccepted, 0)
	}
	s.HelloDone("modest", "1.0.0", admin.HelloAccepted, 0)
	c = s.Read()
	if got := find(c.Hellos, admin.Other, admin.Other); got < 4000 {
		t.Errorf("service other was counted %d times", got)
	}
	if got := find(c.Hellos, "modest", "1.0.0"); got != 2 {
		t.Errorf("what was known before was counted %d times", got)
	}
}

func find(all []admin.Count, service, version string) uint64 {
	for _, c := range all {
		if c.Service == service && c.Version == version {
			return c.N
		}
	}
	return 0
}

// TestLabels: no name, and one that is too long.
func TestLabels(t *testing.T) {
	t.Parallel()
	s := admin.NewStore()
	s.SpawnAttempt("", strings.Repeat("9", 65), admin.SpawnFailed)
	if c := s.Read(); find(c.Spawns, admin.Unknown, admin.Other) != 1 {
		t.Errorf("%+v", c.Spawns)
	}
	for code, want := range map[envelope.ErrorCode]string{envelope.CodeVersionBlocked: "version_blocked",
		envelope.CodeFDPressure: "fd_pressure", 77: "unspecified"} {
		if got := admin.HelloRefused(code); got != want {
			t.Errorf("%v: %q", code, got)
		}
	}
}

// TestStoreAtOnce: many count while one reads, and nothing is lost.
func TestStoreAtOnce(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 2000
	s := admin.NewStore()
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range each {
				s.HelloDone(fmt.Sprint("s", i%300), fmt.Sprint(w), admin.HelloAccepted, time.Duration(i)*time.Microsecond)
			}
		})
	}
	for range 20 {
		checkOpenMetrics(t, admin.OpenMetrics(admin.Snapshot{Counters: s.Read()}))
	}
	wait.Wait()
	if n, hellos, _, lengths := sets(s.Read()); hellos != workers*each || lengths != workers*each || n > admin.MaxSets {
		t.Errorf("%d Hellos, %d lengths, %d sets", hellos, lengths, n)
	}
}

// TestStoreAllocatesNothing: counting what was counted before leaves nothing behind.
func TestStoreAllocatesNothing(t *testing.T) {
	s := counted()
	if n := testing.AllocsPerRun(1000, func() {
		s.HelloDone("zccache", "1.11.20", admin.HelloAccepted, 90*time.Microsecond)
		s.SpawnAttempt("zccache", "1.11.20", admin.SpawnReady)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkHelloDone: wanted are at most 200 ns a call, also when the store is full and the labels are new.
func BenchmarkHelloDone(b *testing.B) {
	b.Run("known", func(b *testing.B) {
		s := counted()
		for b.Loop() {
			s.HelloDone("zccache", "1.11.20", admin.HelloAccepted, 90*time.Microsecond)
		}
	})
	b.Run("at once", func(b *testing.B) {
		s := counted()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.HelloDone("zccache", "1.11.20", admin.HelloAccepted, 90*time.Microsecond)
			}
		})
	})
	b.Run("full", func(b *testing.B) {
		s := counted()
		for i := range 5000 {
			s.HelloDone(fmt.Sprint("s", i), "1.0.0", admin.HelloAccepted, 0)
		}
		for b.Loop() {
			s.HelloDone("new", "1.0.0", admin.HelloAccepted, 90*time.Microsecond)
		}
	})
}
