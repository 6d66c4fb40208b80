// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"bytes"
	"encoding/binary"
)

// Fewest bytes that an element of an array takes, and an entry of a dictionary.
const (
	leastElement = 4
	leastEntry   = 8
)

// container reads length and count of one of that depth, whose elements take so
// many bytes at least, and returns its end.
func (d *decoder) container(end, depth, least int) (stop, count int, f *Fault) {
	at := d.at
	if depth > d.options.Depth {
		return 0, 0, fail(at, ReasonDepth, "containers are nested deeper than allowed")
	}
	length, f := d.word(end)
	if f != nil {
		return 0, 0, f
	}
	if int64(length) > int64(end-d.at) || length < 4 || length%4 != 0 {
		return 0, 0, fail(at, ReasonLength, "the length of a container is impossible")
	}
	stop = d.at + int(length)
	n, f := d.word(stop)
	if f != nil {
		return 0, 0, f
	}
	if int64(n) > int64((stop-d.at)/least) || d.claimed+int(n)*least > len(d.b) {
		return 0, 0, fail(at+4, ReasonCount, "so many elements do not fit")
	}
	count = int(n)
	if count > d.options.Values-d.values {
		return 0, 0, fail(at+4, ReasonLimit, "there are more values than allowed")
	}
	d.claimed += count * least
	d.values += count
	return stop, count, nil
}

func (d *decoder) array(end, depth int) (Array, *Fault) {
	stop, count, f := d.container(end, depth, leastElement)
	if f != nil {
		return nil, f
	}
	a := make(Array, 0, count)
	for i := range count {
		v, f := d.value(stop, depth)
		if f != nil {
			d.path = append(d.path, step{index: i})
			return nil, f
		}
		a = append(a, v)
	}
	return a, d.ends(stop)
}

func (d *decoder) dict(end, depth int) (Dict, *Fault) {
	stop, count, f := d.container(end, depth, leastEntry)
	if f != nil {
		return nil, f
	}
	dict := make(Dict, 0, count)
	var seen keys
	for i := range count {
		at := d.at
		key, f := d.key(stop)
		if f != nil {
			return nil, f
		}
		var v Value
		if !seen.add(dict, key, count-i) {
			f = fail(at, ReasonDuplicate, "a key comes twice")
		} else {
			v, f = d.value(stop, depth)
		}
		if f != nil {
			d.path = append(d.path, step{key: key, index: -1})
			return nil, f
		}
		dict = append(dict, Entry{key, v})
	}
	return dict, d.ends(stop)
}

func (d *decoder) ends(stop int) *Fault {
	if d.at != stop {
		return fail(d.at, ReasonLength, "a container is longer than its elements")
	}
	return nil
}

// transfer reads what follows the tag of a file transfer: an id, and a dictionary
// with the size alone.
func (d *decoder) transfer(end, depth int) (Value, *Fault) {
	id, f := d.long(end)
	if f != nil {
		return nil, f
	}
	at := d.at
	want := transferSize(nil)
	b, f := d.fixed(end, len(want)+8)
	switch {
	case f != nil:
		return nil, f
	case !bytes.Equal(b[:len(want)], want):
		return nil, fail(at, ReasonTag, "a file transfer has something else than its size")
	case depth+1 > d.options.Depth:
		return nil, fail(at, ReasonDepth, "containers are nested deeper than allowed")
	}
	return FileTransfer{id, binary.LittleEndian.Uint64(b[len(want):])}, nil
}
