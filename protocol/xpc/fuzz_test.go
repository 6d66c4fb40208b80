// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// seeds adds what the repository's vectors have in that frame.
func seeds(f *testing.F, frame string, add func(vector)) {
	for _, raw := range readVectors(f) {
		if raw["frame"] == frame {
			add(newVector(f, raw))
		}
	}
}

// kinds are rights as a fuzzer picks them: each of its bytes is a disposition.
func kinds(b []byte) (rights []mach.Right) {
	for i, x := range b {
		rights = append(rights, mach.Right{Fd: mach.Fd(i + 1), Disposition: mach.Disposition(x)})
	}
	return rights
}

func payloadSeeds(f *testing.F) {
	seeds(f, "payload", func(v vector) {
		var b []byte
		for _, r := range v.rights(f) {
			b = append(b, byte(r.Disposition))
		}
		f.Add(v.bytes, b)
	})
}

// FuzzDecode checks that no input is worse than refused, and that a refusal says
// where.
func FuzzDecode(f *testing.F) {
	payloadSeeds(f)
	f.Fuzz(func(t *testing.T, b, dispositions []byte) {
		options := xpc.Options{FileTransfers: true}
		_, _, err := xpc.ParsePayload(b, kinds(dispositions), &options)
		refused(t, err, len(b))
		_, err = xpc.ParseFile(b, &options)
		refused(t, err, len(b))
	})
}

func refused(t *testing.T, err error, size int) {
	t.Helper()
	var fault *xpc.Fault
	switch {
	case err == nil:
	case !errors.As(err, &fault):
		t.Fatalf("%T is no error of this package", err)
	case fault.Offset < 0 || fault.Offset > size || fault.Reason == "" || fault.Why == "":
		t.Fatalf("refused as %+v", fault)
	}
}

// FuzzIdentity checks that what is accepted is written as the same bytes.
func FuzzIdentity(f *testing.F) {
	payloadSeeds(f)
	f.Fuzz(func(t *testing.T, b, dispositions []byte) {
		options := xpc.Options{FileTransfers: true}
		rights := kinds(dispositions)
		if root, err := xpc.ParseFile(b, &options); err == nil {
			again, err := xpc.AppendFile(nil, root, &options)
			if err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x, %v, want %x", again, err, b)
			}
		}
		magic, root, err := xpc.ParsePayload(b, rights, &options)
		if err != nil {
			return
		}
		again, order, err := xpc.AppendPayload(nil, magic, root, &options)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x, %v, want %x", again, err, b)
		}
		seen := make(map[mach.Fd]bool)
		for _, r := range order {
			seen[r.Fd] = true
		}
		if len(order) != len(rights) || len(seen) != len(rights) {
			t.Fatalf("rights are %v, want each of %v once", order, rights)
		}
	})
}

// FuzzMessage checks framing: what is read is written so that it reads the same.
func FuzzMessage(f *testing.F) {
	seeds(f, "message", func(v vector) { f.Add(v.bytes, uint8(len(v.fds))) })
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8) {
		m, err := xpc.ParseMessage(packet, int(fds), nil)
		var framing *mach.FramingError
		var fault *xpc.Fault
		switch {
		case errors.As(err, &framing):
			return
		case errors.As(err, &fault):
			refused(t, err, len(packet))
			if fault.Silent() {
				return
			}
			if _, _, err := fault.Reply().Append(nil, nil); err != nil {
				t.Fatal(err)
			}
			return
		case err != nil:
			t.Fatalf("%T is no error of this package", err)
		}
		again, rights, err := m.Append(nil, nil)
		if err != nil || len(rights) != int(fds) {
			t.Fatalf("written with %v, %v", rights, err)
		}
		back, err := xpc.ParseMessage(again, int(fds), nil)
		if err != nil {
			t.Fatal(err)
		}
		third, rights, err := back.Append(nil, nil)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x, then %x, %v", again, third, err)
		}
		for i, r := range rights {
			if r.Fd != mach.Fd(i+1) {
				t.Fatalf("rights are in the order %v", rights)
			}
		}
		pipe(t, m)
	})
}

// pipe checks the routine of a message that is one.
func pipe(t *testing.T, m xpc.Message) {
	t.Helper()
	r, err := xpc.ParseRequest(m)
	var refusal *xpc.Refusal
	switch {
	case errors.As(err, &refusal):
		if code, err := refusal.Reply().Root.Int("error"); err != nil || code == 0 {
			t.Fatalf("%v is answered with %d, %v", refusal, code, err)
		}
		return
	case err != nil:
		t.Fatalf("%T is no error of this package", err)
	}
	back, err := xpc.ParseRequest(r.Message())
	back.Numbered = r.Numbered // 206 and 207 always become so
	if diff := cmp.Diff(r, back); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
}
