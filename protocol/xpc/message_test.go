// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func TestMessageRoundTrip(t *testing.T) {
	port := mach.Right{Fd: 1, Disposition: mach.MoveSend}
	for name, m := range map[string]xpc.Message{
		"one-way": {Kind: xpc.KindMessage, Magic: xpc.MagicCurrent, Root: dict("a", xpc.Null{})},
		"request": {Kind: xpc.KindMessage, Token: 3, Magic: xpc.MagicOld, Root: dict("a", xpc.FD{Right: port}), Rights: []mach.Right{port}},
		"routine": {Kind: xpc.KindRoutine, Routine: xpc.MaxRoutine, Token: 3, Magic: xpc.MagicCurrent, Root: xpc.Dict{}},
		"reply":   {Kind: xpc.KindReply, Token: 0xffffffff, Magic: xpc.MagicCurrent, Root: xpc.Dict{}},
		"handshake": {Kind: xpc.KindHandshake, Rights: []mach.Right{
			{Fd: 1, Disposition: mach.MoveReceive}, {Fd: 2, Disposition: mach.MakeSend},
		}},
	} {
		packet, rights, err := m.Append(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := xpc.ParseMessage(packet, len(rights), nil)
		if m.Rights == nil {
			m.Rights = []mach.Right{}
		}
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		if m.WantsReply() != (m.Token == 3) {
			t.Errorf("%s wants a reply: %t", name, m.WantsReply())
		}
		reply := m.Reply(dict("error", xpc.Int64(0)))
		if reply.Kind != xpc.KindReply || reply.Token != m.Token || reply.Magic != m.Magic {
			t.Errorf("%s: the reply is %+v", name, reply)
		}
	}
}

// The usual dispositions, the order of the caller's descriptors, and what the
// packet calls them.
func TestMessageDispositions(t *testing.T) {
	at := func(fd mach.Fd) mach.Right { return mach.Right{Fd: fd} }
	m := xpc.Message{Kind: xpc.KindMessage, Root: dict(
		"a", xpc.FD{Right: at(5)}, "b", xpc.Array{xpc.Shmem{Right: at(2), Size: 4}, xpc.Endpoint{Right: at(9)}},
		"c", xpc.MachRecv{Right: at(1)}, "d", xpc.MachSend{Right: at(3)},
	)}
	packet, rights, err := m.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []mach.Right{
		{Fd: 5, Disposition: 17}, {Fd: 2, Disposition: 17}, {Fd: 9, Disposition: 19}, {Fd: 1, Disposition: 16}, {Fd: 3, Disposition: 19},
	}
	if diff := cmp.Diff(want, rights); diff != "" {
		t.Error(diff)
	}
	got, err := xpc.ParseMessage(packet, len(want), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Fd = mach.Fd(i + 1)
	}
	if diff := cmp.Diff(want, got.Rights); diff != "" {
		t.Error(diff)
	}
	packet, rights, err = xpc.Message{Kind: xpc.KindHandshake, Rights: []mach.Right{at(2), at(1)}}.Append(nil, nil)
	diff := cmp.Diff([]mach.Right{{Fd: 2, Disposition: 16}, {Fd: 1, Disposition: 20}}, rights)
	if err != nil || len(packet) != 52 || diff != "" {
		t.Errorf("%x, %v %s", packet, err, diff)
	}
}

func TestMessageRefusal(t *testing.T) {
	request := xpc.Message{Kind: xpc.KindMessage, Token: 9, Magic: xpc.MagicOld, Root: dict("p", xpc.MachSend{Right: mach.Right{Fd: 1}})}
	handshake := xpc.Message{Kind: xpc.KindHandshake, Rights: []mach.Right{{Fd: 1}, {Fd: 2}}}
	reply := request.Reply(xpc.Dict{})
	le := binary.LittleEndian
	id := func(n uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[20:], n); return b }
	}
	set := func(at int, x byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = x; return b }
	}
	for name, c := range map[string]struct {
		m      xpc.Message
		change func([]byte) []byte
		reason xpc.Reason // empty: the connection ends
	}{
		"id of mach":                 {request, id(402), ""},
		"notification":               {request, id(0x30000000), ""},
		"id with a number":           {request, id(0x10000001), ""},
		"unknown id":                 {request, id(0x50000000), ""},
		"negative id":                {request, id(0xc0000000), ""},
		"size":                       {request, func(b []byte) []byte { return b[:len(b)-4] }, ""},
		"reply that wants one":       {reply, set(12, 1), ""},
		"reply to nobody":            {reply, set(8, 0), ""},
		"handshake that wants one":   {handshake, set(12, 1), ""},
		"handshake of two sends":     {handshake, set(28+10, 19), ""},
		"handshake of two receives":  {handshake, set(40+10, 16), ""},
		"handshake with memory":      {handshake, set(28+11, 9), ""},
		"out-of-line ports":          {request, nil, xpc.ReasonRight},
		"unknown kind of descriptor": {request, set(28+11, 9), xpc.ReasonRight},
		"unknown disposition":        {request, set(28+10, 22), xpc.ReasonRight},
		"null right":                 {request, set(28, 0), xpc.ReasonRight},
		"send-once right":            {request, set(28+10, 18), xpc.ReasonRight},
		"file magic": {request, func(b []byte) []byte {
			le.PutUint32(b[40:], uint32(xpc.MagicFile))
			return b
		}, xpc.ReasonMagic},
	} {
		packet, rights, err := c.m.Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		fds := len(rights)
		if c.change == nil {
			raw := mach.Message{
				Header:      mach.Header{Local: 9, ID: int32(xpc.KindMessage)},
				Descriptors: []mach.Descriptor{{Kind: mach.PortsKind, Disposition: mach.MoveSend, Fd: 1, Length: 1}}, Body: packet[40:],
			}
			packet, fds = raw.Append(nil), 2
		} else {
			packet = c.change(packet)
			if le.Uint32(packet[24:]) == 1 && le.Uint32(packet[28:]) == 0 {
				fds = 0 // a null right brings none
			}
		}
		m, err := xpc.ParseMessage(packet, fds, nil)
		var framing *mach.FramingError
		var fault *xpc.Fault
		switch {
		case errors.As(err, &framing):
			if c.reason != "" {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.As(err, &fault):
			t.Errorf("%s: read as %+v, %v", name, m, err)
		case fault.Reason != c.reason || fault.Silent() || fault.Token != 9 || fault.Reply().Token != 9:
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The answer to a message at fault has its magic.
func TestFaultMagic(t *testing.T) {
	for _, magic := range []xpc.Magic{xpc.MagicCurrent, xpc.MagicOld} {
		packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 1, Magic: magic}.Append(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		packet[28]++ // the version
		_, err = xpc.ParseMessage(packet, 0, nil)
		if f := reason(t, err); f.Reason != xpc.ReasonVersion || f.Reply().Magic != magic {
			t.Errorf("%+v", f)
		}
	}
}

func TestUnwritableMessages(t *testing.T) {
	r := mach.Right{Fd: 1}
	for name, m := range map[string]xpc.Message{
		"no kind":                {},
		"reply to nobody":        {Kind: xpc.KindReply},
		"routine too large":      {Kind: xpc.KindRoutine, Routine: xpc.MaxRoutine + 1},
		"file magic":             {Kind: xpc.KindMessage, Magic: xpc.MagicFile},
		"handshake with payload": {Kind: xpc.KindHandshake, Rights: []mach.Right{r, {Fd: 2}}, Root: dict("a", xpc.Null{})},
		"handshake with token":   {Kind: xpc.KindHandshake, Rights: []mach.Right{r, {Fd: 2}}, Token: 1},
		"handshake of one":       {Kind: xpc.KindHandshake, Rights: []mach.Right{r}},
		"handshake of the same":  {Kind: xpc.KindHandshake, Rights: []mach.Right{r, r}},
	} {
		b, _, err := m.Append([]byte("kept"), nil)
		if f := reason(t, err); string(b) != "kept" {
			t.Errorf("%s: wrote %q, %v", name, b, f)
		}
	}
}

func TestIsMessage(t *testing.T) {
	for id, want := range map[int32]bool{
		0: false, 71: false, 402: false, 0x0fffffff: false, -300: false,
		0x10000000: true, 0x20000000: true, 0x400000ce: true, 0x77303074: true,
	} {
		if xpc.IsMessage(id) != want {
			t.Errorf("%#x: %t", id, !want)
		}
	}
}
