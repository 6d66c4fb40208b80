// SPDX-License-Identifier: Apache-2.0

// Package envelope reads and writes what clients, broker and backends of the
// running-process broker, version 1, say to each other: the framing, its
// messages, and the rules by which a broker answers. Bytes in, values out: it
// knows no sockets, files or clocks. The sections it names are those of the
// protocol, as told in docs/running-process.md.
//
// A connection carries one frame each way. A broker reads it like this:
//
//	n, err := envelope.Header(b)              // body length; err: refuse with RefusedFraming or RefusedTooLong
//	f, err := envelope.ParseFrame(b[5:5+n])   // err: RefusedMalformedFrame
//	hello, refusal := envelope.ParseControl(f)
//	refusal = envelope.CheckHello(hello, pid)
//	reply := f.Answer(hello.Accept(pipe, id, nil))
//	b = reply.AppendFramed(b[:0])
//
// Every message has a method Append, which never fails, and a function
// Parse…, which is strict: a known field with the wrong wire type, text that
// is not UTF-8, field number 0, a field that is cut off and messages nested
// deeper than 100 are errors; unknown fields are skipped; of a scalar given
// twice the last wins, and messages given twice are merged. Fields that are
// zero are not encoded. What is parsed shares nothing with the input, except
// where a type says so.
package envelope
