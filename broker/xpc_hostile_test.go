// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestPipeVectors: what is to be refused is, as the vectors say; rights of it are closed, and no reply is a Mach message.
func TestPipeVectors(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	dispositions := map[string]mach.Disposition{"file": mach.MoveSend, "memfd": mach.MoveSend, "send": mach.CopySend, "receive": mach.MoveReceive}
	for _, v := range xpcVectors(t) {
		packet, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		action := v.Expect.Action
		switch {
		case v.Frame == "message" && v.Direction == "client->broker":
		case v.Frame == "payload" && v.Expect.Result == "reject":
			m := mach.Message{Header: mach.Header{Bits: mach.NewBits(len(v.Fds) > 0, mach.CopySend, mach.MakeSendOnce), Local: 9, ID: int32(xpc.KindMessage)}, Body: packet}
			for i, kind := range v.Fds {
				m.Descriptors = append(m.Descriptors, mach.Descriptor{Kind: mach.PortKind, Fd: mach.Fd(i + 1), Disposition: dispositions[kind]})
			}
			packet, action = m.Append(nil), "error22"
		default:
			continue
		}
		c := bootstrap(t, b.dir)
		var far, near []*machConn
		for range v.Fds {
			x, y := pair(t)
			far, near = append(far, x), append(near, y)
		}
		if err := c.send(packet, near...); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		probe, _ := mach.Request{Routine: mach.Status, Service: "nobody", Token: 1}.Append(nil)
		if err := c.send(probe); err != nil && action != "close" {
			t.Fatalf("%s: %v", v.Name, err)
		}
		switch action {
		case "close":
			c.closed()
		case "error22":
			m, fds := c.hear()
			if n, err := m.Root.Int("error"); err != nil || n != 22 || len(m.Root) != 1 || m.Token == 0 || len(fds) > 0 {
				t.Errorf("%s: the reply is %+v", v.Name, m)
			}
			c.statusComes(v.Name)
		case "drop":
			c.statusComes(v.Name)
		default:
			for p := c.next(); len(p.data) != 36; p = c.next() { // that of the probe
				if _, err := xpc.ParseMessage(p.data, len(p.fds), nil); err != nil {
					t.Errorf("%s: %x came: %v", v.Name, p.data, err)
				}
			}
		}
		for i := range near {
			near[i].close()
			far[i].closed()
		}
	}
}

// TestPipeLimits: payloads may be as long as XPC allows. Longer ones are refused, and what no payload can be ends the connection, as Mach messages do
// that are longer than any of theirs.
func TestPipeLimits(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c, port := bootstrap(t, b.dir), bootstrap(t, b.dir).right(mach.MakeSend, mach.Request{Routine: mach.Parent})
	for size, code := range map[int]int64{16 << 10: 2, 32<<10 - 24: 2, 32 << 10: 2, xpc.MaxPayload: 2, xpc.MaxPayload + 4: 22} {
		m := xpc.Request{Routine: xpc.LookUp, Name: "nobody", Token: 5}.Message()
		m.Root.Set("more", xpc.Data(nil))
		small, _, err := m.Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Root.Set("more", xpc.Data(make([]byte, size-(len(small)-mach.HeaderSize))))
		packet, _, err := m.Append(nil, &xpc.Options{Payload: 2 * xpc.MaxPayload})
		if err != nil || len(packet) != mach.HeaderSize+size {
			t.Fatalf("%d bytes: %d, %v", size, len(packet), err)
		}
		for where, to := range map[string]*machConn{"a connection": c, "a bootstrap port": port} {
			to.mustSend(packet)
			m, _ := to.hear()
			if n, err := m.Root.Int("error"); err != nil || n != code || m.Token != 5 {
				t.Errorf("%d bytes to %s: %+v", size, where, m)
			}
		}
	}
	for _, size := range []int{32<<10 + 4, 2 * xpc.MaxPayload} {
		for id, closes := range map[int32]bool{int32(xpc.KindMessage): size > xpc.MaxPayload, 404: true} {
			if !closes {
				continue
			}
			c := bootstrap(t, b.dir)
			m := mach.Message{Header: mach.Header{Bits: mach.NewBits(false, mach.CopySend, mach.MakeSendOnce), Local: 9, ID: id}, Body: make([]byte, size-mach.HeaderSize)}
			c.mustSend(m.Append(nil))
			c.closed()
		}
	}
}

// statusComes fails unless the next reply is the refusal of a Mach request.
func (c *machConn) statusComes(what string) {
	c.t.Helper()
	if p := c.next(); len(p.data) != 36 {
		c.t.Fatalf("%s: %x came", what, p.data)
	}
}

// TestPipeHostile: any bytes behind a header of XPC are answered in that dialect, or end the connection.
func TestPipeHostile(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	good, _, err := xpc.Request{Routine: xpc.LookUp2, Name: "nobody", Token: 5}.Message().Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := bootstrap(t, b.dir)
	for at := mach.HeaderSize; at < len(good); at++ {
		for _, with := range []byte{0xff, 0x80, good[at] + 1} {
			bad := slices.Clone(good)
			bad[at] = with
			c.mustSend(bad)
			m, _ := c.hear()
			if n, err := m.Root.Int("error"); err != nil || n != 22 && n != 1102 {
				t.Fatalf("byte %d as %#x: %+v", at, with, m)
			}
		}
	}
	for _, id := range []uint32{0x20000000, 0x30000000, 0x50000000, 0x77303074, 0x7fffffff} {
		c := bootstrap(t, b.dir)
		bad := slices.Clone(good)
		bad[20], bad[21], bad[22], bad[23] = byte(id), byte(id>>8), byte(id>>16), byte(id>>24)
		c.mustSend(bad)
		if _, err := c.receive(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("id %#x: %v", id, err)
		}
	}
}
