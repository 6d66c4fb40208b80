// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// BrokerPort is the remote port of a request: the broker.
const BrokerPort = 1

// MaxLookUps is how many names one look_up_array may ask for (section 5.2).
const MaxLookUps = 20

// Request is a call of the broker (section 2). Which fields count depends on the
// routine.
type Request struct {
	Routine Routine
	Token   uint32 // the local port, which the reply repeats; 0: no reply is wanted

	Service string // a name of 1 to 127 bytes, without control bytes
	Label   string // SendSignal, Kickstart: the job's
	Right   Right  // Register, Notify: the port; Subset: the requestor's; Connect: the end of a pair
	Flags   Flags
	PID     int32    // LookUp2, LookUp3: whose services; 0: anybody's
	UUID    [16]byte // LookUp3: the instance
	Signal  int32    // SendSignal

	Command  string // CreateServer: up to 511 bytes
	UID      uint32 // CreateServer: as whom
	OnDemand bool   // CreateServer: launched by a message

	Names Memory // LookUpArray: fields of NameSize bytes one after another
	Count uint32 // LookUpArray: how many

	Launch Launch // Spawn

	Event Event // Notify: DeadName, NoSenders or PortDestroyed
	To    Right // Notify: who is told
}

// ParseRequest reads a packet with which fds file descriptors came to a control
// connection. The error is a [*FramingError] or a [*Fault], as section 4 says:
// BadID, BadArguments, TypeError, and InvalidArgument for a malformed Spawn; for a
// malformed request that is not served the code of [Op.Unserved].
func ParseRequest(packet []byte, fds int) (Request, error) {
	return parseRequest(packet, fds, OnControl)
}

// ParseBootstrapRequest is ParseRequest for what comes to a bootstrap port. If replies is set, the first of the file
// descriptors is where the reply goes, and the positions in the request begin at 2; else it goes back on the bootstrap
// port itself, if one is wanted. replies holds for a [*Fault] too.
func ParseBootstrapRequest(packet []byte, fds int) (r Request, replies bool, err error) {
	r, err = parseRequest(packet, fds, OnPort)
	if _, framing := err.(*FramingError); !framing {
		return r, len(packet) >= HeaderSize && readHeader(packet).Local != 0, err
	}
	r, err = parseRequest(packet, fds, OnControl)
	return r, false, err
}

func parseRequest(packet []byte, fds int, place Place) (Request, error) {
	h, count, _, err := frame(packet, fds, place)
	if err != nil {
		return Request{}, err
	}
	routine, fault := dispatch(h, count)
	if fault != nil {
		return Request{}, fault
	}
	r := Request{Routine: routine, Token: h.Local}
	c := codec{b: packet[HeaderSize:]}
	r.fields(&c)
	if c.code != OK {
		if code := routine.Op().Unserved(); code != OK { // whatever its fields say
			c.code = code
		}
		return Request{}, &Fault{h, c.code, c.why}
	}
	return r, nil
}

// Append appends the packet to b. The error is a [*Fault] if a field does not fit:
// then b is returned as it was.
func (r Request) Append(b []byte) ([]byte, error) {
	f := r.Routine.form()
	if f == nil {
		return b, &Fault{Header{}, BadID, "there is no such routine"}
	}
	local := Disposition(0)
	if r.Token != 0 {
		local = MakeSendOnce
	}
	h := Header{Bits: NewBits(f.complex, CopySend, local), Size: f.size, Remote: BrokerPort, Local: r.Token, ID: f.id}
	c := codec{b: h.Append(b), writing: true}
	r.fields(&c)
	if c.code != OK {
		return b, &Fault{h, c.code, c.why}
	}
	binary.LittleEndian.PutUint32(c.b[len(b)+4:], uint32(len(c.b)-len(b)))
	return c.b, nil
}

// fields reads or writes what follows the header. Direct calls, rather than
// functions in the table of forms, let the compiler keep request and codec off the
// heap.
func (r *Request) fields(c *codec) {
	switch r.Routine {
	case SeedCheckIn, SeedLookUp, CustomLookUp:
		r.counted(c)
	case SeedRegister, CustomRegister:
		r.rightCounted(c)
	case SeedSubset, Subset:
		r.right(c)
	case Connect:
		r.connect(c)
	case Notify:
		r.notify(c)
	case Spawn:
		r.spawn(c)
	case CreateServer:
		r.server(c)
	case CheckIn, LookUp, Status, CreateService:
		r.named(c)
	case Register:
		r.rightNamed(c)
	case LookUpArray:
		r.array(c)
	case Reboot2, Info2:
		r.flagged(c)
	case CheckIn2:
		r.namedFlagged(c)
	case Register2:
		r.rightNamedFlagged(c)
	case LookUp2:
		r.lookUp2(c)
	case LookUp3:
		r.lookUp3(c)
	case SendSignal:
		r.signal(c)
	case Kickstart:
		r.kickstart(c)
	}
}

func (r *Request) counted(c *codec) {
	c.ndr()
	c.counted(&r.Service)
}

func (r *Request) named(c *codec) {
	c.ndr()
	c.name(&r.Service)
}

func (r *Request) flags(c *codec) { c.uint64((*uint64)(&r.Flags)) }

func (r *Request) flagged(c *codec) {
	c.ndr()
	r.flags(c)
}

func (r *Request) namedFlagged(c *codec) {
	r.named(c)
	r.flags(c)
}

func (r *Request) right(c *codec) {
	c.count(1)
	c.right(&r.Right, Disposition.Send)
}

func (r *Request) rightCounted(c *codec) {
	r.right(c)
	r.counted(c)
}

func (r *Request) rightNamed(c *codec) {
	r.right(c)
	r.named(c)
}

func (r *Request) rightNamedFlagged(c *codec) {
	r.rightNamed(c)
	r.flags(c)
}

func (r *Request) connect(c *codec) {
	c.count(1)
	c.right(&r.Right, func(d Disposition) bool { return d == MoveSend })
}

// notify takes a receive right where it is to come back, and a send right where its end is to be told.
func (r *Request) notify(c *codec) {
	c.count(2)
	c.right(&r.Right, func(d Disposition) bool { return d.Receive() || d.Send() })
	c.right(&r.To, func(d Disposition) bool { return d.Send() || d.Once() })
	c.ndr()
	c.int32((*int32)(&r.Event))
	switch r.Event {
	case DeadName, NoSenders, PortDestroyed:
	default:
		c.fail(BadArguments, "there is no such event to be told of")
	}
	if r.Right.Disposition.Receive() != (r.Event == PortDestroyed) {
		c.fail(TypeError, "the event is not one of such a right")
	}
}

func (r *Request) lookUp2(c *codec) {
	r.named(c)
	c.int32(&r.PID)
	r.flags(c)
}

func (r *Request) lookUp3(c *codec) {
	r.named(c)
	c.int32(&r.PID)
	c.bytes16(&r.UUID)
	r.flags(c)
}

func (r *Request) signal(c *codec) {
	c.ndr()
	c.name(&r.Label)
	c.int32(&r.Signal)
}

func (r *Request) kickstart(c *codec) {
	c.ndr()
	c.name(&r.Label)
	low := uint32(r.Flags)
	if c.writing && Flags(low) != r.Flags {
		c.fail(BadArguments, "the flags have more than 32 bits")
	}
	c.uint32(&low)
	r.Flags = Flags(low)
}

func (r *Request) server(c *codec) {
	c.ndr()
	c.text(&r.Command, 512)
	c.uint32(&r.UID)
	demand := uint32(0)
	if r.OnDemand {
		demand = 1
	}
	c.uint32(&demand)
	r.OnDemand = demand != 0
}

// array has the layout that MIG gives to an out-of-line array of names on 64 bits.
// That there are too many names is the server's to say, with BadCount.
func (r *Request) array(c *codec) {
	c.count(1)
	c.memory(&r.Names, MemoryKind)
	c.ndr()
	c.uint32(&r.Count)
}
