// SPDX-License-Identifier: Apache-2.0

// Package switchboard connects programs on one machine by name.
//
// A program gives itself a name and accepts those who call it:
//
//	l, err := switchboard.Listen(ctx, "com.example.web")
//	...
//	http.Serve(l, handler)
//
// Another one calls the name and has a live, private connection:
//
//	c, err := switchboard.Dial(ctx, "com.example.web")
//
// The connection is a socket between the two programs; the broker that brought them together is out
// of the way. [Peer] says who is on the other side, vouched for by the kernel. A name is free again
// when its owner exits, however it does; [Watch] tells.
//
// A virtual machine's interface on a network is had by name, too:
//
//	lease, err := switchboard.Acquire(ctx, "shared") // lease.Interface, lease.MAC, lease.IP …
//
// # Broker
//
// There is one broker for each user, in the runtime folder ([RuntimeDir]). If none runs, the first call starts
// one with the program `switchboard`; see [Config] for which, and for how to have none started.
// A program that was started by `switchboard run` finds the broker through an inherited descriptor
// ([EnvSessionFD]) instead, in the namespace that it was given.
//
// The functions of this package use one [Client] with the default configuration. It is made by the first call, and reads the
// environment variables then: changing them later changes nothing, and it is never closed. A Client has at most one
// standing connection to the broker, its session, made when it is first needed. [Dial] needs none.
// When the broker ends and another one comes, the Client claims again what it held, and
// repeats what was lost, before a call returns. A [Listener] and a [Watcher] live through that.
//
// # Errors
//
// What the broker refuses is an [*Error] with one of four codes, those of sysexits.h: test for them with
// errors.Is and [ErrUsage], [ErrUnavailable], [ErrTryAgain] and [ErrNotAllowed].
// On systems other than Linux every call fails with [errors.ErrUnsupported].
//
// All methods may be called from several goroutines at once.
package switchboard
