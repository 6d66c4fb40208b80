// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestArray sends out-of-line arrays of ports, beside all else that a message can have.
func TestArray(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	receive, send := newPort(t)
	first, firstSend := newPort(t)
	second, secondSend := newPort(t)
	inner, _ := newPort(t)
	memory, err := mach.NewMemory([]byte("memory"))
	if err != nil {
		t.Fatal(err)
	}
	back, reply, err := mach.NewReplyPort()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	m := &mach.Message{
		ID: 7, Body: []byte("body"), Rights: []mach.Right{inner}, Memory: []*mach.Memory{memory}, Reply: reply,
		Ports: []mach.Right{firstSend, nil, secondSend, (*mach.SendRight)(nil)},
	}
	if err := send.Send(ctx, m); err != nil {
		t.Fatal(err)
	}
	if m.Ports != nil {
		t.Error("the array is still in the message")
	}
	wantIs(t, "send with a right that was sent", firstSend.Send(ctx, &mach.Message{}), mach.ErrClosed)
	got, err := receive.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Ports; len(p) != 4 || p[1] != nil || p[3] != nil || len(got.Rights) != 1 || len(got.Memory) != 1 || string(got.Body) != "body" {
		t.Fatalf("%+v", got)
	}
	for i, to := range map[int]*mach.ReceiveRight{0: first, 2: second} {
		if err := got.Ports[i].(*mach.SendRight).Send(ctx, &mach.Message{ID: int32(i)}); err != nil {
			t.Fatal(err)
		}
		if m, err := to.Receive(ctx); err != nil || m.ID != int32(i) {
			t.Fatalf("%d: %+v, %v", i, m, err)
		}
	}
	if b, err := got.Memory[0].Bytes(); err != nil || string(b) != "memory" {
		t.Errorf("%q, %v", b, err)
	}
	if err := got.Reply.Send(ctx, &mach.Message{ID: 107}); err != nil {
		t.Fatal(err)
	}
	got.Close()
	_, err = first.Receive(ctx)
	wantIs(t, "after Close of the message", err, mach.ErrNoSenders)

	// Of receive rights, of none, and without any.
	for name, ports := range map[string][]mach.Right{"receive": {first, second}, "nothing": {}, "nulls": {nil, nil}, "absent": nil} {
		if err := send.Send(ctx, &mach.Message{Ports: ports}); err != nil {
			t.Fatal(name, err)
		}
		m, err := receive.Receive(ctx)
		if err != nil || len(m.Ports) != len(ports) || (m.Ports == nil) != (ports == nil) {
			t.Fatalf("%s: %+v, %v", name, m, err)
		}
		for i, p := range m.Ports {
			if _, ok := p.(*mach.ReceiveRight); ok != (ports[i] != nil) {
				t.Errorf("%s: %T", name, p)
			}
		}
		m.Close()
	}
}

// TestArrayRefused: an array that cannot be sent stays the sender's.
func TestArrayRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	receive, send := newPort(t)
	other, otherSend := newPort(t)
	for what, m := range map[string]*mach.Message{
		"two types":        {Ports: []mach.Right{otherSend, other}},
		"twice":            {Ports: []mach.Right{otherSend, otherSend}},
		"right and array":  {Rights: []mach.Right{otherSend}, Ports: []mach.Right{otherSend}},
		"too many nothing": {Ports: make([]mach.Right, 254)},
	} {
		if err := send.Send(ctx, m); err == nil || m.Ports == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for ports, sent := range map[int]bool{252: true, 253: false} { // and the memory with their positions
		m := &mach.Message{Ports: many(t, ports)}
		if err := send.Send(ctx, m); (err == nil) != sent {
			t.Errorf("%d ports: %v", ports, err)
		}
		m.Close()
	}
	if m, err := receive.Receive(ctx); err != nil || len(m.Ports) != 252 {
		t.Error(err)
	} else {
		m.Close()
	}
	if err := otherSend.Send(ctx, &mach.Message{ID: 1}); err != nil {
		t.Error(err)
	}
	if m, err := other.Receive(ctx); err != nil || m.ID != 1 {
		t.Error(m, err)
	}
}

// TestArrayOnTheWire is what another program gets: the memory's descriptor, then those of the ports.
func TestArrayOnTheWire(t *testing.T) {
	t.Parallel()
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	file := os.NewFile(uintptr(a.Take()), "send")
	defer file.Close()
	send, err := mach.AdoptSend(file)
	if err != nil {
		t.Fatal(err)
	}
	defer send.Close()
	_, one := newPort(t)
	_, two := newPort(t)
	if err := send.Send(testContext(t), &mach.Message{ID: 9, Ports: []mach.Right{one, nil, two}}); err != nil {
		t.Fatal(err)
	}
	buffer := sys.NewBuffer(1000)
	n, err := buffer.Recv(b.Int())
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Message.Close()
	m, err := wire.ParseMessage(buffer.Data[:n], len(buffer.FDs), wire.OnPort)
	if err != nil || len(buffer.FDs) != 3 || len(m.Descriptors) != 1 {
		t.Fatalf("%+v with %d descriptors, %v", m, len(buffer.FDs), err)
	}
	want := wire.Descriptor{Kind: wire.PortsKind, Disposition: wire.MoveSend, Fd: 1, Length: 3, Copy: 1}
	if m.Descriptors[0] != want {
		t.Errorf("%+v", m.Descriptors[0])
	}
	list, err := sys.ReadSealed(buffer.FDs[0], 12)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.ParsePorts(list, 3, 2, 3); err != nil || got[0] != 2 || got[1] != wire.Null || got[2] != 3 {
		t.Errorf("%v, %v", got, err)
	}
}
