// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// replyOffset is what the id of a reply has more than that of its request.
const replyOffset = 100

// Shape is which fields a reply has; size and complex bit tell it (section 3).
type Shape uint8

// The shapes. Every failure is a StatusReply.
const (
	StatusReply   Shape = iota // 36 bytes: Code
	PortReply                  // 40 bytes, complex: Right
	InstanceReply              // 64 bytes, complex: Right and UUID, of CheckIn2
	ValueReply                 // 40 bytes: Code and Value
	WideReply                  // 44 bytes: Code and Wide, of swap_integer
	PathReply                  // 164 bytes: Code and Path, of getsocket
	ChildReply                 // 52 bytes, complex: Right and Value, of spawn2
	InfoReply                  // 96 bytes, complex: Lists
	ArrayReply                 // 60 bytes, complex: Ports, Count and AllKnown, of LookUpArray
)

// Reply is the answer to a request (section 3). Which fields count depends on
// its shape.
type Reply struct {
	Shape Shape
	ID    int32  // that of the request and 100
	Token uint32 // the local port of the request
	Code  Code

	Right Right
	UUID  [16]byte
	Value int32 // Status: 0 inactive, 1 active, 2 on demand; Spawn and spawn2: the process
	Wide  int64
	Path  string // up to 127 bytes

	// Lists are the names, their jobs' names, and their states of InfoReply; Counts
	// is how many entries each has.
	Lists  [3]Memory
	Counts [3]uint32

	// Ports holds a 32-bit position for each name asked for, Null for those that are
	// unknown; the file descriptors of the ports follow that of the memory.
	Ports    Memory // Length is how many
	Count    uint32
	AllKnown bool
}

type replyForm struct {
	size    uint32
	complex bool
}

var replyForms = [...]replyForm{
	StatusReply:   {36, false},
	PortReply:     {40, true},
	InstanceReply: {64, true},
	ValueReply:    {40, false},
	WideReply:     {44, false},
	PathReply:     {164, false},
	ChildReply:    {52, true},
	InfoReply:     {96, true},
	ArrayReply:    {60, true},
}

// Size returns the length of replies of that shape in bytes; 0: there is none.
func (s Shape) Size() int {
	if int(s) >= len(replyForms) {
		return 0
	}
	return int(replyForms[s].size)
}

// Complex reports whether replies of that shape have descriptors.
func (s Shape) Complex() bool { return int(s) < len(replyForms) && replyForms[s].complex }

// Refused returns the reply that fails a request with a code, or with OK the one
// to a success without results.
func (r Request) Refused(code Code) Reply {
	return Reply{ID: r.Routine.ID() + replyOffset, Token: r.Token, Code: code}
}

// Granted returns the reply to a success: its shape is as section 3 says, and the
// right, if it has one, is the first file descriptor. The results are to be filled
// in. CheckIn2 gets an InstanceReply; clients of launchd-329 expect a PortReply.
func (r Request) Granted() Reply {
	reply := r.Refused(OK)
	switch op := r.Routine.Op(); op {
	case OpStatus, OpSpawn, OpKickstart:
		reply.Shape = ValueReply
	case OpInfo:
		reply.Shape = InfoReply
	case OpLookUpArray:
		reply.Shape = ArrayReply
	default:
		if d := op.Disposition(); d != 0 {
			reply.Shape, reply.Right = PortReply, Right{1, d}
		}
		if r.Routine == CheckIn2 {
			reply.Shape = InstanceReply
		}
	}
	return reply
}

// ParseReply reads a packet with which fds file descriptors came in answer to a
// request. The error is a [*FramingError], or a [*Fault]: ServerDied for a
// send-once notification, ReplyMismatch for any other notification, TypeError for
// what has no shape of a reply or a right that cannot be in it, and BadArguments
// for fields that are wrong. Whether the id is the one wanted is the caller's to
// look at.
func ParseReply(packet []byte, fds int) (Reply, error) {
	h, count, _, err := frame(packet, fds, OnControl)
	if err != nil {
		return Reply{}, err
	}
	switch {
	case Event(h.ID) == SendOnceDied:
		return Reply{}, &Fault{h, ServerDied, "the reply port will get no reply"}
	case Event(h.ID).form() != nil:
		return Reply{}, &Fault{h, ReplyMismatch, "it is a notification"}
	}
	for i := range replyForms {
		f := &replyForms[i]
		if f.size != h.Size || f.complex != h.Bits.Complex() {
			continue
		}
		r := Reply{Shape: Shape(i), ID: h.ID, Token: h.Remote}
		if want := r.descriptors(); count != want {
			return Reply{}, &Fault{h, TypeError, "the reply has another number of descriptors"}
		}
		c := codec{b: packet[HeaderSize:]}
		r.fields(&c)
		if c.code != OK {
			return Reply{}, &Fault{h, c.code, c.why}
		}
		return r, nil
	}
	return Reply{}, &Fault{h, TypeError, "no reply has this size"}
}

// descriptors returns how many the reply has.
func (r *Reply) descriptors() int {
	switch {
	case r.Shape == InfoReply:
		return 3
	case r.Shape.Complex():
		return 1
	}
	return 0
}

// Append appends the packet to b. The error is a [*Fault] if there is no such
// shape, or a field does not fit: then b is returned as it was.
func (r Reply) Append(b []byte) ([]byte, error) {
	if r.Shape.Size() == 0 {
		return b, &Fault{Header{}, BadArguments, "there is no such shape of reply"}
	}
	f := &replyForms[r.Shape]
	h := Header{Bits: NewBits(f.complex, MoveSendOnce, 0), Size: f.size, Remote: r.Token, ID: r.ID}
	c := codec{b: h.Append(b), writing: true}
	r.fields(&c)
	if c.code != OK {
		return b, &Fault{h, c.code, c.why}
	}
	binary.LittleEndian.PutUint32(c.b[len(b)+4:], uint32(len(c.b)-len(b)))
	return c.b, nil
}

// fields reads or writes what follows the header; see that of Request.
func (r *Reply) fields(c *codec) {
	switch r.Shape {
	case StatusReply:
		r.status(c)
	case PortReply:
		r.port(c)
	case InstanceReply:
		r.instance(c)
	case ValueReply:
		r.value(c)
	case WideReply:
		r.wide(c)
	case PathReply:
		r.path(c)
	case ChildReply:
		r.child(c)
	case InfoReply:
		r.info(c)
	case ArrayReply:
		r.array(c)
	}
}

func (r *Reply) status(c *codec) {
	c.ndr()
	c.int32((*int32)(&r.Code))
}

func (r *Reply) port(c *codec) {
	c.count(1)
	c.right(&r.Right, func(d Disposition) bool { return d.Receive() || d.Send() })
}

func (r *Reply) instance(c *codec) {
	r.port(c)
	c.ndr()
	c.bytes16(&r.UUID)
}

func (r *Reply) value(c *codec) {
	r.status(c)
	c.int32(&r.Value)
}

func (r *Reply) wide(c *codec) {
	r.status(c)
	v := uint64(r.Wide)
	c.uint64(&v)
	r.Wide = int64(v)
}

func (r *Reply) path(c *codec) {
	r.status(c)
	c.text(&r.Path, NameSize)
}

func (r *Reply) child(c *codec) {
	r.port(c)
	c.ndr()
	c.int32(&r.Value)
}

func (r *Reply) info(c *codec) {
	c.count(3)
	for i := range r.Lists {
		c.memory(&r.Lists[i], MemoryKind)
	}
	c.ndr()
	for i := range r.Counts {
		c.uint32(&r.Counts[i])
	}
}

func (r *Reply) array(c *codec) {
	c.count(1)
	c.memory(&r.Ports, PortsKind)
	c.ndr()
	c.uint32(&r.Count)
	known := uint32(0)
	if r.AllKnown {
		known = 1
	}
	c.uint32(&known)
	r.AllKnown = known != 0
}
