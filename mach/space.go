// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"

	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Subset makes a namespace below this one, which ends when the requestor's port dies. It returns its bootstrap port: see [Options].Port,
// and [SendRight.File] for a child. The caller keeps the requestor right.
func (b *Bootstrap) Subset(ctx context.Context, requestor *SendRight) (*SendRight, error) {
	const op = "make a subset"
	r := wire.Request{Routine: wire.Subset, Right: wire.Right{Disposition: wire.CopySend}}
	if requestor == nil {
		return b.sendRight(ctx, op, "", r) // the broker says why not
	}
	fd, err := requestor.end.enter()
	if err != nil {
		return nil, during(op, "", err)
	}
	defer requestor.end.leave()
	r.Right.Fd = 1
	return b.sendRight(ctx, op, "", r, fd)
}

// Parent returns the bootstrap port of the namespace around this one; the root is its own parent.
func (b *Bootstrap) Parent(ctx context.Context) (*SendRight, error) {
	return b.sendRight(ctx, "get the parent", "", wire.Request{Routine: wire.Parent})
}

// Root returns the bootstrap port of the outermost namespace.
func (b *Bootstrap) Root(ctx context.Context) (*SendRight, error) {
	return b.sendRight(ctx, "get the root", "", wire.Request{Routine: wire.GetRoot})
}

// Launch is the program that Spawn starts.
type Launch = wire.Launch

// Spawn has the broker start a program, and returns its process id. The path is absolute, Args begin with the program's own name, and Env
// is all of its environment beside what leads to the broker. NotPrivileged: the broker's configuration does not allow it.
func (b *Bootstrap) Spawn(ctx context.Context, l Launch) (pid int, err error) {
	const op = "spawn"
	reply, fds, err := b.do(ctx, op, l.Path, wire.Request{Routine: wire.Spawn, Launch: l})
	switch {
	case err != nil:
		return 0, err
	case reply.Shape != wire.ValueReply:
		return 0, unexpected(op, l.Path, reply, fds)
	}
	return int(reply.Value), nil
}
