// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// AppendPayload appends the payload of a message to b. The rights are those of
// its values, in the order in which they are to be sent (section 5); their Fd is
// still the caller's. The error is a [*Fault]: what would not be read again is not
// written, and b is returned as it was.
func AppendPayload(b []byte, magic Magic, root Dict, o *Options) ([]byte, []mach.Right, error) {
	e := encoder{b: b, start: len(b), options: o.complete()}
	if !magic.ofMessages() {
		return b, nil, e.fail(ReasonMagic, "the magic is not one of messages")
	}
	if f := e.payload(magic, root); f != nil {
		f.Path = path(e.path)
		return b, nil, f
	}
	return e.b, e.rights, nil
}

// AppendFile appends a standalone serialization to b, which carries no rights.
// The error is as that of AppendPayload.
func AppendFile(b []byte, root Dict, o *Options) ([]byte, error) {
	e := encoder{b: b, start: len(b), options: o.complete()}
	e.options.Rights = noRights
	if f := e.payload(MagicFile, root); f != nil {
		f.Path = path(e.path)
		return b, f
	}
	return e.b, nil
}

// encoder writes one payload.
type encoder struct {
	b       []byte
	start   int
	options Options
	rights  []mach.Right
	values  int
	path    []step // of a fault, innermost first
}

func (e *encoder) fail(reason Reason, why string) *Fault { return fail(len(e.b)-e.start, reason, why) }

// room makes sure that n more bytes are allowed.
func (e *encoder) room(n int) *Fault {
	if n > e.options.Payload-(len(e.b)-e.start) {
		return e.fail(ReasonLimit, "the payload is larger than allowed")
	}
	return nil
}

func (e *encoder) word(n uint32) { e.b = binary.LittleEndian.AppendUint32(e.b, n) }
func (e *encoder) long(n uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, n) }
func (e *encoder) tag(t Type)    { e.word(uint32(t)) }

// pad appends zeros so that what n bytes take is a multiple of 4.
func (e *encoder) pad(n int) { e.b = append(e.b, "\x00\x00\x00"[:-n&3]...) }

func (e *encoder) payload(magic Magic, root Dict) *Fault {
	if f := e.room(headSize); f != nil {
		return f
	}
	e.word(uint32(magic))
	e.word(Version)
	e.tag(TypeDict)
	return e.dict(root, 0)
}

// value writes a value that is in a container of that depth.
func (e *encoder) value(v Value, depth int) *Fault {
	if e.values++; e.values > e.options.Values {
		return e.fail(ReasonLimit, "there are more values than allowed")
	}
	if f := e.tagged(v, depth); f != nil {
		return f
	}
	return e.room(0)
}

func (e *encoder) tagged(v Value, depth int) *Fault {
	if v == nil {
		return e.fail(ReasonTag, "there is no value")
	}
	e.tag(v.Type())
	switch v := v.(type) {
	case Null:
	case Bool:
		n := uint32(0)
		if v {
			n = 1
		}
		e.word(n)
	case Int64:
		e.long(uint64(v))
	case Uint64:
		e.long(uint64(v))
	case Double:
		e.long(math.Float64bits(float64(v)))
	case Date:
		e.long(uint64(v))
	case UUID:
		e.b = append(e.b, v[:]...)
	case Data:
		return e.data(v)
	case String:
		return e.text(string(v))
	case Array:
		return e.array(v, depth+1)
	case Dict:
		return e.dict(v, depth+1)
	case FD:
		return e.right(TypeFD, v.Right)
	case Shmem:
		e.long(v.Size)
		return e.right(TypeShmem, v.Right)
	case MachSend:
		return e.right(TypeMachSend, v.Right)
	case Endpoint:
		return e.right(TypeEndpoint, v.Right)
	case MachRecv:
		return e.right(TypeMachRecv, v.Right)
	case FileTransfer:
		return e.transfer(v, depth)
	default:
		return e.fail(ReasonTag, "a value of that type cannot be written")
	}
	return nil
}

func (e *encoder) data(b []byte) *Fault {
	if f := e.room(len(b)); f != nil {
		return f
	}
	e.word(uint32(len(b)))
	e.b = append(e.b, b...)
	e.pad(len(b))
	return nil
}

func (e *encoder) text(s string) *Fault {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return e.fail(ReasonString, "a string has a NUL")
	case !utf8.ValidString(s):
		return e.fail(ReasonString, "a string is not UTF-8")
	}
	if f := e.room(len(s)); f != nil {
		return f
	}
	e.word(uint32(len(s) + 1))
	e.b = append(append(e.b, s...), 0)
	e.pad(len(s) + 1)
	return nil
}

func (e *encoder) key(s string) *Fault {
	switch {
	case len(s) > e.options.Key:
		return e.fail(ReasonLimit, "a key is longer than allowed")
	case strings.IndexByte(s, 0) >= 0:
		return e.fail(ReasonKey, "a key has a NUL")
	case !utf8.ValidString(s):
		return e.fail(ReasonKey, "a key is not UTF-8")
	}
	e.b = append(append(e.b, s...), 0)
	e.pad(len(s) + 1)
	return nil
}

// container writes length and count of one of that depth, and returns where the
// length is, for close.
func (e *encoder) container(depth, count int) (int, *Fault) {
	switch {
	case depth > e.options.Depth:
		return 0, e.fail(ReasonDepth, "containers are nested deeper than allowed")
	case count > e.options.Values-e.values:
		return 0, e.fail(ReasonLimit, "there are more values than allowed")
	}
	at := len(e.b)
	e.word(0)
	e.word(uint32(count))
	return at, nil
}

func (e *encoder) close(at int) { binary.LittleEndian.PutUint32(e.b[at:], uint32(len(e.b)-at-4)) }

func (e *encoder) array(a Array, depth int) *Fault {
	at, f := e.container(depth, len(a))
	if f != nil {
		return f
	}
	for i, v := range a {
		if f := e.value(v, depth); f != nil {
			e.path = append(e.path, step{index: i})
			return f
		}
	}
	e.close(at)
	return nil
}

func (e *encoder) dict(d Dict, depth int) *Fault {
	at, f := e.container(depth, len(d))
	if f != nil {
		return f
	}
	var seen keys
	for i, entry := range d {
		if f := e.key(entry.Key); f != nil {
			return f
		}
		if !seen.add(d[:i], entry.Key, len(d)-i) {
			f = e.fail(ReasonDuplicate, "a key comes twice")
		} else {
			f = e.value(entry.Value, depth)
		}
		if f != nil {
			e.path = append(e.path, step{key: entry.Key, index: -1})
			return f
		}
	}
	e.close(at)
	return nil
}

// transferSize appends the dictionary of a file transfer, up to the size in it.
func transferSize(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(TypeDict))
	b = le.AppendUint32(b, 20) // bytes that follow
	b = le.AppendUint32(b, 1)
	b = append(b, 's', 0, 0, 0)
	return le.AppendUint32(b, uint32(TypeUint64))
}

func (e *encoder) transfer(v FileTransfer, depth int) *Fault {
	switch {
	case !e.options.FileTransfers:
		return e.fail(ReasonTag, "file transfers are not allowed")
	case depth+1 > e.options.Depth:
		return e.fail(ReasonDepth, "containers are nested deeper than allowed")
	}
	e.long(v.ID)
	e.b = transferSize(e.b)
	e.long(v.Size)
	return nil
}
