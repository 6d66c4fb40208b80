// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

func TestMachCheckInAndLookUp(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner, client := bootstrap(t, b.dir), bootstrap(t, b.dir)
	client.unknown("com.example.echo")
	receive := owner.checkIn("com.example.echo")
	passes(client.lookUp("com.example.echo"), receive)
	passes(client.lookUp("com.example.echo"), receive)
	if s := client.status("com.example.echo"); s != 1 {
		t.Errorf("status %d", s)
	}
	client.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.echo"})
	owner.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.echo"})
	owner.close()
	client.becomes("com.example.echo", mach.UnknownService)
}

func TestMachRegister(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	owner, client := bootstrap(t, b.dir), bootstrap(t, b.dir)
	receive, send := portPair(t)
	owner.register("com.example.reg", send)
	send.close()
	passes(client.lookUp("com.example.reg"), receive)
	if s := client.status("com.example.reg"); s != 1 {
		t.Errorf("status %d", s)
	}
	client.want(mach.NameInUse, registerRequest("com.example.reg"), receive)
	client.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.reg"})
	receive.close()
	client.becomes("com.example.reg", mach.UnknownService)
}

// TestMachRightAway: who closes a receive right has freed its name, also when the broker was not told of that yet.
func TestMachRightAway(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	for range 50 {
		c.checkIn("com.example.again").close()
		receive, send := portPair(t)
		c.register("com.example.again", send)
		receive.close()
		receive = c.checkIn("com.example.again")
		passes(c.lookUp("com.example.again"), receive)
		receive.close()
		c.want(mach.OK, mach.Request{Routine: mach.Register, Service: "com.example.again", Right: mach.Right{Disposition: mach.CopySend}})
	}
	c.checkIn("com.example.again").close()
	c.right(mach.CopySend, mach.Request{Routine: mach.CreateService, Service: "com.example.again"})
	c.want(mach.OK, mach.Request{Routine: mach.Register, Service: "com.example.again", Right: mach.Right{Disposition: mach.CopySend}})
	b.checkDescriptors()
}

func TestMachCreateService(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	creator, owner := bootstrap(t, b.dir), bootstrap(t, b.dir)
	send := creator.createService("com.example.svc")
	if s := owner.status("com.example.svc"); s != 0 {
		t.Errorf("status %d", s)
	}
	creator.want(mach.NameInUse, mach.Request{Routine: mach.CreateService, Service: "com.example.svc"})
	creator.close()
	passes(send, owner.checkIn("com.example.svc"))
	if s := owner.status("com.example.svc"); s != 1 {
		t.Errorf("status %d", s)
	}
	owner.close()
	other := bootstrap(t, b.dir)
	other.undeclare("com.example.svc")
	other.unknown("com.example.svc")
}

func TestMachSubset(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	out := bootstrap(t, b.dir)
	out.checkIn("com.example.outer")
	in, requestor := out.subset()
	in.lookUp("com.example.outer")
	in.checkIn("com.example.inner")
	out.unknown("com.example.inner")
	requestor.close()
	in.becomes("com.example.inner", mach.UnknownService)
	in.lookUp("com.example.outer")
	in.want(mach.NotPrivileged, mach.Request{Routine: mach.CheckIn, Service: "com.example.inner"})
}
