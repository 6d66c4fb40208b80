// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachHostile sends what nobody should while another client is served; afterwards the broker has the descriptors that it had.
func TestMachHostile(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		const name = "com.example.served"
		m.serve(t)
		server := m.start(t, "c", "serve", m.socket(), name, "newest")
		server.ready(t)
		before := m.settled(t)
		for _, kind := range []struct {
			name   string
			count  int
			closed bool // each is hung up on, and none answered
		}{
			{"short", 200, true}, {"sizes", 100, true}, {"fds", 200, false}, {"alien", 210, false}, {"garbage", 600, false}, {"port", 30, false},
		} {
			t.Run(kind.name, func(t *testing.T) {
				p := m.start(t, "c", "hostile", m.socket(), kind.name, strconv.Itoa(kind.count))
				done := make(chan machResult, 1)
				go func() {
					defer close(done)
					if p.out.Scan() { // a program that fails prints nothing
						done <- decodeMach(p.out.Bytes())
					}
				}()
				var r machResult
				for served, ended := 0, false; served == 0 || !ended; served++ {
					m.once(t, "c", "client", m.socket(), name)
					select {
					case r, ended = <-done:
						ended = true
					default:
					}
				}
				p.end(t)
				if kind.closed && (r.Closed != kind.count || r.Answered != 0) || r.Closed+r.Answered < kind.count {
					t.Errorf("of %d packets %d were answered, and %d hung up on", kind.count, r.Answered, r.Closed)
				}
				m.noLeak(t, before)
			})
		}
		for _, kind := range []struct {
			name  string
			count int
		}{{"flood", 8}, {"rights", 8}, {"idle", 300}} {
			t.Run(kind.name, func(t *testing.T) {
				p := m.start(t, "c", "hostile", m.socket(), kind.name, strconv.Itoa(kind.count))
				p.ready(t)
				for _, language := range machLanguages {
					m.once(t, language, "client", m.socket(), name)
				}
				m.promptly(t, name)
				p.end(t)
				m.noLeak(t, before)
			})
		}
		server.end(t)
	})
}

// promptly sees that a look-up takes no time to speak of, while others misbehave.
func (m *machSide) promptly(t *testing.T, name string) {
	t.Helper()
	c := machDial(t, m.socket())
	defer c.c.Close()
	for range 100 {
		start := time.Now()
		c.must(t, mach.Request{Routine: mach.LookUp, Service: name}).Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("a look-up took %v", took)
		}
	}
}

// TestMachFewDescriptors has a broker with few descriptors run out of them, in each way in which clients can make it hold some: what more is
// asked for is refused, who is connected is still served, and afterwards everybody is.
func TestMachFewDescriptors(t *testing.T) {
	t.Parallel()
	const name = "com.example.served"
	m := newMachSide(t, nil)
	m.limit = []string{"sh", "-c", `ulimit -n 1024 && exec "$@"`, "sh"}
	m.serve(t)
	server := m.start(t, "c", "serve", m.socket(), name, "newest")
	server.ready(t)
	before := m.settled(t)
	c := machDial(t, m.socket())
	serves := func() {
		t.Helper()
		for range 100 {
			c.must(t, mach.Request{Routine: mach.LookUp, Service: name}).Close()
		}
	}
	for _, kind := range []string{"create", "requests", "idle"} {
		t.Run(kind, func(t *testing.T) {
			serves()
			p := m.start(t, "c", "hostile", m.socket(), kind, "1500")
			if kind != "idle" {
				if r := p.result(t); r.Granted+r.Refused != 1500 || r.Granted < 100 || r.Refused == 0 {
					t.Errorf("%d are granted and %d refused", r.Granted, r.Refused)
				}
			}
			p.ready(t)
			serves()
			p.end(t)
			until(t, "the descriptors to be closed", func() bool { return m.descriptors(t) < before+10 })
			m.once(t, "c", "client", m.socket(), name)
		})
	}
	_ = c.c.Close()
	m.noLeak(t, before)
	server.end(t)
}

// TestMachAccounting lets programs with rights be killed in the middle of everything, again and again: no descriptor stays behind.
func TestMachAccounting(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		m.serve(t)
		before := m.settled(t)
		for i := range 12 {
			language := machLanguages[i%2]
			racers := m.start(t, language, "race", m.socket(), "com.example.race"+strconv.Itoa(i), "20", "32")
			racers.ready(t)
			racers.goOn(t)
			if i%3 == 0 {
				racers.result(t)
			} else {
				time.Sleep(time.Duration(i) * time.Millisecond) // wherever they are by then
			}
			racers.kill(t)
		}
		m.noLeak(t, before)
		c := machDial(t, m.socket())
		defer c.c.Close()
		for i := range 12 {
			name := "com.example.race" + strconv.Itoa(i) + ".0"
			if reply, _ := c.call(t, mach.Request{Routine: mach.LookUp, Service: name}); reply.Code != mach.UnknownService {
				t.Errorf("%q outlives its owner: %+v", name, reply)
			}
		}
	})
}

// TestMachDescriptorsOnTheWay has another program of the user's put as many descriptors on the way as a user may: a call that would bring a right is
// then answered all the same, and when the program has ended it brings one.
func TestMachDescriptorsOnTheWay(t *testing.T) {
	t.Parallel()
	m := newMachSide(t, ordinary(t))
	m.limit = []string{"sh", "-c", `ulimit -n 1024 && exec "$@"`, "sh"}
	const name = "com.example.served"
	m.serve(t)
	server := m.start(t, "c", "serve", m.socket(), name, "newest")
	server.ready(t)
	before := m.settled(t)
	c := machDial(t, m.socket())
	look := mach.Request{Routine: mach.LookUp, Service: name}
	c.must(t, look).Close()
	p := m.start(t, "c", "hostile", m.socket(), "stuff", "1")
	p.ready(t)
	for range 20 {
		if reply, fds := c.call(t, look); reply.Code == mach.OK {
			fds[0].Close() // allowed, where the kernel counts otherwise
		} else if reply.Code != mach.NoMemory {
			t.Errorf("a look-up is answered by %+v", reply)
		}
	}
	p.kill(t)
	until(t, "rights to come again", func() bool {
		reply, fds := c.call(t, look)
		if len(fds) > 0 {
			fds[0].Close()
		}
		return reply.Code == mach.OK
	})
	_ = c.c.Close()
	m.noLeak(t, before)
	server.end(t)
}
