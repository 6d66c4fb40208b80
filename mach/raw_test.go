// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

func nonblocking(f *os.File) bool {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	return errno == 0 && flags&syscall.O_NONBLOCK != 0
}

func readable(f *os.File) bool {
	var b [1]byte
	_, err := sys.Peek(int(f.Fd()), b[:])
	return err == nil
}

// rawPair is a port whose send end the test writes to by itself.
func rawPair(t testing.TB) (*mach.ReceiveRight, *sys.FD) {
	t.Helper()
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	f := os.NewFile(uintptr(a.Take()), "receive")
	defer f.Close()
	receive, err := mach.AdoptReceive(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receive.Close() })
	return receive, b
}

// TestHostileMessages: what is no message is thrown away, with its descriptors, and its reply port told; the next one comes through.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	receive, send := rawPair(t)
	sealed, err := sys.SealedMemory("test", wire.AppendPorts(nil, 4, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	stream, other, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	defer other.Close()
	good, good2, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	defer good2.Close()

	memory := func(length uint32) wire.Descriptor {
		return wire.Descriptor{Kind: wire.MemoryKind, Fd: 2, Length: length}
	}
	port := wire.Descriptor{Fd: 2, Disposition: wire.MoveSend}
	ports := wire.Descriptor{Kind: wire.PortsKind, Fd: 2, Length: 2, Disposition: wire.MoveSend}
	message := func(d ...wire.Descriptor) []byte {
		return wire.Message{Header: wire.Header{Local: 5, ID: 1}, Descriptors: d}.Append(nil)
	}
	for name, c := range map[string]struct {
		packet []byte
		fds    []int
	}{
		"empty":               {nil, nil},
		"short":               {[]byte("short"), nil},
		"another size":        {message(port)[:30], []int{good.Int()}},
		"unknown kind":        {message(wire.Descriptor{Kind: 9, Fd: 2}), []int{good.Int()}},
		"a pipe":              {message(port), []int{int(r.Fd())}},
		"a stream":            {message(port), []int{stream.Int()}},
		"a file as memory":    {message(memory(0)), []int{int(file.Fd())}},
		"a socket as memory":  {message(memory(0)), []int{good.Int()}},
		"more than there is":  {message(memory(9)), []int{sealed.Int()}},
		"memory of nothing":   {message(wire.Descriptor{Kind: wire.MemoryKind, Length: 9}), nil},
		"ports of nothing":    {message(wire.Descriptor{Kind: wire.PortsKind, Length: 1, Disposition: wire.MoveSend}), nil},
		"ports, not in order": {message(ports), []int{sealed.Int()}},
		"one descriptor less": {message(port), nil},
		"one descriptor more": {message(port), []int{good.Int(), good.Int()}},
	} {
		back, reply, err := sys.Pair(sys.Seqpacket)
		if err != nil {
			t.Fatal(err)
		}
		fds := append([]int{reply.Int()}, c.fds...)
		if len(c.packet) < wire.HeaderSize {
			fds = nil
		}
		if _, err := sys.Send(send.Int(), c.packet, fds...); err != nil {
			t.Fatal(name, err)
		}
		reply.Close()
		if _, err := sys.Send(send.Int(), wire.Message{Header: wire.Header{ID: 77}}.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if m, err := receive.Receive(testContext(t)); err != nil || m.ID != 77 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		if fds != nil {
			wantDied(t, name, back, 5)
		}
		back.Close()
	}
}

// wantDied wants one 71 and then the end.
func wantDied(t *testing.T, name string, back *sys.FD, token uint32) {
	t.Helper()
	b := sys.NewBuffer(100)
	n, err := b.Recv(back.Int())
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	notification, err := wire.ParseNotification(b.Data[:n], 0)
	if err != nil || notification.Event != wire.SendOnceDied || notification.Port != token {
		t.Errorf("%s: %+v, %v", name, notification, err)
	}
	if n, err := b.Recv(back.Int()); n != 0 || err != nil {
		t.Errorf("%s: %d, %v; the descriptor is still open", name, n, err)
	}
}

// TestPortsRaw is an array of ports as another program might write it.
func TestPortsRaw(t *testing.T) {
	t.Parallel()
	receive, send := rawPair(t)
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	list, err := sys.SealedMemory("ports", wire.AppendPorts(nil, 2, wire.Null, 3, wire.Dead))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	packet := wire.Message{
		Header:      wire.Header{ID: 1},
		Descriptors: []wire.Descriptor{{Kind: wire.PortsKind, Fd: 1, Length: 4, Disposition: wire.MoveSend}},
	}.Append(nil)
	if _, err := sys.Send(send.Int(), packet, list.Int(), a.Int(), b.Int()); err != nil {
		t.Fatal(err)
	}
	m, err := receive.Receive(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if p := m.Ports; len(m.Rights) != 0 || len(p) != 4 || p[0] == nil || p[1] != nil || p[2] == nil || p[3] != nil {
		t.Errorf("%v, %v", m.Rights, m.Ports)
	}
}

func TestNotifications(t *testing.T) {
	t.Parallel()
	receive, send := rawPair(t)
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	for _, n := range []wire.Notification{
		{Event: wire.SendOnceDied}, {Event: wire.DeadName, Name: 7}, {Event: wire.NoSenders, Count: 3},
		{Event: wire.PortDestroyed, Right: wire.Right{Fd: 1, Disposition: wire.MoveReceive}},
	} {
		packet, err := n.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var fds []int
		if n.Right.Fd.Carried() {
			fds = []int{a.Int()}
		}
		if _, err := sys.Send(send.Int(), packet, fds...); err != nil {
			t.Fatal(err)
		}
		m, err := receive.Receive(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := m.Notification()
		if !ok || got.Event != n.Event || got.Name != n.Name || got.Count != n.Count || (got.Right != nil) != (fds != nil) {
			t.Errorf("%+v is read as %+v, %t", n, got, ok)
		}
		m.Close()
	}
	for _, m := range []*mach.Message{
		{ID: 72}, {ID: 71, Body: []byte{1}}, {ID: 69}, {ID: 65}, {ID: 69, Rights: []mach.Right{&mach.SendRight{}}},
	} {
		if n, ok := m.Notification(); ok {
			t.Errorf("%+v is read as %+v", m, n)
		}
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	_, err = mach.AdoptSend(r)
	wantCode(t, "a pipe", err, mach.InvalidRight)
	receive, send := newPort(t)
	f, err := send.File()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mach.AdoptSend(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Send(testContext(t), &mach.Message{ID: 3}); err != nil {
		t.Fatal(err)
	}
	if m, err := receive.Receive(testContext(t)); err != nil || m.ID != 3 {
		t.Error(m, err)
	}
}

// FuzzReceive sends packets with descriptors of all kinds to a port: no descriptor is left over, and what is delivered can be sent again.
func FuzzReceive(f *testing.F) {
	receive := wire.Descriptor{Fd: 1, Disposition: wire.MoveReceive}
	memory := wire.Descriptor{Kind: wire.MemoryKind, Fd: 2, Length: 8}
	ports := wire.Descriptor{Kind: wire.PortsKind, Fd: 1, Length: 2, Disposition: wire.MoveSend}
	f.Add(wire.Message{Header: wire.Header{Local: 1, ID: 2}, Body: []byte("x")}.Append(nil), uint8(1), uint8(0))
	f.Add(wire.Message{Descriptors: []wire.Descriptor{receive, memory}}.Append(nil), uint8(2), uint8(2))
	f.Add(wire.Message{Descriptors: []wire.Descriptor{ports}}.Append(nil), uint8(3), uint8(1))
	sealed, err := sys.SealedMemory("test", wire.AppendPorts(nil, 2, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { sealed.Close() })
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { a.Close(); b.Close() })
	f.Fuzz(func(t *testing.T, packet []byte, n, kinds uint8) {
		before := leaktest.Descriptors()
		fuzzReceive(t, packet, [2]int{a.Int(), sealed.Int()}, n%8, kinds)
		if after := leaktest.Descriptors(); after != before {
			t.Fatalf("%d descriptors are open, and there were %d", after, before)
		}
	})
}

func fuzzReceive(t *testing.T, packet []byte, kinds [2]int, n, bits uint8) {
	receive, send, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(receive.Take()), "receive")
	right, err := mach.AdoptReceive(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	defer send.Close()
	var fds []int
	for i := range n {
		fds = append(fds, kinds[bits>>i&1])
	}
	if _, err := sys.Send(send.Int(), packet, fds...); err != nil {
		if errors.Is(err, syscall.EMSGSIZE) {
			return
		}
		t.Fatal(err)
	}
	send.Close()
	m, err := right.Receive(testContext(t))
	if err != nil {
		wantIs(t, "receive", err, mach.ErrNoSenders)
		return
	}
	defer m.Close()
	to, through, err := mach.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	defer through.Close()
	if err := through.Send(testContext(t), m); err != nil {
		t.Fatal(err)
	}
	again, err := to.Receive(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// inQueue reports whether messages that were sent with a right are unread.
func inQueue(t *testing.T, s *mach.SendRight) bool {
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := sys.Unread(int(f.Fd()))
	return err == nil && n > 0
}
