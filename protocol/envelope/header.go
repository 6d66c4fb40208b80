// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTooLong means that a header announces a body beyond what is allowed; the
// error is a *LengthError.
var ErrTooLong = errors.New("frame is too long")

// FramingError means that the first byte is not that of version 1.
type FramingError struct{ Byte byte }

func (e *FramingError) Error() string {
	return fmt.Sprintf("framing version is %d, not %d", e.Byte, Version)
}

// LengthError tells how long a body was announced to be.
type LengthError struct {
	Length uint32 // bytes
	Limit  int    // bytes
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%v: %d bytes, and at most %d are allowed", ErrTooLong, e.Length, e.Limit)
}

// Unwrap returns ErrTooLong.
func (e *LengthError) Unwrap() error { return ErrTooLong }

// Header returns how long the body is whose header b begins with; n < 0 asks
// for more bytes. The version is checked as soon as its byte is there. Errors
// are *FramingError and *LengthError (section 2).
func Header(b []byte) (n int, err error) { return HeaderWithin(b, MaxBody) }

// HeaderWithin is Header with another limit for the length of the body.
func HeaderWithin(b []byte, limit int) (n int, err error) {
	if len(b) > 0 && b[0] != Version {
		return 0, &FramingError{b[0]}
	}
	if len(b) < HeaderSize {
		return -1, nil
	}
	length := binary.LittleEndian.Uint32(b[1:])
	if uint64(length) > uint64(limit) {
		return 0, &LengthError{length, limit}
	}
	return int(length), nil
}

// Missing names what is not complete in b, which begins with a header that
// passes Header, or with less: "framing byte", "body length header", "frame
// body", or "" if the frame is complete.
func Missing(b []byte) string {
	switch {
	case len(b) == 0:
		return "framing byte"
	case len(b) < HeaderSize:
		return "body length header"
	case uint64(len(b)-HeaderSize) < uint64(binary.LittleEndian.Uint32(b[1:])):
		return "frame body"
	}
	return ""
}
