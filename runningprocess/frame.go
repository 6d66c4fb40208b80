// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"bytes"
	"errors"
	"io"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// chunk is how much memory an announced body gets before any of it has come, in bytes.
const chunk = 64 << 10

// ReadFrame reads one frame (sections 2 and 3), and nothing behind it. Its body may
// have up to limit bytes; 0 is envelope.MaxBody. The frame may be of any kind and
// protocol. Errors: io.EOF if nothing came, io.ErrUnexpectedEOF within a frame,
// *envelope.FramingError, *envelope.LengthError, those of envelope.ParseFrame, and
// those of r.
func ReadFrame(r io.Reader, limit int) (envelope.Frame, error) {
	if limit <= 0 || limit > envelope.MaxBody {
		limit = envelope.MaxBody
	}
	var header [envelope.HeaderSize]byte
	if _, err := io.ReadFull(r, header[:1]); err != nil {
		return envelope.Frame{}, err
	}
	if _, err := envelope.HeaderWithin(header[:1], limit); err != nil {
		return envelope.Frame{}, err // without a wait for what is no header
	}
	if _, err := io.ReadFull(r, header[1:]); err != nil {
		return envelope.Frame{}, within(err)
	}
	n, err := envelope.HeaderWithin(header[:], limit)
	if err != nil {
		return envelope.Frame{}, err
	}
	body, err := readBody(r, n)
	if err != nil {
		return envelope.Frame{}, within(err)
	}
	return envelope.ParseFrame(body)
}

// readBody reads n bytes. Memory comes as they do.
func readBody(r io.Reader, n int) ([]byte, error) {
	if n <= chunk {
		body := make([]byte, n)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	var body bytes.Buffer
	body.Grow(chunk)
	_, err := io.CopyN(&body, r, int64(n))
	return body.Bytes(), err
}

// within says of the end of a stream that it came within a frame.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteFrame writes a frame, in one piece. An EnvelopeVersion of 0 is sent as
// envelope.Version. Errors: *envelope.LengthError if the body is longer than
// envelope.MaxBody, and those of w.
func WriteFrame(w io.Writer, f envelope.Frame) error {
	if f.EnvelopeVersion == 0 {
		f.EnvelopeVersion = envelope.Version
	}
	data := f.AppendFramed(nil)
	if n := len(data) - envelope.HeaderSize; n > envelope.MaxBody {
		return &envelope.LengthError{Length: uint32(n), Limit: envelope.MaxBody}
	}
	_, err := w.Write(data)
	return err
}
