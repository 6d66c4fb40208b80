// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// accepted reads the reply to a good request, and sees what has become of the name.
func (v *liveVector) accepted(t *testing.T, name string) {
	t.Helper()
	packet, fds, err := v.conn.receive(t)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	reply, err := mach.ParseReply(packet, len(fds))
	if err != nil {
		t.Fatalf("the reply %x with %d descriptors: %v", packet, len(fds), err)
	}
	if token := v.expect.Uint(t, "token"); uint64(reply.Token) != token {
		t.Errorf("the reply's token is %d, not %d", reply.Token, token)
	}
	if v.expect.Has("reply") {
		v.listed(t, v.expect.Object(t, "reply"), packet, reply)
	}
	var right *os.File
	for _, f := range fds {
		defer f.Close()
		right = fds[0]
	}
	flags := v.flags(t)
	code, shape := mach.OK, mach.PortReply
	switch op := fmt.Sprint(v.expect["op"]); op {
	case "check_in":
		if len(v.packet) == mach.CheckIn2.Size() {
			shape = mach.InstanceReply
		}
		v.owned = right
		if flags&mach.PerPID == 0 && right != nil {
			found := v.other.must(t, mach.Request{Routine: mach.LookUp, Service: name})
			defer found.Close()
			machReaches(t, found, right)
		}
	case "register":
		shape = mach.StatusReply
		v.owned = v.receive
	case "look_up":
		if flags&(mach.PerPID|mach.SpecificInstance) != 0 {
			code = mach.UnknownService // there is no such process, and no such instance
		}
	case "parent", "get_root", "create_service":
	case "subset":
		if v.expect["right"] == "null" {
			code = mach.NotPrivileged
		}
	case "spawn":
		shape = mach.ValueReply
		if reply.Value <= 0 {
			t.Errorf("the process that was started is %d", reply.Value)
		}
	case "send_signal":
		code = mach.NotPrivileged
	case "status":
		shape = mach.ValueReply
		if reply.Value != 1 {
			t.Errorf("the state of an active name is %d", reply.Value)
		}
	case "info":
		shape = mach.InfoReply
	default:
		t.Fatalf("a new operation: %q", op)
	}
	if code != mach.OK {
		shape = mach.StatusReply
	}
	if reply.Code != code || reply.Shape != shape {
		t.Errorf("the reply is %+v; wanted is code %d and shape %d", reply, code, shape)
	}
	if shape == mach.PortReply && name != "" && right != v.owned && v.owned != nil {
		machReaches(t, right, v.owned)
	}
	if reply.ID == mach.SeedRegister.ID()+100 || reply.ID == mach.Register.ID()+100 || reply.ID == mach.CustomRegister.ID()+100 {
		v.registered(t, name, flags)
	}
}

// listed compares a reply with what the vector says of it.
func (v *liveVector) listed(t *testing.T, want vectortest.Values, packet []byte, reply mach.Reply) {
	t.Helper()
	if id := want.Int(t, "id"); int64(reply.ID) != id {
		t.Errorf("the reply's id is %d, not %d", reply.ID, id)
	}
	if size := want.Int(t, "size"); int64(len(packet)) != size {
		t.Errorf("the reply has %d bytes, not %d: %+v", len(packet), size, reply)
	}
	if want.Has("complex") && reply.Shape.Complex() != want.Take("complex") {
		t.Errorf("the reply is of shape %d", reply.Shape)
	}
	if want.Has("code") {
		if code := want.Int(t, "code"); int64(reply.Code) != code {
			t.Errorf("the reply's code is %d, not %d", reply.Code, code)
		}
	}
	if want.Has("disposition") {
		if d := want.Int(t, "disposition"); int64(reply.Right.Disposition) != d {
			t.Errorf("the right of the reply has disposition %d, not %d", reply.Right.Disposition, d)
		}
	}
	for key := range want {
		t.Errorf("nobody has looked at expect.reply.%s", key)
	}
}

// registered looks up what was registered, or undeclared, or dead.
func (v *liveVector) registered(t *testing.T, name string, flags mach.Flags) {
	t.Helper()
	right := v.expect.Text(t, "right")
	find := mach.Request{Routine: mach.LookUp3, Service: name, Flags: flags & mach.PerPID}
	if flags&mach.PerPID != 0 {
		find.PID = int32(os.Getpid())
	}
	switch right {
	case "send":
		found := v.other.must(t, find)
		defer found.Close()
		machReaches(t, found, v.receive)
	case "null", "dead":
		if reply, _ := v.other.call(t, find); reply.Code != mach.UnknownService {
			t.Errorf("after a register of a right that is %s, look_up answers %+v", right, reply)
		}
	default:
		t.Fatalf("a new kind of right: %q", right)
	}
}

// rejected sees what the broker does about a bad packet.
func (v *liveVector) rejected(t *testing.T) {
	t.Helper()
	switch action := v.expect.Text(t, "action"); action {
	case "close":
		if packet, _, err := v.conn.receive(t); !errors.Is(err, io.EOF) {
			t.Errorf("the broker does not hang up, but: %x, %v", packet, err)
		}
		return
	case "error":
		reply, fds := v.conn.reply(t)
		if code := v.expect.Int(t, "code"); int64(reply.Code) != code || reply.Shape != mach.StatusReply || len(fds) != 0 {
			t.Errorf("the reply is %+v, wanted is code %d", reply, code)
		}
	case "drop":
	default:
		t.Fatalf("a new action: %q", action)
	}
	// The connection goes on, and nothing else has been sent on it.
	if reply, _ := v.conn.call(t, mach.Request{Routine: mach.LookUp, Service: "com.example.nobody"}); reply.Code != mach.UnknownService {
		t.Errorf("afterwards look_up answers %+v", reply)
	}
}

// clear waits until the name is gone, which it is when the broker knows that the connections are; what was created is undeclared.
func (v *liveVector) clear(t *testing.T, name string) {
	t.Helper()
	c := machDial(t, v.m.socket())
	defer c.c.Close()
	for end := time.Now().Add(machPatience); ; time.Sleep(time.Millisecond) {
		reply, _ := c.call(t, mach.Request{Routine: mach.Register, Service: name, Right: mach.Right{Disposition: mach.CopySend}})
		if reply.Code == mach.OK {
			if reply, fds := c.call(t, mach.Request{Routine: mach.LookUp, Service: name}); reply.Code == mach.UnknownService {
				return
			} else if len(fds) > 0 {
				fds[0].Close()
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%q is not given up: %+v", name, reply)
		}
	}
}
