// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestPortQueueSurvives: owners are killed while others go on sending; each next one reads on, in order, nothing is lost and nothing comes twice.
func TestPortQueueSurvives(t *testing.T) {
	t.Parallel()
	for what, uid := range map[string]int{"as this user": 0, "as another user": 65534} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if uid != 0 && os.Geteuid() != 0 {
				t.Skip("SKIPPED: only root can run a broker as another user; the other test ran as this one")
			}
			portQueueSurvives(t, uid)
		})
	}
}

func portQueueSurvives(t *testing.T, uid int) {
	b := startBroker(t, brokerOptions{UID: uid, Soft: 1024})
	b.undeclares("queue")
	c := bootstrap(t, b.dir)
	c.createService("queue")
	const messages, perOwner, senders = 1000, 125, 4
	var sending sync.WaitGroup
	for s := range senders {
		right := c.lookUp("queue")
		sending.Go(func() {
			for i := range messages / senders {
				right.post(numbered(i*senders + s))
			}
		})
	}
	next := [senders]int{0, 1, 2, 3}
	for range messages / perOwner {
		owner := start(t, "port", uid, "read", b.dir+"/bootstrap.sock", "queue")
		owner.expect("checked in")
		owner.tell(strconv.Itoa(perOwner))
		for range perOwner {
			n, err := strconv.Atoi(owner.expect("read"))
			if err != nil || n != next[n%senders] {
				t.Fatalf("message %d came where one of %v is next", n, next)
			}
			next[n%senders] += senders
		}
		owner.kill()
	}
	sending.Wait()
	last := c.checkInSoon("queue")
	last.silent()
	passes(c.lookUp("queue"), last)
}

// leaver starts an owner that leaves something to its process group when it ends, and returns to whom. A message was sent before.
func leaver(t *testing.T, b *testBroker, c *machConn, args ...string) (owner *process, orphan int) {
	t.Helper()
	c.createService("port").post(numbered(1))
	owner = porter(t, b, "orphan", append([]string{"port"}, args...)...)
	orphan, err := strconv.Atoi(owner.expect("checked in"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(orphan, syscall.SIGKILL) })
	return owner, orphan
}

// stays fails unless check_in is refused for a while: far longer than the broker needs to find out.
func stays(c *machConn) {
	c.t.Helper()
	for range 100 {
		c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "port"})
		c.lookUp("port").close() // it is there all the same
		time.Sleep(time.Millisecond)
	}
}

func TestPortWaitsForOrphans(t *testing.T) {
	t.Parallel()
	for what, args := range map[string][]string{"with the right": nil, "of the group": {"holds=no"}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t, brokerOptions{Mach: broker.Mach{ReturnTimeout: deadline}})
			b.undeclares("port")
			c := bootstrap(t, b.dir)
			owner, orphan := leaver(t, b, c, args...)
			owner.kill()
			send := c.lookUp("port")
			send.post(numbered(2))
			stays(c)
			if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			port := c.checkInSoon("port")
			send.post(numbered(3))
			for want := 1; want <= 3; want++ {
				if n := number(port.next()); n != want {
					t.Fatalf("message %d came, not %d", n, want)
				}
			}
		})
	}
}

// TestPortIsMadeAnew: who goes on holding the receive right of a dead owner loses it, and senders see death.
func TestPortIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Mach: broker.Mach{ReturnTimeout: 50 * time.Millisecond}})
	b.undeclares("port")
	c := bootstrap(t, b.dir)
	owner, _ := leaver(t, b, c)
	send := c.lookUp("port")
	answer := send.question()
	owner.kill() // not before: who looks the port up later may find it made anew
	answer.died()
	port := c.checkInSoon("port")
	if err := send.send(numbered(2)); err != syscall.EPIPE {
		t.Errorf("sending to the old port: %v", err)
	}
	port.silent()
	passes(c.lookUp("port"), port)
}

// TestPortOfGroupIsKept: who is left of the group without the right holds the queue up to the deadline, and no longer.
func TestPortOfGroupIsKept(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Mach: broker.Mach{ReturnTimeout: 50 * time.Millisecond}})
	b.undeclares("port")
	c := bootstrap(t, b.dir)
	owner, _ := leaver(t, b, c, "holds=no")
	owner.kill()
	port := c.checkInSoon("port")
	if n := number(port.next()); n != 1 {
		t.Errorf("message %d came, not 1", n)
	}
}

// TestPortOfLivingProcess: a process that closes its connection and goes on must give up the right, too.
func TestPortOfLivingProcess(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Mach: broker.Mach{ReturnTimeout: deadline}})
	b.undeclares("port")
	c := bootstrap(t, b.dir)
	c.createService("port").post(numbered(1))
	owner := porter(t, b, "close", "port")
	owner.expect("checked in")
	owner.tell("connection")
	owner.expect("closed")
	stays(c)
	owner.tell("right")
	owner.expect("closed")
	if n := number(c.checkInSoon("port").next()); n != 1 {
		t.Errorf("message %d came, not 1", n)
	}
}

// TestPortThrownAway: who waits for a reply to what is thrown away is told so.
func TestPortThrownAway(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	send := c.createService("port")
	send.post(nil) // an empty packet hides nothing behind it
	send.post([]byte("no message"), send)
	send.post(numbered(1), send, c)
	first, second := send.question(), send.question()
	c.want(mach.OK, mach.Request{Routine: mach.Register, Service: "port", Right: mach.Right{Disposition: mach.CopySend}})
	first.died()
	second.died()
	first.closed()
	c.unknown("port")
	if err := send.send(numbered(2)); err != syscall.EPIPE {
		t.Errorf("sending to it: %v", err)
	}

	in, requestor := c.subset()
	answer := in.createService("port").question()
	requestor.close()
	answer.died()
	answer.closed()
}

// TestPortShutDown: one sender can shut a port down for all, also for sending alone; the next look-up finds it made anew.
func TestPortShutDown(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]int{"both": syscall.SHUT_RDWR, "sending": syscall.SHUT_WR} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portShutDown(t, how)
		})
	}
}

func portShutDown(t *testing.T, how int) {
	b := startBroker(t, brokerOptions{})
	b.undeclares("port")
	c := bootstrap(t, b.dir)
	send := c.createService("port")
	answer := send.question()
	if err := syscall.Shutdown(send.fd.Int(), how); err != nil {
		t.Fatal(err)
	}
	answer.died()
	port := c.checkIn("port")
	send = c.lookUp("port")
	passes(send, port)

	// While somebody owns it, that is theirs to see; then it is made anew.
	other := bootstrap(t, b.dir)
	if err := syscall.Shutdown(send.fd.Int(), how); err != nil {
		t.Fatal(err)
	}
	port.closed()
	c.close()
	port.close()
	port = other.checkInSoon("port")
	passes(other.lookUp("port"), port)
}
