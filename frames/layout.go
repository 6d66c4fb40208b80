// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// What docs/frames.md says, in numbers.
const (
	version   = 1
	poolMagic = "SBFRAMES"
	slotMagic = "FRM1"

	headerSize = 4096 // of a pool
	entrySize  = 64   // of the slot table
	slotPrefix = 4096 // frame header and metadata
	frameSize  = 256  // of a frame header
	planesAt   = 112  // in it
	planeSize  = 24
	wordsSize  = 4096

	// MaxMetadata is how many bytes of metadata a frame can have.
	MaxMetadata = slotPrefix - frameSize

	maxPlanes  = 4
	maxDims    = 8
	maxSlots   = 1024
	maxReaders = 32
	maxHolds   = 16
	maxPool    = 1 << 47

	// Words of the pool.
	atFormat = 128
	atHead   = 2048
	atBell   = 2056
	atNewest = 2064
	atWanted = 2112
	atClosed = 2176

	// Words of a reader.
	atAsleep   = 0
	atCursor   = 64
	atReceived = 72
	atMissed   = 80
	atHold     = 128
	atAges     = 512
	ageBuckets = 40
)

// States of a slot.
const (
	free uint32 = iota
	writing
	ready
	retired
)

// Values of the words closed and asleep.
const (
	moved      = 1
	ended      = 2
	onFutex    = 1
	wantsEvent = 2
)

// slotWord is an entry of the slot table, and with the slot as state one of the log.
func slotWord(state, generation uint32) uint64 { return uint64(generation)<<32 | uint64(state) }

var order = binary.LittleEndian

// shape is the part of a pool's header that never changes.
type shape struct {
	channel  [16]byte
	epoch    uint32
	slots    int // count
	entries  int
	base     int // what the writer works with
	tableAt  int
	logAt    int
	slotsAt  int
	slotSize int
	size     int
	first    uint64
	format   Format
	sizes    [maxPlanes]int // of the format's planes
}

// sizes are the bytes of each plane.
func (f *Format) sizes() (sizes [maxPlanes]int) {
	for i, p := range f.Planes {
		sizes[i] = p.Size
	}
	return sizes
}

// newShape lays out a pool.
func newShape(f Format, base, spare int) (shape, error) {
	s := shape{slots: base + spare, base: base, format: f, sizes: f.sizes()}
	if base < 2 || s.slots > maxSlots {
		return s, fmt.Errorf("%d slots and %d to spare: there must be at least 2, and at most %d together", base, spare, maxSlots)
	}
	s.entries = 1 << bits.Len(uint(s.slots-1))
	last := f.Planes[len(f.Planes)-1]
	s.slotSize = roundUp(last.Offset+last.Size, 4096)
	s.tableAt = headerSize
	s.logAt = roundUp(s.tableAt+s.slots*entrySize, 4096)
	s.slotsAt = roundUp(s.logAt+s.entries*8, 4096)
	if s.slotSize > (maxPool-s.slotsAt)/s.slots {
		return s, fmt.Errorf("%d slots of %d bytes are too many", s.slots, s.slotSize)
	}
	s.size = s.slotsAt + s.slots*s.slotSize
	return s, nil
}

// put writes the header into a new pool.
func (s *shape) put(b []byte) {
	copy(b, poolMagic)
	order.PutUint32(b[8:], version)
	order.PutUint32(b[12:], headerSize)
	order.PutUint64(b[16:], uint64(s.size))
	copy(b[24:], s.channel[:])
	order.PutUint32(b[40:], s.epoch)
	order.PutUint32(b[44:], uint32(s.slots))
	order.PutUint32(b[48:], uint32(s.entries))
	order.PutUint32(b[52:], frameSize)
	order.PutUint64(b[56:], uint64(s.tableAt))
	order.PutUint64(b[64:], uint64(s.logAt))
	order.PutUint64(b[72:], uint64(s.slotsAt))
	order.PutUint64(b[80:], uint64(s.slotSize))
	order.PutUint32(b[88:], MaxMetadata)
	order.PutUint32(b[92:], uint32(s.base))
	order.PutUint64(b[96:], s.first)
	s.format.put(b[atFormat:])
}

// parseShape reads and checks the header of a pool of size bytes. b is a copy: what is shared is looked at once.
func parseShape(b []byte, size int) (s shape, err error) {
	if len(b) < headerSize || string(b[:8]) != poolMagic {
		return s, errors.New("it is no pool of frames")
	}
	if v := order.Uint32(b[8:]); v != version {
		return s, fmt.Errorf("it is a pool of version %d, and this program knows %d", v, version)
	}
	get := func(at int) int { return int(min(order.Uint64(b[at:]), maxPool+1)) }
	s.size, s.tableAt, s.logAt, s.slotsAt, s.slotSize = get(16), get(56), get(64), get(72), get(80)
	s.epoch, s.slots, s.entries, s.base = order.Uint32(b[40:]), int(order.Uint32(b[44:])), int(order.Uint32(b[48:])), int(order.Uint32(b[92:]))
	s.first = order.Uint64(b[96:])
	copy(s.channel[:], b[24:])
	switch {
	case s.size != size || size > maxPool:
		err = fmt.Errorf("it has %d bytes, and should have %d", size, s.size)
	case order.Uint32(b[12:]) != headerSize || order.Uint32(b[52:]) != frameSize || order.Uint32(b[88:]) != MaxMetadata:
		err = errors.New("its headers have other sizes")
	case s.slots < 1 || s.slots > maxSlots || s.entries < s.slots || s.entries > 2*maxSlots || s.entries&(s.entries-1) != 0:
		err = fmt.Errorf("it has %d slots and %d log entries", s.slots, s.entries)
	case s.tableAt < headerSize || s.tableAt%64 != 0 || s.tableAt > size-s.slots*entrySize,
		s.logAt < headerSize || s.logAt%8 != 0 || s.logAt > size-s.entries*8,
		s.slotSize < slotPrefix || s.slotSize%4096 != 0 || s.slotSize > size/s.slots,
		s.slotsAt < headerSize || s.slotsAt%4096 != 0 || s.slotsAt > size-s.slots*s.slotSize:
		err = errors.New("its parts do not fit into it")
	default:
		s.format, err = parseFormat(b[atFormat:], s.slotSize)
		s.sizes = s.format.sizes()
	}
	return s, err
}

func (f *Format) put(b []byte) {
	order.PutUint32(b[0:], uint32(f.FourCC))
	kind := uint32(1)
	if f.FourCC == 0 {
		kind = 2
	}
	order.PutUint32(b[4:], kind)
	order.PutUint64(b[8:], f.Modifier)
	order.PutUint32(b[16:], uint32(f.Width))
	order.PutUint32(b[20:], uint32(f.Height))
	order.PutUint32(b[24:], uint32(f.Rate.Num))
	order.PutUint32(b[28:], uint32(f.Rate.Den))
	f.Colour.put(b[32:])
	order.PutUint32(b[36:], uint32(len(f.Planes)))
	for i, p := range f.Planes {
		e := b[40+24*i:]
		order.PutUint64(e, uint64(p.Offset))
		order.PutUint64(e[8:], uint64(p.Size))
		order.PutUint32(e[16:], uint32(p.Stride))
		order.PutUint32(e[20:], uint32(p.Rows))
	}
	b[136], b[137] = f.Type.Code, f.Type.Bits
	order.PutUint16(b[138:], f.Type.Lanes)
	order.PutUint32(b[140:], uint32(len(f.Shape)))
	for i, n := range f.Shape {
		order.PutUint64(b[144+8*i:], uint64(n))
		order.PutUint64(b[208+8*i:], uint64(f.Strides[i]))
	}
}

func parseFormat(b []byte, slotSize int) (f Format, err error) {
	get := func(at int) int { return int(order.Uint32(b[at:])) }
	long := func(at int) int { return int(min(order.Uint64(b[at:]), maxPool)) }
	f.FourCC, f.Modifier, f.Width, f.Height = FourCC(get(0)), order.Uint64(b[8:]), get(16), get(20)
	f.Rate, f.Colour = Rate{get(24), get(28)}, parseColour(b[32:])
	n := get(36)
	if n < 1 || n > maxPlanes {
		return f, fmt.Errorf("its frames have %d planes", n)
	}
	for i := range n {
		at := 40 + 24*i
		p := Plane{long(at), long(at + 8), get(at + 16), get(at + 20)}
		if p.Offset < slotPrefix || p.Offset > slotSize || p.Size > slotSize-p.Offset || p.Rows > p.Size/max(1, p.Stride) && p.Stride > 0 {
			return f, fmt.Errorf("plane %d of its frames does not fit into a slot", i)
		}
		f.Planes = append(f.Planes, p)
	}
	if get(4) != 2 {
		return f, nil
	}
	f.Type = Type{b[136], b[137], order.Uint16(b[138:])}
	dims := get(140)
	size := int(f.Type.Bits) / 8 * int(f.Type.Lanes)
	if dims > maxDims || size == 0 {
		return f, fmt.Errorf("its frames are tensors of %d dimensions, with elements of %d bytes", dims, size)
	}
	for i := range dims {
		f.Shape, f.Strides = append(f.Shape, long(144+8*i)), append(f.Strides, long(208+8*i))
		if f.Shape[i] < 1 || f.Shape[i] > maxFrame || f.Strides[i] > maxFrame || (f.Shape[i]-1) > maxFrame/max(1, f.Strides[i]) {
			return f, errors.New("its frames are tensors that cannot be")
		}
		size += (f.Shape[i] - 1) * f.Strides[i]
	}
	if size > f.Planes[0].Size {
		return f, errors.New("its frames are tensors that are larger than their plane")
	}
	return f, nil
}

func (c Colour) put(b []byte) { b[0], b[1], b[2], b[3] = c.Primaries, c.Transfer, c.Matrix, c.Range }

func parseColour(b []byte) Colour { return Colour{b[0], b[1], b[2], b[3]} }
