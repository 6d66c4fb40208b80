// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// notify asks to be told of a right, and returns where that will come.
func (c *machConn) notify(e mach.Event, d mach.Disposition, right *machConn) *machConn {
	c.t.Helper()
	receive, send := portPair(c.t)
	c.want(mach.OK, notifyRequest(e, d), right, send)
	send.close()
	return receive
}

var deadName = mach.Notification{Event: mach.DeadName, Port: 7, Name: 7} // the tokens of requests that tests send

func TestNotifyDeadName(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Mach: broker.Mach{ReturnTimeout: time.Millisecond}})
	c := bootstrap(t, b.dir)

	// A port of a process that is killed, and one that is dead when it is asked for.
	owner := porter(t, b, "read", "dynamic")
	owner.expect("checked in")
	send := c.lookUp("dynamic")
	first, second := c.notify(mach.DeadName, mach.CopySend, send), c.notify(mach.DeadName, mach.MoveSend, send)
	first.silent()
	owner.kill()
	first.told(deadName)
	first.closed() // once
	second.told(deadName)
	late := c.notify(mach.DeadName, mach.CopySend, send)
	late.told(deadName)
	late.closed()

	// A right that the broker has never seen.
	receive, own := portPair(t)
	to := c.notify(mach.DeadName, mach.CopySend, own)
	receive.close()
	to.told(deadName)

	// A right that is dead already, by its name.
	receive, send = portPair(t)
	r := notifyRequest(mach.DeadName, mach.CopySend)
	r.Right.Fd, r.To.Fd = mach.Dead, 1
	c.want(mach.OK, r, send)
	receive.told(deadName)

	// A declared port: not when its owner ends, but when the service is no more.
	send = c.createService("declared")
	to = c.notify(mach.DeadName, mach.CopySend, send)
	owner = porter(t, b, "read", "declared")
	owner.expect("checked in")
	owner.kill()
	passes(send, c.checkInSoon("declared"))
	to.silent()
	other := bootstrap(t, b.dir)
	to = other.notify(mach.DeadName, mach.CopySend, send)
	c.close()
	other.undeclare("declared")
	to.told(deadName)
}

// What a session asked for ends with it.
func TestNotifyEndsWithSession(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	receive, send := portPair(t)
	to := c.notify(mach.DeadName, mach.CopySend, send)
	c.close()
	to.closed()
	receive.close()
}

func TestNotifyRefuses(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	_, send := portPair(t)
	missing := notifyRequest(mach.DeadName, mach.CopySend)
	missing.To.Fd, missing.Right.Fd = mach.Null, 1
	c.want(mach.InvalidRight, missing, send)
	missing.To.Fd, missing.Right.Fd = 1, mach.Null
	c.want(mach.InvalidRight, missing, send)
	null := newMach(t, devNull(t))
	c.want(mach.InvalidRight, notifyRequest(mach.DeadName, mach.CopySend), null, send)
	c.want(mach.InvalidRight, notifyRequest(mach.DeadName, mach.CopySend), send, null)
	c.want(mach.NotPrivileged, notifyRequest(mach.NoSenders, mach.CopySend), send, send)
	other := bootstrap(t, b.dir)
	other.checkIn("theirs")
	c.want(mach.NotPrivileged, notifyRequest(mach.NoSenders, mach.CopySend), c.lookUp("theirs"), send)
	for range 1024 {
		c.want(mach.OK, notifyRequest(mach.DeadName, mach.CopySend), send, send)
	}
	c.want(mach.NoMemory, notifyRequest(mach.DeadName, mach.CopySend), send, send)
}

// An owner is told when nobody else has a right any more that the broker gave away.
func TestNotifyNoSenders(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.checkIn("port")
	self := c.lookUp("port")
	first, second := porter(t, b, "hold", "port"), porter(t, b, "hold", "port")
	first.expect("looked up")
	second.expect("looked up")
	to := c.notify(mach.NoSenders, mach.CopySend, self)
	again := c.notify(mach.NoSenders, mach.CopySend, self)
	first.kill()
	to.silent()
	second.tell("close") // its session goes on
	second.expect("closed")
	to.told(mach.Notification{Event: mach.NoSenders, Port: 7, Count: 3})
	to.closed()
	again.told(mach.Notification{Event: mach.NoSenders, Port: 7, Count: 3})
	second.kill()
}

// Nobody is told as long as a right to the port may be on its way.
func TestNotifyNoSendersWaits(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.checkIn("port")
	other := bootstrap(t, b.dir)
	r := mach.Request{Routine: mach.LookUp, Service: "port", Token: 7}
	packet, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	other.mustSend(packet) // and does not read the reply
	to := c.notify(mach.NoSenders, mach.CopySend, c.lookUp("port"))
	gone := porter(t, b, "hold", "port")
	gone.expect("looked up")
	gone.kill()
	time.Sleep(50 * time.Millisecond) // in which it would be told
	to.silent()
	_, fds := other.reply(r)
	fds[0].close()
	other.close()
	to.told(mach.Notification{Event: mach.NoSenders, Port: 7, Count: 3})
}

// A receive right comes back when its owner has ended, with what was sent to it.
func TestNotifyPortDestroyed(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	home := c.checkIn("home")
	owner := porter(t, b, "destroy", "port", "home")
	owner.expect("checked in")
	send := c.lookUp("port")
	dead := c.notify(mach.DeadName, mach.CopySend, send)
	send.post(numbered(1))
	home.silent()
	owner.kill()
	back := home.told(mach.Notification{Event: mach.PortDestroyed, Port: 7, Right: mach.Right{Fd: 1, Disposition: mach.MoveReceive}})
	send.post(numbered(2))
	for want := 1; want <= 2; want++ {
		if n := number(back[0].next()); n != want {
			t.Errorf("message %d came, not %d", n, want)
		}
	}
	c.unknown("port") // the name was the owner's
	dead.silent()
	back[0].close()
	dead.told(deadName)

	// Without anybody to take it, who waits for a reply is told.
	owner = porter(t, b, "destroy", "port", "home")
	owner.expect("checked in")
	answer := c.lookUp("port").question()
	home.close()
	owner.kill()
	answer.died()
}
