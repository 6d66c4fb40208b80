// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"strconv"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// State is what becomes of a message to a name.
type State int32

// The states.
const (
	Inactive State = 0 // it waits: nobody has checked the name in
	Active   State = 1 // a program has it, or has registered it
	OnDemand State = 2 // it waits, and the broker starts who reads it
)

// String returns "inactive", "active" or "on demand".
func (s State) String() string {
	switch s {
	case Inactive:
		return "inactive"
	case Active:
		return "active"
	case OnDemand:
		return "on demand"
	}
	return "state " + strconv.Itoa(int(s))
}

// Status returns the state of a name.
func (b *Bootstrap) Status(ctx context.Context, name string) (State, error) {
	const op = "ask for the status of"
	reply, fds, err := b.do(ctx, op, name, wire.Request{Routine: wire.Status, Service: name})
	switch {
	case err != nil:
		return 0, err
	case reply.Shape != wire.ValueReply:
		return 0, unexpected(op, name, reply, fds)
	}
	return State(reply.Value), nil
}

// Service is a name of a namespace.
type Service struct {
	Name  string
	Job   string // who has it, or is started for it: a name for people
	State State
}

// maxServices is more than a broker has; a list that is longer is not read.
const maxServices = 1 << 20

// Info returns the names of this namespace, and not those around it, without names of one process' own.
func (b *Bootstrap) Info(ctx context.Context) ([]Service, error) {
	const op = "list the names"
	reply, fds, err := b.do(ctx, op, "", wire.Request{Routine: wire.Info})
	if err != nil {
		return nil, err
	}
	defer sys.CloseAll(fds)
	n := reply.Counts[0]
	if reply.Shape != wire.InfoReply || reply.Counts != [3]uint32{n, n, n} || n > maxServices {
		return nil, unexpected(op, "", reply, nil)
	}
	var lists [3][]byte
	for i, m := range reply.Lists {
		size := int(n) * wire.NameSize
		if i == 2 {
			size = int(n) * 4
		}
		switch {
		case size == 0:
		case int(m.Length) != size || !m.Fd.Carried():
			return nil, unexpected(op, "", reply, nil)
		default:
			if lists[i], err = sys.ReadSealed(fds[m.Fd-1], size); err != nil {
				return nil, during(op, "", err)
			}
		}
	}
	names, err := wire.ParseNames(lists[0], n)
	if err != nil {
		return nil, during(op, "", err)
	}
	jobs, err := wire.ParseNames(lists[1], n)
	if err != nil {
		return nil, during(op, "", err)
	}
	states, err := wire.ParseStates(lists[2], n)
	if err != nil {
		return nil, during(op, "", err)
	}
	services := make([]Service, n)
	for i := range services {
		services[i] = Service{names[i], jobs[i], State(states[i])}
	}
	return services, nil
}
