// SPDX-License-Identifier: Apache-2.0

package mach

import "fmt"

// FramingError is a packet that is no message: its connection is to be closed
// without a reply (section 4.2).
type FramingError struct {
	Why string
}

func (e *FramingError) Error() string { return "cannot frame a Mach message: " + e.Why }

// Fault is a message that is well framed but wrong; a request is answered with
// the 36 bytes of Reply (sections 4.1 and 4.2).
type Fault struct {
	Header Header // of the message at fault
	Code   Code
	Why    string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("message %d of %d bytes: %s (%d): %s", f.Header.ID, f.Header.Size, f.Code, int32(f.Code), f.Why)
}

// Silent reports whether the request wants no reply: nothing is to be sent.
func (f *Fault) Silent() bool { return f.Header.Local == 0 }

// Reply returns the answer to a request at fault. It is not to be sent if the
// fault is Silent.
func (f *Fault) Reply() Reply {
	return Reply{ID: f.Header.ID + replyOffset, Token: f.Header.Local, Code: f.Code}
}
