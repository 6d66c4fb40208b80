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
		if len(packet) > 32<<10 { // no request is as long
			action = "close"
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
