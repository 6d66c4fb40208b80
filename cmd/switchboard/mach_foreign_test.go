// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

var machLanguages = []string{"c", "python"}

// TestMachPeers tests the stubs of the foreign programs against each other, over socket pairs and without a broker.
func TestMachPeers(t *testing.T) {
	t.Parallel()
	m := newMachSide(t, nil)
	for _, language := range machLanguages {
		if r := m.once(t, language, "selftest"); r.Checks < 50 {
			t.Errorf("the selftest in %s looked at %d things only", language, r.Checks)
		}
	}
	for _, server := range machLanguages {
		for _, client := range machLanguages {
			t.Run(client+" calls "+server, func(t *testing.T) { m.pair(t, client, server) })
		}
	}
}

// pair gives two programs the ends of a port.
func (m *machSide) pair(t *testing.T, client, server string) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	start := func(fd int, language, role string) *exec.Cmd {
		end := os.NewFile(uintptr(fd), "port")
		defer end.Close()
		cmd := m.command(t, m.argv(language, role)...)
		cmd.ExtraFiles = []*os.File{end}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	both := []*exec.Cmd{start(fds[0], server, "stub-server"), start(fds[1], client, "stub-client")}
	for _, cmd := range slices.Backward(both) {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v", cmd.Args, err)
		}
	}
}

// TestMachDialects has the foreign programs walk through the bootstrap calls of each dialect.
func TestMachDialects(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		m.serve(t)
		before := m.settled(t)
		for _, language := range machLanguages {
			if r := m.once(t, language, "dialects", m.socket(), "com.example."+language); r.Checks < 100 {
				t.Errorf("%s looked at %d things only", language, r.Checks)
			}
			m.undeclare(t, "com.example."+language+".created.0") // it belongs to the namespace
		}
		m.noLeak(t, before)
	})
}

// TestMachStubs has clients in one language call servers in the other, which they find by name.
func TestMachStubs(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		m.serve(t)
		before := m.settled(t)
		for _, server := range machLanguages {
			for _, how := range []string{"seed", "custom", "old", "newest"} {
				name := "com.example." + server + "." + how
				s := m.start(t, server, "serve", m.socket(), name, how)
				s.ready(t)
				for _, client := range machLanguages {
					if r := m.once(t, client, "client", m.socket(), name); r.Checks < 50 {
						t.Errorf("%s looked at %d things only", client, r.Checks)
					}
				}
				s.end(t)
			}
		}
		m.noLeak(t, before)
	})
}

// TestMachRace lets 32 threads of each program want the same names: each name has one owner, and the rest are told so.
func TestMachRace(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		const names, threads = 40, 32
		m.serve(t)
		before := m.settled(t)
		var racers []*machProcess
		for _, language := range machLanguages {
			racers = append(racers, m.start(t, language, "race", m.socket(), "com.example.race", strconv.Itoa(names), strconv.Itoa(threads)))
		}
		each := func(do func(p *machProcess)) {
			for _, p := range racers {
				do(p)
			}
		}
		each(func(p *machProcess) { p.ready(t) })
		each(func(p *machProcess) { p.goOn(t) })
		owners := make(map[int]int)
		each(func(p *machProcess) {
			r := p.result(t)
			for _, name := range r.Won {
				owners[name]++
			}
			onlyCodes(t, p.what+", check_in", r.CheckIn, "0", "1103")
			onlyCodes(t, p.what+", register", r.Register, "0", "1101")
			onlyCodes(t, p.what+", look_up", r.LookUp, "0", "1102")
			if got := r.CheckIn["0"] + r.Register["0"]; got != len(r.Won) {
				t.Errorf("%s won %d names and has %d", p.what, got, len(r.Won))
			}
			if all := sum(r.CheckIn) + sum(r.Register) + sum(r.LookUp); all != names*threads {
				t.Errorf("%s made %d calls, not %d", p.what, all, names*threads)
			}
		})
		for name := range names {
			if owners[name] != 1 {
				t.Errorf("name %d has %d owners", name, owners[name])
			}
		}
		each(func(p *machProcess) { p.goOn(t) })
		each(func(p *machProcess) { p.result(t) })
		each(func(p *machProcess) { p.goOn(t) })
		came := 0
		each(func(p *machProcess) { came += p.result(t).Came })
		if came != names*len(racers) {
			t.Errorf("%d messages reached the owners, not %d", came, names*len(racers))
		}
		each(func(p *machProcess) { p.end(t) })
		m.noLeak(t, before)
	})
}

func onlyCodes(t *testing.T, what string, codes map[string]int, allowed ...string) {
	t.Helper()
	for code, n := range codes {
		if !slices.Contains(allowed, code) {
			t.Errorf("%s: code %s came %d times", what, code, n)
		}
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestMachOwnerKilled kills the owners of a service that was created: what they had not read is the next one's, in order.
func TestMachOwnerKilled(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		const name, most = "com.example.queue", 120 // as many as surely wait in a socket
		m.serve(t)
		creator := m.start(t, "c", "serve", m.socket(), "com.example.creator", "old")
		creator.ready(t)
		before := m.settled(t)
		m.createPort(t, name)
		posted, next := 0, 0
		post := func(language string, n int) {
			m.once(t, language, "post", m.socket(), name, strconv.Itoa(posted), strconv.Itoa(n))
			posted += n
		}
		post("c", most)
		for i, n := range []int{30, 40, 0, 25} {
			owner := m.takes(t, machLanguages[i%2], name, n)
			next = m.numbers(t, owner.result(t).Numbers, next)
			owner.kill(t)
			post(machLanguages[(i+1)%2], 10)
		}
		owner := m.takes(t, "c", name, 1)
		next = m.numbers(t, owner.result(t).Numbers, next)
		owner.goOn(t)
		next = m.numbers(t, owner.result(t).Numbers, next)
		if next != posted {
			t.Errorf("%d messages arrived of %d", next, posted)
		}
		owner.end(t)
		m.undeclare(t, name)
		m.noLeak(t, before)
	})
}

// takes starts a program that checks the name in; the last owner's death may not yet be known.
func (m *machSide) takes(t *testing.T, language, name string, count int) (p *machProcess) {
	t.Helper()
	until(t, "the name to be inactive", func() bool { return m.portState(t, name) == 0 })
	return m.start(t, language, "take", m.socket(), name, strconv.Itoa(count))
}

// numbers sees that numbers go on from where they were, and returns where they end.
func (m *machSide) numbers(t *testing.T, got []int, next int) int {
	t.Helper()
	for _, n := range got {
		if n != next {
			t.Fatalf("message %d came where %d should", n, next)
		}
		next++
	}
	return next
}
