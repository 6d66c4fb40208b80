// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// index finds published names without a lock: an open-addressing table of immutable records. One
// writer at a time (the broker's lock) stores records with atomic writes; a reader sees the old or the new, never half.
type index struct {
	seed  maphash.Seed
	table atomic.Pointer[[]atomic.Pointer[record]]
	used  int // slots that are not nil, removed ones included; the writer's
	live  int
}

// record is one published name, with the payload of its look-up reply ready to be sent.
type record struct {
	hash      uint64
	namespace directory.ID
	name      string
	kind      directory.Kind
	version   string
	reply     []byte
	portRecord
}

// portRecord is what look-ups of the Mach front need of a port. The zero value is none.
type portRecord struct {
	port      *port // nil: the name is no port's
	right     *sharedRight
	uuid      [16]byte
	uid       int    // of who has it, or of the broker
	status    int32  // what status answers
	byLookUps bool   // look-ups launch it
	onLookUp  bool   // it is launched by this look-up
	ofProcess bool   // it is one process' own
	job       string // what has it, for people
}

var removed = new(record) // a slot whose record is gone; searches go on behind it

const firstTable = 64 // a power of two

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	t := make([]atomic.Pointer[record], firstTable)
	x.table.Store(&t)
	return x
}

func (x *index) hash(ns directory.ID, name []byte) uint64 {
	return maphash.Bytes(x.seed, name) ^ uint64(ns)*0x9e3779b97f4a7c15
}

// find returns the record of a name in one namespace, or nil.
func (x *index) find(ns directory.ID, name []byte) *record {
	h := x.hash(ns, name)
	t := *x.table.Load()
	for i := h; ; i++ {
		r := t[i&uint64(len(t)-1)].Load()
		if r == nil {
			return nil
		}
		if r.hash == h && r.namespace == ns && r.name == string(name) {
			return r
		}
	}
}

// resolve searches the namespaces of a chain, innermost first, as far out as all on the way let see.
func (x *index) resolve(chain []directory.Step, name []byte) *record {
	for i := range chain {
		step := &chain[i]
		if r := x.find(step.Namespace, name); r != nil {
			return r
		}
		if step.Only != nil {
			if _, shown := step.Only[string(name)]; !shown {
				return nil
			}
		}
	}
	return nil
}

// portsOf returns the ports of a namespace, those of one process left out, in no order. It is the writer's, too.
func (x *index) portsOf(ns directory.ID) (found []*record) {
	t := *x.table.Load()
	for i := range t {
		if r := t[i].Load(); r != nil && r.namespace == ns && r.port != nil && !r.ofProcess {
			found = append(found, r)
		}
	}
	return found
}

// put publishes a record, in place of one of the same name: who looks meanwhile sees the one or the other.
func (x *index) put(r *record) {
	r.hash = x.hash(r.namespace, []byte(r.name))
	if slot := x.slot(r.namespace, r.name); slot != nil {
		slot.Store(r)
		return
	}
	t := *x.table.Load()
	if (x.used+1)*2 > len(t) {
		t = x.grow()
	}
	i := r.hash
	for t[i&uint64(len(t)-1)].Load() != nil {
		i++
	}
	t[i&uint64(len(t)-1)].Store(r)
	x.used++
	x.live++
}

// remove takes a name out.
func (x *index) remove(ns directory.ID, name string) {
	if slot := x.slot(ns, name); slot != nil {
		slot.Store(removed)
		x.live--
	}
}

// slot returns where the record of a name is, or nil: the writer's.
func (x *index) slot(ns directory.ID, name string) *atomic.Pointer[record] {
	h := x.hash(ns, []byte(name))
	t := *x.table.Load()
	for i := h; ; i++ {
		slot := &t[i&uint64(len(t)-1)]
		r := slot.Load()
		if r == nil {
			return nil
		}
		if r.hash == h && r.namespace == ns && r.name == name {
			return slot
		}
	}
}

// grow publishes a new table with room for twice what lives, without the removed.
func (x *index) grow() []atomic.Pointer[record] {
	size := firstTable
	for size < (x.live+1)*4 {
		size *= 2
	}
	t := make([]atomic.Pointer[record], size)
	old := *x.table.Load()
	for i := range old {
		if r := old[i].Load(); r != nil && r != removed {
			j := r.hash
			for t[j&uint64(size-1)].Load() != nil {
				j++
			}
			t[j&uint64(size-1)].Store(r)
		}
	}
	x.used = x.live
	x.table.Store(&t)
	return t
}
