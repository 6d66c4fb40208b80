// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"strconv"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachLimits: what one session can make the broker hold ends with 1105, and hurts nobody else.
func TestMachLimits(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: broker.Limits{NamesPerSession: 8}})
	c, other := bootstrap(t, b.dir), bootstrap(t, b.dir)
	for i := range 8 {
		c.checkIn("com.example.n" + strconv.Itoa(i))
	}
	c.want(mach.NoMemory, mach.Request{Routine: mach.CheckIn, Service: "com.example.more"})
	_, send := portPair(t)
	c.want(mach.NoMemory, registerRequest("com.example.more"), send)
	other.checkIn("com.example.other")
	for range 8 {
		c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	}
	c.want(mach.NoMemory, mach.Request{Routine: mach.GetRoot})
	b.checkDescriptors()
}

// TestMachFewDescriptors: without descriptors left, clients are told so, and nothing is lost.
func TestMachFewDescriptors(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Descriptors: 160})
	c := bootstrap(t, b.dir)
	receive := c.checkIn("com.example.first")
	var held []*machConn
	for i := 0; ; i++ {
		reply, fds := c.call(mach.Request{Routine: mach.CheckIn, Service: "com.example.n" + strconv.Itoa(i)})
		if reply.Code == mach.NoMemory {
			break
		}
		held = append(held, fds...)
	}
	_, send := portPair(t)
	for i := 0; ; i++ { // it needs one descriptor less
		if c.code(registerRequest("com.example.r"+strconv.Itoa(i)), send) == mach.NoMemory {
			break
		}
	}
	c.want(mach.NoMemory, mach.Request{Routine: mach.CreateService, Service: "com.example.more"})
	c.want(mach.NoMemory, mach.Request{Routine: mach.Parent})
	passes(c.lookUp("com.example.first"), receive)
	for _, h := range held {
		h.close()
	}
	eventually(t, func() string {
		reply, fds := c.call(mach.Request{Routine: mach.CheckIn, Service: "com.example.again"})
		if reply.Code != mach.OK || len(fds) != 1 {
			return "check_in says " + reply.Code.String()
		}
		return ""
	})
}

// TestMachHoarders: subsets and created services are bounded for each process, and come back.
func TestMachHoarders(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: broker.Limits{NamesPerSession: 4}})
	c := bootstrap(t, b.dir)
	for i := range 4 {
		c.createService("com.example.s" + strconv.Itoa(i)).close()
	}
	c.want(mach.NoMemory, mach.Request{Routine: mach.CreateService, Service: "com.example.more"})
	bootstrap(t, b.dir).want(mach.NoMemory, mach.Request{Routine: mach.CreateService, Service: "com.example.more"})
	for i := range 4 {
		c.undeclare("com.example.s" + strconv.Itoa(i))
	}
	c.createService("com.example.more").close()
	c.undeclare("com.example.more")

	requestor, send := portPair(t)
	for range 4 {
		c.right(mach.MakeSend, subsetRequest(), send).close()
	}
	eventually(t, func() string { // the bootstrap ports are gone, and the subsets are there
		if code := c.code(mach.Request{Routine: mach.Parent}); code != mach.OK {
			return "parent says " + code.String()
		}
		return ""
	})
	c.want(mach.NoMemory, subsetRequest(), send)
	requestor.close()
	send.close()
	_, other := portPair(t)
	eventually(t, func() string {
		reply, fds := c.call(subsetRequest(), other)
		if reply.Code != mach.OK {
			return "subset says " + reply.Code.String()
		}
		fds[0].close()
		return ""
	})
}

// TestMachUnreadInfo: who reads none of the lists gets no more of them, wherever the replies go.
func TestMachUnreadInfo(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	c.checkIn("com.example.listed")
	boot := c.right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	replies, right := portPair(t)
	r := mach.Request{Routine: mach.Info, Token: 7}
	packet, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	const asked = 32
	for range asked {
		boot.mustSend(packet, right)
		c.mustSend(packet)
	}
	for _, from := range []*machConn{replies, c} {
		lists := 0
		for range asked {
			p := from.next()
			reply, err := mach.ParseReply(p.data, len(p.fds))
			if err != nil || reply.Code != mach.OK && reply.Code != mach.NoMemory {
				t.Fatalf("%+v %v", reply, err)
			}
			if reply.Code == mach.OK {
				lists++
			}
			for _, fd := range p.fds {
				fd.close()
			}
		}
		if from == replies && lists == asked {
			t.Error("all were answered")
		}
	}
}
