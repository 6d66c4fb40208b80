// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// TestMachAndSessions: names are the same in all fronts.
func TestMachAndSessions(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, c := open(t, b.dir), bootstrap(t, b.dir)
	_, listed := s.watch("*")
	if len(listed) != 0 {
		t.Fatalf("%q at first", listed)
	}
	receive := c.checkIn("com.example.port")
	if ch := s.change(); ch.Kind != session.ChangeAppeared || ch.Entry.Name != "com.example.port" || ch.Entry.Kind != session.EntryPort ||
		ch.Entry.State != session.StateActive || ch.Entry.PID != uint32(os.Getpid()) {
		t.Errorf("%+v", ch)
	}
	if e := s.lookUp("com.example.port").Entry; e.Kind != session.EntryPort {
		t.Errorf("%+v", e)
	}
	if r, _ := s.claim(session.Claim{Name: "com.example.port", Kind: session.EntryService}); r.Code == session.OK {
		t.Error("a port's name was claimed")
	}
	s.own("com.example.service")
	s.change()
	c.unknown("com.example.service")
	c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.service"})
	c.want(mach.NameInUse, mach.Request{Routine: mach.CreateService, Service: "com.example.service"})
	_, send := portPair(t)
	c.want(mach.NameInUse, registerRequest("com.example.service"), send)
	if v := verdict(t, dial(t, b.dir, "DIAL com.example.port\n")); !strings.HasPrefix(v, "ERR 69 ") || !strings.Contains(v, "port") {
		t.Errorf("dial: %q", v)
	}
	receive.close()
	if ch := s.change(); ch.Kind != session.ChangeGone || ch.Entry.Name != "com.example.port" {
		t.Errorf("%+v", ch)
	}
}

// TestMachThroughDoor: a door of a session is a bootstrap port, too, and a sealed namespace shows what it may only.
func TestMachThroughDoor(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s, c := open(t, b.dir), bootstrap(t, b.dir)
	shown := c.checkIn("com.example.shown")
	c.checkIn("com.example.hidden")
	join := session.Namespace{Name: "cell", Sealed: true, Only: []string{"com.example.shown"}}
	r := parse(t, session.ParseNamespaceReply, s.call(session.OpNamespace, join.Append(nil)))
	if r.Code != session.OK {
		t.Fatal(r.Text)
	}
	door := newMach(t, s.door(r.Namespace))
	in := door.connect()
	passes(in.lookUp("com.example.shown"), shown)
	in.unknown("com.example.hidden")
	in.want(mach.NotPrivileged, mach.Request{Routine: mach.Parent})
	in.want(mach.NotPrivileged, mach.Request{Routine: mach.GetRoot})
	deeper, requestor := in.subset()
	passes(deeper.lookUp("com.example.shown"), shown)
	deeper.unknown("com.example.hidden")
	deeper.want(mach.NotPrivileged, mach.Request{Routine: mach.Parent})
	own := in.checkIn("com.example.own")
	passes(deeper.lookUp("com.example.own"), own)
	c.unknown("com.example.own")

	// The session front of the same namespace.
	inside := sessionOn(t, through(t, door.fd, sys.Seqpacket))
	inside.hello(newClient())
	if r := inside.lookUp("com.example.hidden"); r.Code == session.OK {
		t.Error("a session sees out of a sealed namespace")
	}
	if r := inside.lookUp("com.example.shown"); r.Code != session.OK {
		t.Errorf("a session does not see %s: %s", "com.example.shown", r.Text)
	}
	inside.close()
	if reply, fds := door.call(mach.Request{Routine: mach.CheckIn, Service: "com.example.atdoor"}); reply.Code != mach.OK {
		t.Errorf("%+v", reply)
	} else {
		passes(in.lookUp("com.example.atdoor"), fds[0])
	}
	requestor.close()
	s.close() // the namespace ends with it
	in.becomes("com.example.own", mach.UnknownService)
	passes(in.lookUp("com.example.shown"), shown)
	in.want(mach.NotPrivileged, mach.Request{Routine: mach.CheckIn, Service: "com.example.late"})
}

// TestMachEnd: what ends a broker ends control connections, and leaves no socket.
func TestMachEnd(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.checkIn("com.example.end")
	c.createService("com.example.stays")
	c.subset()
	c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	b.ended = true
	b.signal(syscall.SIGTERM)
	c.closed()
	b.exited()
	for _, s := range []string{"session.sock", "broker.sock", "bootstrap.sock"} {
		if _, err := os.Lstat(filepath.Join(b.dir, s)); err == nil {
			t.Errorf("%s was left behind", s)
		}
	}
}

// TestMachIdleExit: a port keeps the broker, as any lease does.
func TestMachIdleExit(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{IdleExit: 2 * time.Second}) // in which the port must be checked in
	c := bootstrap(t, b.dir)
	c.checkIn("com.example.busy")
	for held := time.Now(); time.Since(held) < 3*time.Second; time.Sleep(30 * time.Millisecond) {
		c.lookUp("com.example.busy").close()
	}
	b.ended = true
	c.close()
	b.exited()
}

// TestMachSocketRemoved: a broker whose bootstrap.sock is gone can be found by nobody who needs it.
func TestMachSocketRemoved(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	b.ended = true
	if err := os.Remove(filepath.Join(b.dir, "bootstrap.sock")); err != nil {
		t.Fatal(err)
	}
	b.exited()
}

// TestMachRacers: many at once make, look up and lose the same names; in the end nothing is left of it.
func TestMachRacers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]brokerOptions{"root": {}, "user": {UID: 4711, Descriptors: 1024}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, o)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(i)))
					for range 8 {
						race(t, bootstrap(t, b.dir), random)
					}
				})
			}
			wg.Wait()
			b.checkDescriptors()
		})
	}
}

func race(t *testing.T, c *machConn, random *rand.Rand) {
	defer c.close()
	in := c
	var requestor *machConn
	for range 40 {
		name := fmt.Sprintf("com.example.r%d", random.IntN(6))
		switch random.IntN(7) {
		case 0:
			if reply, fds := c.call(mach.Request{Routine: mach.CheckIn, Service: name}); reply.Code == mach.OK {
				fds[0].close()
			} else if reply.Code != mach.ServiceActive {
				t.Errorf("check_in: %v", reply.Code)
			}
		case 1:
			receive, send := portPair(t)
			if code := c.code(registerRequest(name), send); code != mach.OK && code != mach.NameInUse {
				t.Errorf("register: %v", code)
			}
			send.close()
			if random.IntN(2) == 0 {
				receive.close()
			} else {
				defer receive.close()
			}
		case 2, 3, 4:
			reply, fds := in.call(mach.Request{Routine: mach.LookUp, Service: name})
			if reply.Code == mach.OK {
				fds[0].close()
			} else if reply.Code != mach.UnknownService {
				t.Errorf("look_up: %v", reply.Code)
			}
		case 5:
			if requestor == nil {
				in, requestor = c.subset()
				defer in.close()
			} else {
				requestor.close()
			}
		case 6:
			if names, _, _ := c.info(); len(names) > 6 {
				t.Errorf("info lists %q", names)
			}
		}
	}
}

// TestMachLookUpWhileItChanges: a name that exists is found at any moment, whatever state it comes to have.
func TestMachLookUpWhileItChanges(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	send := c.createService("com.example.always")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 30 {
			owner := bootstrap(t, b.dir)
			if reply, fds := owner.call(mach.Request{Routine: mach.CheckIn, Service: "com.example.always"}); reply.Code == mach.OK {
				fds[0].close()
			}
			owner.close()
		}
	}()
	for running := true; running; {
		c.lookUp("com.example.always").close()
		select {
		case <-done:
			running = false
		default:
		}
	}
	send.close()
	c.undeclare("com.example.always")
}
