// SPDX-License-Identifier: Apache-2.0

package mach

// Routine is one form of request: what an id and a size, taken together, mean.
// No two forms have both in common (section 2.4).
type Routine uint8

// The routines. A 2 or 3 at the end is a newer form of the same call.
const (
	SeedCheckIn Routine = iota + 1
	SeedRegister
	SeedLookUp
	SeedParent
	SeedSubset
	CustomRegister
	CustomLookUp
	Spawn

	CreateServer
	Unprivileged
	CheckIn
	Register
	LookUp
	LookUpArray
	Parent
	Status
	Info
	Subset
	CreateService

	Reboot2
	CheckIn2
	Register2
	LookUp2
	LookUp3
	SendSignal
	Info2
	TakeSubset
	Kickstart
	LookUpChildren
	GetRoot

	// What Switchboard adds (docs/mach.md).
	Connect
	Notify
)

// form is what there is to know of a routine. One without operation is in the
// table only for its size: it is answered as an unknown id.
type form struct {
	id      int32
	size    uint32 // in bytes; of Spawn: the least
	complex bool
	op      Op
	dialect Dialect
}

var forms = [...]form{
	SeedCheckIn:    {400, 164, false, OpCheckIn, Seed},
	SeedRegister:   {401, 180, true, OpRegister, Seed},
	SeedLookUp:     {402, 164, false, OpLookUp, Seed},
	SeedParent:     {404, 24, false, OpParent, Seed},
	SeedSubset:     {405, 40, true, OpSubset, Seed},
	CustomRegister: {700, 180, true, OpRegister, Custom},
	CustomLookUp:   {701, 164, false, OpLookUp, Custom},
	Spawn:          {702, spawnHead, false, OpSpawn, Custom},

	CreateServer:  {400, 552, false, OpCreateServer, Canonical},
	Unprivileged:  {401, 24, false, OpUnprivileged, Canonical},
	CheckIn:       {402, 160, false, OpCheckIn, Canonical},
	Register:      {403, 176, true, OpRegister, Canonical},
	LookUp:        {404, 160, false, OpLookUp, Canonical},
	LookUpArray:   {405, 56, true, OpLookUpArray, Canonical},
	Parent:        {406, 24, false, OpParent, Canonical},
	Status:        {407, 160, false, OpStatus, Canonical},
	Info:          {408, 24, false, OpInfo, Canonical},
	Subset:        {409, 40, true, OpSubset, Canonical},
	CreateService: {410, 160, false, OpCreateService, Canonical},

	Reboot2:        {401, 40, false, OpReboot, Canonical},
	CheckIn2:       {402, 168, false, OpCheckIn, Canonical},
	Register2:      {403, 184, true, OpRegister, Canonical},
	LookUp2:        {404, 172, false, OpLookUp, Canonical},
	LookUp3:        {404, 188, false, OpLookUp, Canonical},
	SendSignal:     {405, 164, false, OpSendSignal, Canonical},
	Info2:          {408, 40, false, OpInfo, Canonical},
	TakeSubset:     {411, 24, false, OpTakeSubset, Canonical},
	Kickstart:      {423, 164, false, OpKickstart, Canonical},
	LookUpChildren: {425, 24, false, OpLookUpChildren, Canonical},
	GetRoot:        {436, 24, false, OpGetRoot, Canonical},

	Connect: {710, 40, true, OpConnect, Custom},
	Notify:  {711, 64, true, OpNotify, Custom},

	Notify + 1: {407, 40, true, 0, Canonical}, // post_fork_ping
}

func (r Routine) form() *form {
	if r == 0 || int(r) >= len(forms) || forms[r].op == 0 {
		return nil
	}
	return &forms[r]
}

// ID returns the id of the requests; 0: there is no such routine.
func (r Routine) ID() int32 {
	if f := r.form(); f != nil {
		return f.id
	}
	return 0
}

// Size returns the length of the requests in bytes, of Spawn the least one.
func (r Routine) Size() int {
	if f := r.form(); f != nil {
		return int(f.size)
	}
	return 0
}

// Op returns what the routine asks for; 0: there is no such routine.
func (r Routine) Op() Op {
	if f := r.form(); f != nil {
		return f.op
	}
	return 0
}

// Dialect returns which generation the routine is of; 0: there is no such routine.
func (r Routine) Dialect() Dialect {
	if f := r.form(); f != nil {
		return f.dialect
	}
	return 0
}

// String returns operation and dialect, such as "check_in (seed)", or "look_up2 (canonical)" for a newer form.
func (r Routine) String() string {
	newer := ""
	switch r {
	case CheckIn2, Register2, LookUp2:
		newer = "2"
	case LookUp3:
		newer = "3"
	}
	return r.Op().String() + newer + " (" + r.Dialect().String() + ")"
}

// RoutineName returns what a message of that id and size asks for or tells, such as
// "look_up (canonical)" or "dead name", and "" for one that is not known. It is for logs.
func RoutineName(id int32, size int) string {
	for i := range forms {
		f := &forms[i]
		switch {
		case f.id != id || id == 0 || int(f.size) != size && (f.op != OpSpawn || size < int(f.size)):
		case f.op == 0:
			return "post_fork_ping (canonical)"
		default:
			return Routine(i).String()
		}
	}
	if e := Event(id); e.form() != nil && int(e.form().size) == size {
		return e.String()
	}
	return ""
}

// dispatch finds the routine of a well framed message with that many descriptors:
// steps 1 and 2 of section 4.1.
func dispatch(h Header, count int) (Routine, *Fault) {
	known := false
	for i := range forms {
		f := &forms[i]
		if f.id != h.ID || f.id == 0 {
			continue
		}
		known = true
		if h.Size != f.size && (f.op != OpSpawn || h.Size < f.size) {
			continue
		}
		switch {
		case f.op == 0:
			return 0, &Fault{h, BadID, "the routine is not served"}
		case f.complex != h.Bits.Complex():
			return 0, &Fault{h, BadArguments, "the routine has another complex bit"}
		case f.complex && count != f.op.descriptors():
			return 0, &Fault{h, BadArguments, "the routine has another number of descriptors"}
		}
		return Routine(i), nil
	}
	if !known {
		return 0, &Fault{h, BadID, "there is no routine with this id"}
	}
	return 0, &Fault{h, BadArguments, "no routine with this id has this size"}
}
