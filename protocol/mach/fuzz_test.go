// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// seeds adds all packets of the repository's vectors.
func seeds(f *testing.F, more ...any) {
	for _, v := range readVectors(f) {
		packet, err := hex.DecodeString(v.Text(f, "hex"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]any{packet, uint8(len(v.List(f, "fds")))}, more...)...)
	}
}

// rejected checks that an error is one of this package's, and that a fault can be
// answered.
func rejected(t *testing.T, err error) {
	t.Helper()
	var framing *mach.FramingError
	var fault *mach.Fault
	switch {
	case errors.As(err, &framing):
	case errors.As(err, &fault):
		packet, err := fault.Reply().Append(nil)
		if err != nil || len(packet) != 36 || fault.Code == mach.OK {
			t.Fatalf("%v is answered with %x, %v", fault, packet, err)
		}
	default:
		t.Fatalf("%T is no error of this package", err)
	}
}

// roundTrip checks that what was read is written so that it reads the same.
func roundTrip[T interface{ Append([]byte) ([]byte, error) }](t *testing.T, v T, fds int, parse func([]byte, int) (T, error)) {
	t.Helper()
	packet, err := v.Append([]byte("kept"))
	if err != nil {
		t.Fatalf("cannot write %+v: %v", v, err)
	}
	if !bytes.HasPrefix(packet, []byte("kept")) {
		t.Fatal("Append does not append")
	}
	again, err := parse(packet[len("kept"):], fds)
	if err != nil {
		t.Fatalf("cannot read %x: %v", packet, err)
	}
	if diff := cmp.Diff(v, again); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzParseRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8) {
		req, err := mach.ParseRequest(packet, int(fds))
		if err != nil {
			rejected(t, err)
			return
		}
		roundTrip(t, req, int(fds), mach.ParseRequest)
		if _, err := req.Granted().Append(nil); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8) {
		reply, err := mach.ParseReply(packet, int(fds))
		if err != nil {
			rejected(t, err)
			return
		}
		roundTrip(t, reply, int(fds), mach.ParseReply)
	})
}

func FuzzParseNotification(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8) {
		n, err := mach.ParseNotification(packet, int(fds))
		if err != nil {
			rejected(t, err)
			return
		}
		roundTrip(t, n, int(fds), mach.ParseNotification)
	})
}

func FuzzParseMessage(f *testing.F) {
	seeds(f, false)
	seeds(f, true)
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8, onPort bool) {
		place := mach.OnControl
		if onPort {
			place = mach.OnPort
		}
		m, err := mach.ParseMessage(packet, int(fds), place)
		if err != nil {
			rejected(t, err)
			return
		}
		again, err := mach.ParseMessage(m.Append(nil), int(fds), place)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
