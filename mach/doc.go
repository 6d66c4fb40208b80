// SPDX-License-Identifier: Apache-2.0

// Package mach speaks to the bootstrap server of Switchboard as software written to the Mach bootstrap API does: it checks in, registers
// and looks up names, and sends messages with rights and out-of-line memory through the ports that it gets. docs/mach.md is the page for
// users, and the specification.
//
// A server makes itself known and answers:
//
//	b, err := mach.Connect(ctx, mach.Options{})
//	port, err := b.CheckIn(ctx, "com.example.echo")
//	for {
//		m, err := port.Receive(ctx)
//		if m.Reply != nil {
//			err = m.Reply.Send(ctx, &mach.Message{ID: m.ID + 100, Body: m.Body})
//		}
//		m.Close()
//	}
//
// and who wants something of it says
//
//	port, err := b.LookUp(ctx, "com.example.echo")
//	reply, err := port.Call(ctx, &mach.Message{ID: 500, Body: []byte("hello")})
//
// # Rights own descriptors
//
// A [ReceiveRight], [SendRight], [SendOnceRight] or [Memory] has a descriptor until it is closed, or sent in a message: then it is the
// receiver's, and here every further use is [ErrClosed]. Nothing is closed by the garbage collector. A [Message] that was received is to
// be closed: that closes what is in it, and tells who waits for a reply that none comes.
//
// # One program, one connection
//
// What a program checks in is its own until its [Bootstrap] is closed or its process ends, whichever is first. All descriptors are
// close-on-exec, so a child that is started opens its own connection: by SWITCHBOARD_BOOTSTRAP, or, where the path is not to be reached
// or leads to another namespace, through a bootstrap port that its parent passes on:
//
//	f, err := space.File() // what Subset returned
//	cmd.ExtraFiles = []*os.File{f} // number 3
//	cmd.Env = append(os.Environ(), switchboard.EnvBootstrapFD+"=3")
//
// A process that forks without executing another program, which Go programs don't, must not use the connection in both.
//
// Outside Linux everything returns [errors.ErrUnsupported].
package mach
