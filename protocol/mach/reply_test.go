// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

func TestEveryReply(t *testing.T) {
	right := mach.Right{Fd: 1, Disposition: mach.MoveReceive}
	for _, c := range []struct {
		reply mach.Reply
		fds   int
		size  int
	}{
		{mach.Reply{Code: mach.NameInUse}, 0, 36},
		{mach.Reply{Shape: mach.PortReply, Right: right}, 1, 40},
		{mach.Reply{Shape: mach.PortReply, Right: mach.Right{Disposition: mach.CopySend}}, 0, 40},
		{mach.Reply{Shape: mach.InstanceReply, Right: right, UUID: [16]byte{1}}, 1, 64},
		{mach.Reply{Shape: mach.ValueReply, Code: mach.Failure, Value: -1}, 0, 40},
		{mach.Reply{Shape: mach.WideReply, Wide: -1 << 40}, 0, 44},
		{mach.Reply{Shape: mach.PathReply, Path: "/run/sock"}, 0, 164},
		{mach.Reply{Shape: mach.ChildReply, Right: right, Value: 77}, 1, 52},
		{mach.Reply{
			Shape: mach.InfoReply, Counts: [3]uint32{2, 2, 2},
			Lists: [3]mach.Memory{{Fd: 1, Length: 256}, {Fd: 2, Length: 256}, {Fd: 3, Length: 8}},
		}, 3, 96},
		{mach.Reply{Shape: mach.ArrayReply, Ports: mach.Memory{Fd: 1, Length: 2}, Count: 2, AllKnown: true}, 3, 60},
	} {
		c.reply.ID, c.reply.Token = 504, 7
		roundTrip(t, c.reply, c.fds, mach.ParseReply)
		if packet, _ := c.reply.Append(nil); len(packet) != c.size {
			t.Errorf("%+v has %d bytes, want %d", c.reply, len(packet), c.size)
		}
	}
}

// TestNoReply is what may come instead of a reply.
func TestNoReply(t *testing.T) {
	notification := func(n mach.Notification) []byte {
		b, err := n.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		packet []byte
		code   mach.Code
	}{
		"server died":  {notification(mach.Notification{Event: mach.SendOnceDied}), mach.ServerDied},
		"dead name":    {notification(mach.Notification{Event: mach.DeadName}), mach.ReplyMismatch},
		"25 bytes":     {mach.Message{Body: []byte{1}}.Append(nil), mach.TypeError},
		"two rights":   {mach.Message{Descriptors: make([]mach.Descriptor, 2), Body: make([]byte, 12)}.Append(nil), mach.TypeError},
		"send-once":    {mach.Message{Descriptors: []mach.Descriptor{{Disposition: mach.MakeSendOnce}}}.Append(nil), mach.TypeError},
		"no NDR":       {mach.Message{Body: make([]byte, 12)}.Append(nil), mach.BadArguments},
		"endless path": {mach.Message{Body: append([]byte{4: 1, 11: 0}, bytes.Repeat([]byte{97}, 128)...)}.Append(nil), mach.BadArguments},
	} {
		_, err := mach.ParseReply(c.packet, 0)
		var fault *mach.Fault
		if !errors.As(err, &fault) || fault.Code != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

func TestNotNotifications(t *testing.T) {
	for _, n := range []mach.Notification{
		{Event: 66},
		{Event: mach.PortDestroyed, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}},
	} {
		if b, err := n.Append(nil); err == nil || b != nil {
			t.Errorf("%v is written as %x", n.Event, b)
		}
	}
	right := mach.Right{Fd: 1, Disposition: mach.MoveReceive}
	roundTrip(t, mach.Notification{Event: mach.PortDestroyed, Port: 3, Right: right}, 1, mach.ParseNotification)
}

// TestAllocations: a look-up is read with one allocation, its name, and its reply
// written with none.
func TestAllocations(t *testing.T) {
	packet, err := example(mach.LookUp3).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		req, err := mach.ParseRequest(packet, 0)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = req.Granted().Append(out[:0]); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	} else {
		t.Log(n, "allocations")
	}
}

func BenchmarkLookUp(b *testing.B) {
	packet, err := example(mach.LookUp3).Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		req, _ := mach.ParseRequest(packet, 0)
		out, _ = req.Granted().Append(out[:0])
	}
}
