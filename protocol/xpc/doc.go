// SPDX-License-Identifier: Apache-2.0

// Package xpc reads and writes XPC messages as one packet each (the XPC
// reference; sections below are its). Bytes in, values out: it knows no sockets,
// and a right is the position of its file descriptor among those that came with
// the packet, as in package mach.
//
//	var root xpc.Dict
//	root.Set("name", xpc.String("com.example.echo"))
//	root.Set("port", xpc.MachSend{Right: mach.Right{Fd: 1}})
//	packet, rights, err := xpc.Message{Kind: xpc.KindMessage, Token: 7, Root: root}.Append(nil, nil)
//
// and on the other side
//
//	m, err := xpc.ParseMessage(packet, fds, nil)
//	name, err := m.Root.String("name")
//
// where the error of ParseMessage is a [*mach.FramingError], upon which the
// connection is to be closed, or a [*Fault], whose Reply is sent unless it is
// Silent. In both cases the descriptors that came along are the caller's to close.
//
// What is decoded shares no memory with the bytes that it was read from. The
// bytes of an accepted payload are the only ones that its values have: reading
// and writing them again is the identity. Memory taken is a small multiple of the
// input, whatever lengths and counts say.
//
// [ParseRequest] and [ParseAnswer] are the routines of launchd's pipe (section 6)
// as far as they are typed dictionaries; who answers them is elsewhere.
package xpc
