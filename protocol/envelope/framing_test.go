// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// vectorHeader is something with a header in front of it.
func vectorHeader(t *testing.T, v *vector) {
	b := v.bytes(t)
	wantHex(t, "the header", b[:envelope.HeaderSize], v.Expect.Text(t, "header_hex"))
	n := int(v.Expect.Uint(t, "body_len"))
	if got, err := envelope.Header(b); got != n || err != nil || len(b) != envelope.HeaderSize+n {
		t.Errorf("Header returns %d, %v", got, err)
	}
}

// vectorFraming is a stream of frames, and what a reader makes of it.
func vectorFraming(t *testing.T, v *vector) {
	b := v.bytes(t)
	limit := envelope.MaxBody
	if v.Expect.Has("cap") {
		limit = int(v.Expect.Uint(t, "cap"))
	}
	read := v.Expect.Text(t, "read")
	n, err := envelope.HeaderWithin(b, limit)
	switch {
	case read == "ok":
		var bodies [][]byte
		for rest := b; len(rest) > 0; rest = rest[envelope.HeaderSize+n:] {
			if n, err = envelope.HeaderWithin(rest, limit); err != nil || n < 0 || envelope.Missing(rest) != "" {
				t.Fatalf("Header returns %d, %v", n, err)
			}
			bodies = append(bodies, rest[envelope.HeaderSize:envelope.HeaderSize+n])
		}
		if v.Expect.Has("body_hex") {
			wantHex(t, "the body", bytes.Join(bodies, nil), v.Expect.Text(t, "body_hex"))
		} else if want := v.Expect.List(t, "bodies"); fmt.Sprintf("%s", bodies) != fmt.Sprintf("%s", want) {
			t.Errorf("the bodies are %s, not %s", bodies, want)
		}
	case read != "error":
		if got := fmt.Sprintf("needs %d body bytes", n); err != nil || got != read || envelope.Missing(b) != "frame body" {
			t.Errorf("Header returns %d, %v", n, err)
		}
	default:
		framingError(t, v, n, err)
	}
}

func framingError(t *testing.T, v *vector, n int, err error) {
	switch kind := v.Expect.Text(t, "kind"); kind {
	case "UnsupportedFramingVersion":
		var framing *envelope.FramingError
		if !errors.As(err, &framing) || uint64(framing.Byte) != v.Expect.Uint(t, "got") || v.Expect.Uint(t, "expected") != envelope.Version {
			t.Errorf("Header returns %v", err)
		}
		if _, err := envelope.Header(v.bytes(t)[:1]); !errors.As(err, &framing) {
			t.Errorf("Header of one byte returns %v", err)
		}
	case "FrameTooLarge":
		var length *envelope.LengthError
		if !errors.As(err, &length) || !errors.Is(err, envelope.ErrTooLong) || uint64(length.Length) != v.Expect.Uint(t, "body_length") {
			t.Errorf("Header returns %v", err)
		}
	case "UnexpectedEof":
		if got := envelope.Missing(v.bytes(t)); err != nil || got != v.Expect.Text(t, "context") {
			t.Errorf("Header returns %d, %v; %q is missing", n, err, got)
		}
	default:
		t.Fatalf("unknown error %q", kind)
	}
}

func vectorSideband(t *testing.T, v *vector) {
	if n := v.Expect.Uint(t, "recv_len"); n != envelope.TokenSize || len(v.bytes(t)) != int(n) || v.Expect.Take("framed") != false {
		t.Errorf("it is not a bare token: %d", n)
	}
	v.Expect.Take("ancillary") // is the socket's
	if err := (envelope.HandoffOffer{Token: v.bytes(t)}).CheckToken(offeredToken); err != nil {
		t.Error(hex.EncodeToString(offeredToken[:]), err)
	}
}
