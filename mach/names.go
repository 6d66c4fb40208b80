// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"fmt"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Flags change what a routine does; see each.
type Flags = wire.Flags

// The flags.
const (
	PerPID           = wire.PerPID           // 1: a name of one process' own
	PrivilegedServer = wire.PrivilegedServer // 8: the owner must be root
	ForceLocal       = wire.ForceLocal       // 16: as StrictLookup
	SpecificInstance = wire.SpecificInstance // 32: LookUpInstance sets it
	StrictCheckIn    = wire.StrictCheckIn    // 64: the name must have been declared
	StrictLookup     = wire.StrictLookup     // 128: only in this namespace, not in those around it
)

func all(flags []Flags) (f Flags) {
	for _, flag := range flags {
		f |= flag
	}
	return f
}

// CheckIn makes the program the owner of a name and returns where its messages arrive: of a declared name with all that was sent to it
// while nobody had it, of any other a new port. ServiceActive: somebody has it. With StrictCheckIn a name that was not declared is
// UnknownService. It is the program's until the connection ends, or the process.
//
// If ctx ends meanwhile, the name may be the program's all the same, until the Bootstrap is closed.
func (b *Bootstrap) CheckIn(ctx context.Context, name string, flags ...Flags) (*ReceiveRight, error) {
	const op = "check in"
	reply, fds, err := b.do(ctx, op, name, wire.Request{Routine: wire.CheckIn2, Service: name, Flags: all(flags)})
	if err != nil {
		return nil, err
	}
	fd, err := only(op, name, reply, fds, wire.PortReply, wire.InstanceReply)
	if err != nil {
		return nil, err
	}
	return &ReceiveRight{end: newEnd(fd), instance: reply.UUID}, nil
}

// only returns the right of a reply that has one shape of those wanted.
func only(op, name string, reply wire.Reply, fds []int, shapes ...wire.Shape) (*sys.FD, error) {
	for _, shape := range shapes {
		if reply.Shape == shape && reply.Right.Fd.Carried() && len(fds) == 1 {
			return sys.NewFD(fds[0]), nil
		}
	}
	sys.CloseAll(fds)
	if reply.Shape == wire.PortReply || reply.Shape == wire.InstanceReply {
		return nil, &Error{Code: InvalidRight, Op: op, Name: name, Text: "the broker has sent no right"}
	}
	return nil, unexpected(op, name, reply, nil)
}

// unexpected is a reply of another shape than the request's; its descriptors are closed.
func unexpected(op, name string, reply wire.Reply, fds []int) error {
	sys.CloseAll(fds)
	text := fmt.Sprintf("the broker's reply has %d bytes, which is no reply to this", reply.Shape.Size())
	return &Error{Code: ReplyMismatch, Op: op, Name: name, Text: text}
}

// Register makes a send right known under a name that nobody has; the caller keeps its own. NameInUse: somebody has it. The name goes
// when the port dies, or the connection, or the process. A nil right takes a name back that CreateService made and nobody has checked in.
func (b *Bootstrap) Register(ctx context.Context, name string, port *SendRight, flags ...Flags) error {
	const op = "register"
	r := wire.Request{Routine: wire.Register2, Service: name, Flags: all(flags), Right: wire.Right{Disposition: wire.CopySend}}
	if port == nil {
		return b.status(ctx, op, name, r)
	}
	fd, err := port.end.enter()
	if err != nil {
		return during(op, name, err)
	}
	defer port.end.leave()
	r.Right.Fd = 1
	return b.status(ctx, op, name, r, fd)
}

// status does what is answered with a code only.
func (b *Bootstrap) status(ctx context.Context, op, name string, r wire.Request, fds ...int) error {
	reply, got, err := b.do(ctx, op, name, r, fds...)
	if err == nil && reply.Shape != wire.StatusReply {
		return unexpected(op, name, reply, got)
	}
	return err
}

// LookUp returns a send right to who has a name, in this namespace or one around it. A name that is declared, and that nobody has checked
// in, has one too: what is sent waits for its owner, whom the broker may start for it. Nobody: UnknownService.
func (b *Bootstrap) LookUp(ctx context.Context, name string, flags ...Flags) (*SendRight, error) {
	return b.lookUp(ctx, wire.Request{Routine: wire.LookUp3, Service: name, Flags: all(flags)})
}

// LookUpProcess looks up a name that a process has for itself alone: one that it checked in or registered with PerPID.
func (b *Bootstrap) LookUpProcess(ctx context.Context, name string, pid int, flags ...Flags) (*SendRight, error) {
	return b.lookUp(ctx, wire.Request{Routine: wire.LookUp3, Service: name, PID: int32(pid), Flags: all(flags) | PerPID})
}

// LookUpInstance looks up a name whose port is still the instance that [ReceiveRight.Instance] told, and not one that came after it.
func (b *Bootstrap) LookUpInstance(ctx context.Context, name string, instance [16]byte, flags ...Flags) (*SendRight, error) {
	return b.lookUp(ctx, wire.Request{Routine: wire.LookUp3, Service: name, UUID: instance, Flags: all(flags) | SpecificInstance})
}

func (b *Bootstrap) lookUp(ctx context.Context, r wire.Request) (*SendRight, error) {
	return b.sendRight(ctx, "look up", r.Service, r)
}

// sendRight does what is answered with a send right.
func (b *Bootstrap) sendRight(ctx context.Context, op, name string, r wire.Request, fds ...int) (*SendRight, error) {
	reply, got, err := b.do(ctx, op, name, r, fds...)
	if err != nil {
		return nil, err
	}
	fd, err := only(op, name, reply, got, wire.PortReply)
	if err != nil {
		return nil, err
	}
	return &SendRight{newEnd(fd)}, nil
}

// LookUpMany looks up at most 20 names at once. The rights are in the names' order, nil for one that is unknown.
func (b *Bootstrap) LookUpMany(ctx context.Context, names ...string) (rights []*SendRight, err error) {
	const op = "look up many names"
	for _, name := range names {
		if err := badName(op, name); err != nil {
			return nil, err
		}
	}
	list, err := sys.SealedMemory("names", wire.AppendNames(nil, names...))
	if err != nil {
		return nil, during(op, "", err)
	}
	defer list.Close()
	r := wire.Request{Routine: wire.LookUpArray, Count: uint32(len(names))}
	r.Names = wire.Memory{Fd: 1, Length: uint32(len(names) * wire.NameSize), Copy: 1}
	reply, fds, err := b.do(ctx, op, "", r, list.Int())
	switch {
	case err != nil:
		return nil, err
	case reply.Shape != wire.ArrayReply || int(reply.Count) != len(names) || reply.Ports.Length != reply.Count:
		return nil, unexpected(op, "", reply, fds)
	case len(names) == 0:
		sys.CloseAll(fds)
		return nil, nil
	case !reply.Ports.Fd.Carried():
		return nil, unexpected(op, "", reply, fds)
	}
	memory, err := sys.ReadSealed(fds[0], 4*len(names))
	var ports []wire.Fd
	if err == nil {
		ports, err = wire.ParsePorts(memory, reply.Count, reply.Ports.Fd+1, wire.Fd(len(fds)))
	}
	if err != nil {
		sys.CloseAll(fds)
		return nil, during(op, "", err)
	}
	sys.CloseAll(fds[:1])
	rights = make([]*SendRight, len(names))
	for i, at := range ports {
		if at.Carried() {
			rights[i] = &SendRight{newEnd(sys.NewFD(fds[at-1]))}
		}
	}
	return rights, nil
}

// CreateService declares a name that nobody has, and returns a right to it: what is sent waits until somebody checks it in. The name
// belongs to the namespace, not to this program: it stays until the namespace ends, or Register takes it back.
func (b *Bootstrap) CreateService(ctx context.Context, name string) (*SendRight, error) {
	return b.sendRight(ctx, "create the service", name, wire.Request{Routine: wire.CreateService, Service: name})
}
