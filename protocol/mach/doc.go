// SPDX-License-Identifier: Apache-2.0

// Package mach reads and writes Mach bootstrap messages as one packet each
// (the Mach bootstrap reference; sections below are its), and those that Switchboard
// adds, 710 and 711 (docs/mach.md). Bytes in, values out:
// it knows no sockets, and a right is the position of its file descriptor among
// those that came with the packet.
//
//	packet, err := mach.Request{Routine: mach.LookUp, Token: 7, Service: "com.example.echo"}.Append(nil)
//
// and on the other side
//
//	req, err := mach.ParseRequest(packet, fds)
//
// where err is a [*FramingError], upon which the connection is to be closed, or a
// [*Fault], which is answered with 36 bytes. In both cases the descriptors that
// came along are the caller's to close.
//
// All integers are little-endian. Messages have the "as sent" view in both
// directions: nobody swaps remote and local port.
package mach
