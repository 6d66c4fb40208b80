// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Routine is a call of launchd on the pipe (section 6.1).
type Routine uint32

// The routines that are typed here.
const (
	GetJobs    Routine = 100 // legacy launch message
	CheckIn2   Routine = 206
	LookUp2    Routine = 207
	Attributes Routine = 712
	LookUp     Routine = 804
	CheckIn    Routine = 805
	List       Routine = 815
)

// String returns the name of the routine.
func (r Routine) String() string {
	switch r {
	case GetJobs:
		return "get_jobs"
	case CheckIn2:
		return "check_in2"
	case LookUp2:
		return "look_up2"
	case Attributes:
		return "attributes"
	case LookUp:
		return "look_up"
	case CheckIn:
		return "check_in"
	case List:
		return "list"
	}
	return "routine " + strconv.FormatUint(uint64(r), 10)
}

// newer reports whether requests always have the number in the message's id, and
// answers the codes of bootstrap.
func (r Routine) newer() bool { return r == CheckIn2 || r == LookUp2 }

// checksIn and looksUp report whether the routine does, in either style.
func (r Routine) checksIn() bool { return r == CheckIn || r == CheckIn2 }
func (r Routine) looksUp() bool  { return r == LookUp || r == LookUp2 }

// in reports whether requests of the routine may name a subsystem: its own, and 3, which its replies name, where that is another.
func (r Routine) in(subsystem uint64) bool {
	return subsystem == r.subsystem() || subsystem == Request{Routine: r}.answered()
}

// subsystem returns the subsystem that requests of the routine name.
func (r Routine) subsystem() uint64 {
	switch {
	case r == GetJobs:
		return 7
	case r >= 700 && r < 800:
		return 2
	}
	return 3
}

// Domain is the type of what a handle names (section 6.1).
type Domain uint64

// The domains.
const (
	SystemDomain    Domain = 1
	UserDomain      Domain = 2
	LoginDomain     Domain = 3
	SessionDomain   Domain = 4
	PIDDomain       Domain = 5
	OwnUserDomain   Domain = 6 // the requestor's user
	RequestorDomain Domain = 7 // the requestor's own
	GUIDomain       Domain = 8
)

// Request is a routine's request. Which fields count depends on the routine; those
// that do not are not read.
type Request struct {
	Routine  Routine
	Numbered bool // the number is in the message's id, the newer style
	Token    uint32
	Magic    Magic

	Type         Domain
	Handle       uint64
	Flags        uint64
	LookupHandle uint64     // LookUp
	Name         string     // of a service: 1 to 127 bytes; Attributes may go without
	PID          int64      // Attributes
	TargetPID    int64      // LookUp2
	Instance     [16]byte   // LookUp2
	Legacy       bool       // List
	DomainPort   mach.Right // a namespace of its own; Fd is 0: the connection's
}

// Refusal is a request that is answered with an error (section 7, end).
type Refusal struct {
	Request Request // what is known of it
	Code    Code
	Why     string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %s (%d): %s", r.Request.Routine, r.Code, int64(r.Code), r.Why)
}

// Reply returns the answer. It is not to be sent if the request wants none.
func (r *Refusal) Reply() Message { return r.Request.Reply(Answer{Error: r.Code}) }

// ParseRequest reads the routine that a message calls, and checks the types of
// its keys; those that are not known are ignored. Its number is in the id or, if
// that has none, a key. The error is a [*Refusal]: NotImplemented for what is not
// typed here, BadSubsystem for a routine of another one, InvalidArgument else.
func ParseRequest(m Message) (Request, error) {
	r := Request{Routine: m.Routine, Numbered: m.Routine != 0, Token: m.Token, Magic: m.Magic}
	k := reader{d: m.Root}
	if number := k.uint("routine"); !r.Numbered {
		r.Routine = Routine(min(number, math.MaxUint32))
	}
	subsystem, named := k.uint("subsystem"), m.Root.Has("subsystem")
	r.Handle, r.Type, r.Flags = k.uint("handle"), Domain(k.uint("type")), k.uint("flags")
	r.Name = k.text("name")
	switch {
	case m.Kind != KindMessage && m.Kind != KindRoutine:
		return r, &Refusal{r, InvalidArgument, "the message is no request"}
	case k.err != nil:
		return r, &Refusal{r, InvalidArgument, k.err.Error()}
	}
	switch r.Routine {
	case GetJobs:
	case CheckIn2, CheckIn, LookUp, LookUp2:
		r.Name = k.name()
	case Attributes:
		if r.PID = k.int("pid"); m.Root.Has("name") {
			k.name()
		}
	case List:
		r.Legacy = k.bool("legacy")
	default:
		return r, &Refusal{r, NotImplemented, "nobody answers it"}
	}
	switch r.Routine {
	case LookUp:
		r.LookupHandle = k.uint("lookup-handle")
	case LookUp2:
		r.TargetPID, r.Instance = k.int("targetpid"), k.uuid("instance")
	}
	r.DomainPort = k.port("domain-port")
	switch {
	case k.err != nil:
		return r, &Refusal{r, InvalidArgument, k.err.Error()}
	case named && !r.Numbered && !r.Routine.newer() && !r.Routine.in(subsystem):
		return r, &Refusal{r, BadSubsystem, "the routine is of another subsystem"}
	}
	return r, nil
}

// Message returns the request as clients send it, with the keys in their order.
func (r Request) Message() Message {
	m := Message{Kind: KindMessage, Token: r.Token, Magic: r.Magic}
	numbered := r.Numbered || r.Routine.newer()
	d := &m.Root
	if numbered {
		m.Kind, m.Routine = KindRoutine, r.Routine
	} else {
		d.Set("subsystem", Uint64(r.Routine.subsystem()))
		d.Set("routine", Uint64(r.Routine))
	}
	switch r.Routine {
	case CheckIn2, LookUp2:
		d.Set("handle", Uint64(r.Handle))
		d.Set("flags", Uint64(r.Flags))
		d.Set("name", String(r.Name))
		d.Set("type", Uint64(r.Type))
		if r.Routine == LookUp2 {
			d.Set("instance", UUID(r.Instance))
			d.Set("targetpid", Int64(r.TargetPID))
		}
	case List:
		d.Set("type", Uint64(r.Type))
		d.Set("handle", Uint64(r.Handle))
		if r.Legacy {
			d.Set("legacy", Bool(true))
		}
	case Attributes:
		d.Set("pid", Int64(r.PID))
		d.Set("type", Uint64(r.Type))
		d.Set("handle", Uint64(r.Handle))
		if r.Name != "" {
			d.Set("name", String(r.Name))
		}
	default:
		d.Set("handle", Uint64(r.Handle))
		d.Set("type", Uint64(r.Type))
	}
	switch r.Routine {
	case LookUp, CheckIn:
		d.Set("name", String(r.Name))
		if r.Routine == LookUp {
			d.Set("lookup-handle", Uint64(r.LookupHandle))
		}
		d.Set("flags", Uint64(r.Flags))
	}
	if r.DomainPort.Fd.Carried() {
		d.Set("domain-port", MachSend{r.DomainPort})
	}
	return m
}

// MaxName is how long a service's name may be, in bytes.
const MaxName = 127

// reader takes keys out of a dictionary and keeps the first error. All but names
// may be missing.
type reader struct {
	d   Dict
	err error
}

func keep[T any](k *reader, v T, err error) T {
	var none T
	if errors.Is(err, ErrMissing) {
		return none
	}
	if err != nil && k.err == nil {
		k.err = err
	}
	return v
}

func (k *reader) uint(key string) uint64 { v, err := k.d.Uint(key); return keep(k, v, err) }
func (k *reader) int(key string) int64   { v, err := k.d.Int(key); return keep(k, v, err) }
func (k *reader) bool(key string) bool   { v, err := k.d.Bool(key); return keep(k, v, err) }
func (k *reader) text(key string) string { v, err := k.d.String(key); return keep(k, v, err) }
func (k *reader) dict(key string) Dict   { v, err := k.d.Dict(key); return keep(k, v, err) }

func (k *reader) uuid(key string) [16]byte {
	v, err := k.d.UUID(key)
	return keep(k, v, err)
}

func (k *reader) port(key string) mach.Right {
	v, err := Get[MachSend](k.d, key)
	return keep(k, v, err).Right
}

// name reads the name of a service, which must be there and fit, and has no
// control bytes, as on the other fronts.
func (k *reader) name() string {
	name, err := k.d.String("name")
	if err == nil && (name == "" || len(name) > MaxName) {
		err = &KeyError{Key: "name", Want: TypeString, Got: TypeString, Why: "not 1 to 127 bytes"}
	}
	for i := range len(name) {
		if err == nil && (name[i] < ' ' || name[i] == 0x7f) {
			err = &KeyError{Key: "name", Want: TypeString, Got: TypeString, Why: "has a control byte"}
		}
	}
	if err != nil && k.err == nil {
		k.err = err
	}
	return name
}
