// SPDX-License-Identifier: Apache-2.0

// Package session reads and writes the packets of a session: the fixed header
// and the payloads of docs/session.md, sections 3, 4 and 7, whose messages are
// specified in session.proto. Bytes in, values out: it knows no sockets.
//
// A packet is a header with a payload behind it:
//
//	b := session.Header{Kind: session.KindRequest, Op: session.OpLookUp, ID: 1}.Append(nil)
//	b = session.LookUp{Name: "com.example.up"}.Append(b)
//
//	h, payload, err := session.ParseHeader(b)
//	m, err := session.ParseLookUp(payload)
//
// Append never fails and does not allocate if b has room. Fields that are zero
// are not encoded; text that is not UTF-8 is made so with U+FFFD. The decoders
// are strict: an error means a fault that ends the session. What they return
// shares nothing with their input, except where they say so.
package session
