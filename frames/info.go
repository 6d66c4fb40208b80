// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Info is what is said about a frame beside its planes. Times are nanoseconds of CLOCK_MONOTONIC, see [Now].
type Info struct {
	Timestamp int64 // when it was captured; 0 when published: then
	Duration  int64 // nanoseconds
	Flags     Flags
	Crop      Crop
	Transform int    // rotation and flip, as in wl_output_transform: 0 to 7
	Colour    Colour // of this frame; the zero value: as in the Format
	Answers   ID     // the frame that this one was made of, in another channel
	Metadata  []byte // of the user, at most MaxMetadata
}

// Flags of a frame.
type Flags uint32

// The flags.
const (
	Keyframe      Flags = 1
	Corrupt       Flags = 2
	Discontinuity Flags = 4
)

// Crop is the part of the picture that is meant. The zero value: all of it.
type Crop struct{ X, Y, Width, Height int }

// ID names a frame for good. Slot and generation never come again in one epoch, the sequence never in one channel. Channel is the first half of
// the channel's id, which is new with each writer.
type ID struct {
	Channel    uint64
	Sequence   uint64
	Slot       uint32
	Generation uint32
}

// meta is a frame header that is to be written.
type meta struct {
	Info
	id        ID
	epoch     uint32
	published int64
	planes    []Plane
	used      *[maxPlanes]int // bytes of each plane
}

// put writes a frame header, and the metadata behind it, into a slot.
func (m *meta) put(b []byte) {
	h := b[:frameSize] // what is not written here is 0, and stays it: the number of planes is the pool's
	copy(h, slotMagic)
	order.PutUint32(h[4:], frameSize)
	order.PutUint64(h[8:], m.id.Sequence)
	order.PutUint32(h[16:], m.epoch)
	order.PutUint32(h[20:], m.id.Slot)
	order.PutUint32(h[24:], m.id.Generation)
	order.PutUint32(h[28:], uint32(m.Flags))
	order.PutUint64(h[32:], uint64(m.Timestamp))
	order.PutUint64(h[40:], uint64(m.published))
	order.PutUint64(h[48:], uint64(m.Duration))
	order.PutUint32(h[56:], uint32(m.Crop.X))
	order.PutUint32(h[60:], uint32(m.Crop.Y))
	order.PutUint32(h[64:], uint32(m.Crop.Width))
	order.PutUint32(h[68:], uint32(m.Crop.Height))
	order.PutUint32(h[72:], uint32(m.Transform))
	order.PutUint32(h[76:], uint32(len(m.Metadata)))
	order.PutUint64(h[80:], m.Answers.Channel)
	order.PutUint64(h[88:], m.Answers.Sequence)
	order.PutUint32(h[96:], m.Answers.Slot)
	order.PutUint32(h[100:], m.Answers.Generation)
	m.Colour.put(h[104:])
	order.PutUint32(h[108:], uint32(len(m.planes)))
	for i, p := range m.planes {
		e := h[planesAt+planeSize*i:]
		order.PutUint64(e, uint64(p.Offset))
		order.PutUint64(e[8:], uint64(m.used[i]))
		order.PutUint32(e[16:], uint32(p.Stride))
	}
	copy(b[frameSize:slotPrefix], m.Metadata)
}

// parse reads a frame header, of which h is a copy, and checks that what it says lies in the slot. It returns the length of the metadata.
func (f *Frame) parse(h []byte, s *shape) (int, error) {
	if string(h[:4]) != slotMagic || order.Uint32(h[4:]) != frameSize {
		return 0, errors.New("a published frame has no header")
	}
	get := func(at int) int { return int(order.Uint32(h[at:])) }
	f.Info = Info{
		Timestamp: int64(order.Uint64(h[32:])), Duration: int64(order.Uint64(h[48:])), Flags: Flags(get(28)),
		Crop: Crop{get(56), get(60), get(64), get(68)}, Transform: get(72), Colour: parseColour(h[104:]),
		Answers: ID{order.Uint64(h[80:]), order.Uint64(h[88:]), order.Uint32(h[96:]), order.Uint32(h[100:])},
	}
	f.Sequence, f.Epoch, f.Generation = order.Uint64(h[8:]), order.Uint32(h[16:]), order.Uint32(h[24:])
	f.Published = int64(order.Uint64(h[40:]))
	length := get(76)
	if length > MaxMetadata {
		return 0, fmt.Errorf("a published frame has %d bytes of metadata", length)
	}
	if n := get(108); n != len(s.format.Planes) {
		return 0, fmt.Errorf("a published frame has %d planes", n)
	}
	for i, p := range s.format.Planes {
		at := planesAt + planeSize*i
		offset, size := order.Uint64(h[at:]), order.Uint64(h[at+8:])
		if offset != uint64(p.Offset) || size > uint64(p.Size) {
			return 0, fmt.Errorf("plane %d of a published frame is not in its place", i)
		}
		f.used[i] = int(size)
	}
	return length, nil
}

// clock is CLOCK_MONOTONIC without a system call: the runtime's own readings are of that clock, from another zero.
type clock struct {
	base time.Time
	at   int64
}

// newClock finds the difference between the two, from the pair of readings that was least disturbed.
func newClock() clock {
	var c clock
	least := time.Duration(1 << 62)
	for range 8 {
		before := time.Now()
		at := sys.Monotonic()
		if took := time.Since(before); took < least {
			c, least = clock{before.Add(took / 2), at}, took
		}
	}
	return c
}

func (c clock) now() int64 { return c.at + int64(time.Since(c.base)) }

// Now returns the time in nanoseconds of CLOCK_MONOTONIC, as in timestamps of frames, and of V4L2 and ALSA.
func Now() int64 { return sys.Monotonic() }
