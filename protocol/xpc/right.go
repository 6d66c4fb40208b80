// SPDX-License-Identifier: Apache-2.0

package xpc

import "github.com/switchboard-ipc/switchboard/protocol/mach"

// queues hand out the rights of a message: one queue of receive rights and one of
// all others, which reads both known orders of descriptors alike (section 5).
type queues struct {
	all   []mach.Right
	next  [2]int // where each queue goes on
	taken int
}

// take returns the next right that a value of the type may take.
func (q *queues) take(t Type) (mach.Right, bool) {
	queue := &q.next[0]
	if t == TypeMachRecv {
		queue = &q.next[1]
	}
	for ; *queue < len(q.all); *queue++ {
		if r := q.all[*queue]; fits(t, r) {
			*queue++
			q.taken++
			return r, true
		}
	}
	return mach.Right{}, false
}

// fits reports whether a right is of the kind that a type carries. A send right
// is one however it is sent: 17, 19 or 20.
func fits(t Type, r mach.Right) bool {
	if !r.Fd.Carried() {
		return false
	}
	if t == TypeMachRecv {
		return r.Disposition.Receive()
	}
	return r.Disposition.Send()
}

// right reads what follows the tag of a value that carries a right.
func (d *decoder) right(t Type, end int) (Value, *Fault) {
	at := d.at
	size := uint64(0)
	if t == TypeShmem {
		var f *Fault
		if size, f = d.long(end); f != nil {
			return nil, f
		}
	}
	r, ok := d.rights.take(t)
	if !ok {
		return nil, fail(at-4, ReasonRight, "no right of its kind is left for "+t.String())
	}
	switch t {
	case TypeFD:
		return FD{r}, nil
	case TypeShmem:
		return Shmem{r, size}, nil
	case TypeMachSend:
		return MachSend{r}, nil
	case TypeEndpoint:
		return Endpoint{r}, nil
	}
	return MachRecv{r}, nil
}

// noRights is the limit where there is no message to carry them.
const noRights = -1

// right notes the right of a value that is written.
func (e *encoder) right(t Type, r mach.Right) *Fault {
	if e.options.Rights == noRights {
		return e.fail(ReasonRight, "a file carries no rights")
	}
	if r.Disposition == 0 {
		r.Disposition = t.disposition()
	}
	if !fits(t, r) {
		return e.fail(ReasonRight, t.String()+" cannot carry that right")
	}
	for _, other := range e.rights {
		if other.Fd == r.Fd {
			return e.fail(ReasonRight, "a right is in two values")
		}
	}
	if len(e.rights) == e.options.Rights {
		return e.fail(ReasonLimit, "there are more rights than allowed")
	}
	e.rights = append(e.rights, r)
	return nil
}
