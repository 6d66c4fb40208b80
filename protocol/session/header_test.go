// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// headers are packets without payload, to the byte.
var headers = []struct {
	name   string
	packet string
	want   session.Header
}{
	{"hello", "\x01\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindRequest, Op: session.OpHello, ID: 1}},
	{"look up", "\x01\x01\x02\x00\x78\x56\x34\x12\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindRequest, Op: session.OpLookUp, ID: 0x12345678}},
	{"claim", "\x01\x01\x03\x00\xff\xff\xff\xff\x08\x07\x06\x05\x04\x03\x02\x01",
		session.Header{Kind: session.KindRequest, Op: session.OpClaim, ID: 1<<32 - 1, Sequence: 0x0102030405060708}},
	{"claimed", "\x01\x02\x03\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindReply, Op: session.OpClaim, ID: 2, Sequence: 1}},
	{"claimed, listener", "\x01\x02\x03\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindReply, Op: session.OpClaim, Descriptors: 1, ID: 2, Sequence: 1}},
	{"door", "\x01\x01\x08\x01\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindRequest, Op: session.OpDoor, Descriptors: 1, ID: 2, Sequence: 3}},
	{"door opened", "\x01\x02\x08\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindReply, Op: session.OpDoor, ID: 2, Sequence: 3}},
	{"taken", "\x01\x04\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindOneWay, Op: session.OpTaken}},
	{"connect", "\x01\x04\x21\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindOneWay, Op: session.OpConnect, Descriptors: 1}},
	{"hand over", "\x01\x03\x40\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindEvent, Op: session.OpHandOver, Descriptors: 1}},
	{"change", "\x01\x03\x41\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindEvent, Op: session.OpChange, ID: 9}},
	{"bye", "\x01\x03\x45\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindEvent, Op: session.OpBye}},
	{"declare", "\x01\x01\x0b\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindRequest, Op: session.OpDeclare, ID: 2, Sequence: 3}},
	{"started", "\x01\x03\x46\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindEvent, Op: session.OpStarted}},
	{"traced", "\x01\x03\x47\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		session.Header{Kind: session.KindEvent, Op: session.OpTraced, ID: 9}},
}

func TestHeader(t *testing.T) {
	t.Parallel()
	for _, test := range headers {
		packet := []byte(test.packet + "payload")
		got, payload, err := session.ParseHeader(packet)
		if err != nil || got != test.want || string(payload) != "payload" {
			t.Errorf("%s: got %+v, payload %q, %v, want %+v", test.name, got, payload, err, test.want)
		}
		if cap(payload) != len(payload) || &payload[0] != &packet[session.HeaderSize] {
			t.Errorf("%s: the payload does not alias the packet, up to its end", test.name)
		}
		if b := test.want.Append([]byte("x")); string(b) != "x"+test.packet {
			t.Errorf("%s: appended % x, want % x", test.name, b[1:], test.packet)
		}
	}
}

func TestHeaderFaults(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 16)
	tests := []struct{ packet, want string }{
		{"", "empty packet"},
		{"\x01", "packet has 1 bytes, fewer than its header of 16"},
		{headers[0].packet[:15], "packet has 15 bytes, fewer than its header of 16"},
		{headers[0].packet + strings.Repeat("x", session.MaxPacket), "packet has 32784 bytes, more than 32768"},
		{zeros, "version 0 is not supported: this is version 1"},
		{"\x02\x01\x01" + zeros, "version 2 is not supported: this is version 1"},
		{"\x01\x00\x01" + zeros, "unknown kind of packet 0"},
		{"\x01\x05\x01" + zeros, "unknown kind of packet 5"},
		{"\x01\x01\x00" + zeros, "unknown operation 0"},
		{"\x01\x01\x10" + zeros, "unknown operation 16"},
		{"\x01\x03\x48" + zeros, "unknown operation 72"},
		{"\x01\x03\x01" + zeros, "HELLO does not come as event"},
		{"\x01\x01\x20" + zeros, "TAKEN does not come as request"},
		{"\x01\x02\x20" + zeros, "TAKEN does not come as reply"},
		{"\x01\x02\x41" + zeros, "CHANGE does not come as reply"},
		{"\x01\x04\x02" + zeros, "LOOK_UP does not come as one-way"},
		{"\x01\x01\x02\x00" + zeros, "LOOK_UP request with id 0"},
		{"\x01\x02\x02\x00" + zeros, "LOOK_UP reply with id 0"},
		{"\x01\x03\x41\x00" + zeros, "CHANGE event with id 0"},
		{"\x01\x03\x47\x00" + zeros, "TRACED event with id 0"},
		{"\x01\x03\x45\x00\x01\x00\x00\x00" + zeros, "BYE event with id 1: its id is 0"},
		{"\x01\x04\x20\x00\x01\x00\x00\x00" + zeros, "TAKEN one-way with id 1: its id is 0"},
		{"\x01\x01\x02\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00", "LOOK_UP request with sequence 5: its sequence is 0"},
		{"\x01\x01\x04\x00\x01\x00\x00\x00" + zeros, "RELEASE request without a sequence"},
		{"\x01\x01\x0c\x00\x01\x00\x00\x00" + zeros, "STOP request without a sequence"},
		{"\x01\x03\x46\x00\x01\x00\x00\x00" + zeros, "STARTED event with id 1: its id is 0"},
		{"\x01\x02\x04\x00\x01\x00\x00\x00" + zeros, "RELEASE reply without a sequence"},
		{"\x01\x01\x02\x01\x01\x00\x00\x00" + zeros, "LOOK_UP request with 1 descriptors: it takes at most 0"},
		{"\x01\x01\x03\x01\x01\x00\x00\x00\x01" + zeros, "CLAIM request with 1 descriptors: it takes at most 0"},
		{"\x01\x02\x03\x02\x01\x00\x00\x00\x01" + zeros, "CLAIM reply with 2 descriptors: it takes at most 1"},
		{"\x01\x01\x08\x00\x01\x00\x00\x00\x01" + zeros, "DOOR request with 0 descriptors: it takes 1"},
		{"\x01\x02\x08\x01\x01\x00\x00\x00\x01" + zeros, "DOOR reply with 1 descriptors: it takes at most 0"},
		{"\x01\x04\x21\x00" + zeros, "CONNECT one-way with 0 descriptors: it takes 1"},
		{"\x01\x03\x40\x02" + zeros, "HAND_OVER event with 2 descriptors: it takes at most 1"},
	}
	for _, test := range tests {
		_, _, err := session.ParseHeader([]byte(test.packet))
		if err == nil || err.Error() != test.want {
			t.Errorf("% .20x:\n got %v\nwant %s", test.packet, err, test.want)
		}
	}
}

// TestOperations holds every operation and kind against the table of the
// specification: requests 1 to 15, one-way 32 and 33, events 64 to 71.
func TestOperations(t *testing.T) {
	t.Parallel()
	for op := range 256 {
		for kind := range 256 {
			request := op >= 1 && op <= 15
			want := request && (kind == 1 || kind == 2) ||
				(op == 32 || op == 33) && kind == 4 ||
				op >= 64 && op <= 71 && kind == 3
			ok := false
			// any id, sequence and number of descriptors that fits will do
			for fit := range 8 {
				h := session.Header{Kind: session.Kind(kind), Op: session.Op(op), Descriptors: uint8(fit & 1),
					ID: uint32(fit >> 1 & 1), Sequence: uint64(fit >> 2)}
				got, _, err := session.ParseHeader(h.Append(nil))
				ok = ok || err == nil && got == h
			}
			if ok != want {
				t.Errorf("operation %d as kind %d: %v, want %v", op, kind, ok, want)
			}
		}
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	packet := []byte(headers[1].packet + "payload")
	buf := make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		h, _, err := session.ParseHeader(packet)
		if err != nil {
			t.Fatal(err)
		}
		h.Append(buf)
	})
	if n != 0 {
		t.Errorf("a header allocates %v times", n)
	}
}

func FuzzHeader(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.packet + "payload"))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		h, payload, err := session.ParseHeader(packet)
		if err != nil {
			return
		}
		if again := append(h.Append(nil), payload...); !bytes.Equal(again, packet) {
			t.Fatalf("% x becomes % x", packet, again)
		}
	})
}
