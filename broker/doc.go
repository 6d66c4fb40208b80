// SPDX-License-Identifier: Apache-2.0

// Package broker is the Switchboard daemon as a library: what `switchboard serve` runs, what tests start,
// and what a single-binary application embeds.
//
//	b, err := broker.New(broker.Config{RuntimeDir: dir})
//	if err != nil { … }
//	err = b.Serve(ctx) // until ctx ends, a client asks for shutdown, or the broker was idle for long enough
//
// A request takes one way: accept → identify → decode → apply to the directory → carry out its actions → reply. The
// directory (internal/directory) decides everything and does nothing; this package does what it is told, under one lock.
// The lock's holder applies one event and carries out its actions before it lets go; every send is non-blocking.
// Look-ups take no lock: they read an index that is updated before the reply that makes a name known.
//
// Two kinds of goroutines: one loop (epoll) for broker.sock, the listening sockets, doors and bootstrap ports, the pidfds of peers, the ports
// whose death is noticed here, and callers that wait; and one goroutine for each session and each control connection of the Mach front.
//
// The broker relays nothing: a connection is passed to its service and is gone from here.
package broker
