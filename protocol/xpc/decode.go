// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Version is what follows the magic of every payload.
const Version = 5

// headSize is how long the smallest payload is: magic, version, and an empty root.
const headSize = 20

// ParsePayload reads the payload of a message to whose descriptors the rights
// belong, in their order (section 7). The error is a [*Fault].
func ParsePayload(b []byte, rights []mach.Right, o *Options) (Magic, Dict, error) {
	return parse(b, rights, o, Magic.ofMessages)
}

// ParseFile reads a standalone serialization, which carries no rights. The error
// is a [*Fault].
func ParseFile(b []byte, o *Options) (Dict, error) {
	_, root, err := parse(b, nil, o, func(m Magic) bool { return m == MagicFile })
	return root, err
}

func parse(b []byte, rights []mach.Right, o *Options, allowed func(Magic) bool) (Magic, Dict, error) {
	d := decoder{b: b, options: o.complete(), rights: queues{all: rights}}
	magic, root, fault := d.payload(allowed)
	if fault != nil {
		fault.Path = path(d.path)
		return magic, nil, fault
	}
	return magic, root, nil
}

// decoder reads one payload. Its position never passes the end of the container
// that it is in, which is what reading functions are given.
type decoder struct {
	b       []byte
	at      int
	options Options
	rights  queues

	// A count claims the least that so many elements take, out of the bytes that there
	// are. Only then is there memory for them: counts that lie in containers inside
	// each other get no more of it than counts that are true.
	claimed int
	values  int
	path    []step // of a fault, innermost first
}

func fail(offset int, reason Reason, why string) *Fault {
	return &Fault{Reason: reason, Offset: offset, Why: why}
}

func (d *decoder) payload(allowed func(Magic) bool) (magic Magic, root Dict, f *Fault) {
	le := binary.LittleEndian
	if len(d.b) >= 4 {
		magic = Magic(le.Uint32(d.b))
	}
	switch {
	case len(d.b) < headSize || len(d.b)%4 != 0:
		return magic, nil, fail(len(d.b), ReasonTruncated, "it has fewer than 20 bytes, or not a multiple of 4")
	case len(d.b) > d.options.Payload:
		return magic, nil, fail(d.options.Payload, ReasonLimit, "it is larger than allowed")
	case !allowed(magic):
		return magic, nil, fail(0, ReasonMagic, "it begins with another magic")
	case le.Uint32(d.b[4:]) != Version:
		return magic, nil, fail(4, ReasonVersion, "it has another version than 5")
	case Type(le.Uint32(d.b[8:])) != TypeDict:
		return magic, nil, fail(8, ReasonRoot, "its root is no dictionary")
	case len(d.rights.all) > d.options.Rights:
		return magic, nil, fail(0, ReasonLimit, "it has more rights than allowed")
	}
	d.at = 12
	if root, f = d.dict(len(d.b), 0); f != nil {
		return magic, nil, f
	}
	switch {
	case d.at != len(d.b):
		f = fail(d.at, ReasonTrailing, "something follows the root")
	case d.rights.taken != len(d.rights.all):
		f = fail(d.at, ReasonRight, "there are rights that no value takes")
	}
	return magic, root, f
}

// fixed returns the next n bytes.
func (d *decoder) fixed(end, n int) ([]byte, *Fault) {
	if end-d.at < n {
		return nil, fail(d.at, ReasonTruncated, "the container ends within the value")
	}
	b := d.b[d.at : d.at+n]
	d.at += n
	return b, nil
}

func (d *decoder) word(end int) (uint32, *Fault) {
	b, f := d.fixed(end, 4)
	if f != nil {
		return 0, f
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (d *decoder) long(end int) (uint64, *Fault) {
	b, f := d.fixed(end, 8)
	if f != nil {
		return 0, f
	}
	return binary.LittleEndian.Uint64(b), nil
}

// value reads a value that is in a container of that depth.
func (d *decoder) value(end, depth int) (Value, *Fault) {
	at := d.at
	tag, f := d.word(end)
	if f != nil {
		return nil, f
	}
	switch t := Type(tag); t {
	case TypeNull:
		return Null{}, nil
	case TypeBool:
		n, f := d.word(end)
		if f == nil && n > 1 {
			f = fail(at+4, ReasonBool, "a bool is neither 0 nor 1")
		}
		return Bool(n == 1), f
	case TypeInt64:
		n, f := d.long(end)
		return Int64(n), f
	case TypeUint64:
		n, f := d.long(end)
		return Uint64(n), f
	case TypeDouble:
		n, f := d.long(end)
		return Double(math.Float64frombits(n)), f
	case TypeDate:
		n, f := d.long(end)
		return Date(n), f
	case TypeData:
		b, f := d.counted(end)
		return Data(bytes.Clone(b)), f
	case TypeString:
		return d.text(end)
	case TypeUUID:
		b, f := d.fixed(end, 16)
		if f != nil {
			return nil, f
		}
		return UUID(b), nil
	case TypeArray:
		return d.array(end, depth+1)
	case TypeDict:
		return d.dict(end, depth+1)
	case TypeFD, TypeShmem, TypeMachSend, TypeEndpoint, TypeMachRecv:
		return d.right(t, end)
	case TypeFileTransfer:
		if d.options.FileTransfers {
			return d.transfer(end, depth)
		}
	}
	return nil, fail(at, ReasonTag, Type(tag).String()+" is not allowed")
}

// counted reads a length, so many bytes, and what pads them.
func (d *decoder) counted(end int) ([]byte, *Fault) {
	at := d.at
	n, f := d.word(end)
	if f != nil {
		return nil, f
	}
	if int64(n) > int64(end-d.at) {
		return nil, fail(at, ReasonLength, "the length passes the end of the container")
	}
	b := d.b[d.at : d.at+int(n)]
	d.at += int(n)
	return b, d.pad()
}

// pad skips the zeros up to a multiple of 4, which ends of containers are.
func (d *decoder) pad() *Fault {
	for ; d.at%4 != 0; d.at++ {
		if d.b[d.at] != 0 {
			return fail(d.at, ReasonPad, "padding is not zero")
		}
	}
	return nil
}

func (d *decoder) text(end int) (Value, *Fault) {
	at := d.at
	b, f := d.counted(end)
	switch {
	case f != nil && f.Reason != ReasonPad:
		return nil, f
	case len(b) == 0 || bytes.IndexByte(b, 0) != len(b)-1:
		return nil, fail(at, ReasonString, "a string does not end at its first NUL")
	case !utf8.Valid(b):
		return nil, fail(at, ReasonString, "a string is not UTF-8")
	case f != nil:
		return nil, f
	}
	return String(b[:len(b)-1]), nil
}

// key reads a key and what pads it.
func (d *decoder) key(end int) (string, *Fault) {
	n := bytes.IndexByte(d.b[d.at:end], 0)
	switch {
	case n < 0:
		return "", fail(d.at, ReasonKey, "a key has no NUL")
	case n > d.options.Key:
		return "", fail(d.at, ReasonLimit, "a key is longer than allowed")
	case !utf8.Valid(d.b[d.at : d.at+n]):
		return "", fail(d.at, ReasonKey, "a key is not UTF-8")
	}
	key := string(d.b[d.at : d.at+n])
	d.at += n + 1
	return key, d.pad()
}
