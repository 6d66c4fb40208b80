// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, chunk - 8, chunk + 1, 1 << 20} {
		var b bytes.Buffer
		f := envelope.Frame{PayloadProtocol: 0xF415, Payload: make([]byte, size), RequestID: 4}
		if err := WriteFrame(&b, f); err != nil {
			t.Fatal(err)
		}
		b.WriteString("rest")
		got, err := ReadFrame(iotest.HalfReader(&b), 0)
		if err != nil || len(got.Payload) != size || got.EnvelopeVersion != envelope.Version || got.RequestID != 4 {
			t.Errorf("%d bytes: %d, %v", size, len(got.Payload), err)
		}
		if b.String() != "rest" {
			t.Errorf("left: %d bytes", b.Len())
		}
	}
}

func TestFrameLimits(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	f := envelope.Frame{EnvelopeVersion: 1, Payload: make([]byte, 100)}
	n := len(f.Append(nil))
	b.Write(f.AppendFramed(nil))
	if _, err := ReadFrame(bytes.NewReader(b.Bytes()), n); err != nil {
		t.Error(err)
	}
	var long *envelope.LengthError
	if _, err := ReadFrame(bytes.NewReader(b.Bytes()), n-1); !errors.As(err, &long) || long.Limit != n-1 {
		t.Error(err)
	}
	if _, err := ReadFrame(bytes.NewReader([]byte{1, 1, 0, 0, 1}), 1<<30); !errors.Is(err, envelope.ErrTooLong) {
		t.Error(err)
	}
	var framing *envelope.FramingError
	if _, err := ReadFrame(bytes.NewReader([]byte("G")), 0); !errors.As(err, &framing) {
		t.Error(err)
	}
	if _, err := ReadFrame(bytes.NewReader(nil), 0); err != io.EOF {
		t.Error(err)
	}
	for cut := 1; cut < b.Len(); cut++ {
		if _, err := ReadFrame(bytes.NewReader(b.Bytes()[:cut]), 0); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v", cut, err)
		}
	}
	if _, err := ReadFrame(io.LimitReader(zeroes{}, 1000), 0); !errors.As(err, &framing) {
		t.Error(err)
	}
	big := append([]byte{1, 0, 0, 0, 1}, make([]byte, 200_000)...)
	if _, err := ReadFrame(bytes.NewReader(big), 0); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if err := WriteFrame(io.Discard, envelope.Frame{Payload: make([]byte, envelope.MaxBody)}); !errors.Is(err, envelope.ErrTooLong) {
		t.Error(err)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }
