// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"cmp"
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

// rest is the part of a frame header that is as a rule the same again in the next frame. It is only written when it is not: lines of
// memory that are not written need not be fetched by each reader.
type rest struct {
	crop      Crop
	transform int
	metadata  int // length
	answers   ID
	colour    Colour
	used      [maxPlanes]int // bytes of each plane
}

// dress writes what the headers of all frames in a slot have in common. What no function writes is 0, and stays it.
func (p *pool) dress(h *[frameSize]byte, slot int) {
	copy(h[:], slotMagic)
	order.PutUint32(h[4:], frameSize)
	order.PutUint32(h[16:], p.epoch)
	order.PutUint32(h[20:], uint32(slot))
	order.PutUint32(h[108:], uint32(len(p.format.Planes)))
	for i, plane := range p.format.Planes {
		e := h[planesAt+planeSize*i:]
		order.PutUint64(e, uint64(plane.Offset))
		order.PutUint32(e[16:], uint32(plane.Stride))
	}
}

// put writes it into a frame header.
func (d *rest) put(h *[frameSize]byte, planes int) {
	order.PutUint32(h[56:], uint32(d.crop.X))
	order.PutUint32(h[60:], uint32(d.crop.Y))
	order.PutUint32(h[64:], uint32(d.crop.Width))
	order.PutUint32(h[68:], uint32(d.crop.Height))
	order.PutUint32(h[72:], uint32(d.transform))
	order.PutUint32(h[76:], uint32(d.metadata))
	order.PutUint64(h[80:], d.answers.Channel)
	order.PutUint64(h[88:], d.answers.Sequence)
	order.PutUint32(h[96:], d.answers.Slot)
	order.PutUint32(h[100:], d.answers.Generation)
	d.colour.put(h[104:108])
	for i := range planes {
		order.PutUint64(h[planesAt+planeSize*i+8:], uint64(d.used[i]))
	}
}

// begin writes what is known of the frame header as soon as the slot is taken.
func (l *Loan) begin(s *slot) {
	p := l.pool
	h := (*[frameSize]byte)(p.of(int(l.slot)))
	if s.rest == nil {
		p.dress(h, int(l.slot))
	}
	order.PutUint32(h[24:], s.generation)
}

// put writes the frame header, and the metadata behind it.
func (l *Loan) put(s *slot, sequence uint64, published int64) {
	p := l.pool
	b := p.of(int(l.slot))
	h := (*[frameSize]byte)(b)
	used := l.used
	if used == nil {
		used = &p.sizes
	}
	if d := s.rest; d == nil || l.Crop != d.crop || l.Transform != d.transform || len(l.Metadata) != d.metadata ||
		l.Answers != d.answers || l.Colour != d.colour || *used != d.used {
		if d == nil {
			d = new(rest)
			s.rest = d
		}
		*d = rest{l.Crop, l.Transform, len(l.Metadata), l.Answers, l.Colour, *used}
		d.put(h, len(p.format.Planes))
	}
	order.PutUint64(h[8:], sequence)
	order.PutUint32(h[28:], uint32(l.Flags))
	order.PutUint64(h[32:], uint64(cmp.Or(l.Timestamp, published)))
	order.PutUint64(h[40:], uint64(published))
	order.PutUint64(h[48:], uint64(l.Duration))
	copy(b[frameSize:slotPrefix], l.Metadata)
}

// parse reads what take does not know of a frame header in shared memory, each field once, and checks that what it says lies in the slot. It
// returns the length of the metadata. A variable has what was loaded: to load it again would be incorrect compilation, by Go's memory model.
func (f *Frame) parse(h *[frameSize]byte, s *shape) (int, error) {
	if string(h[:4]) != slotMagic || order.Uint32(h[4:]) != frameSize {
		return 0, errors.New("a published frame has no header")
	}
	get := func(at int) int { return int(order.Uint32(h[at:])) }
	f.Timestamp, f.Duration, f.Flags = int64(order.Uint64(h[32:])), int64(order.Uint64(h[48:])), Flags(get(28))
	f.Crop.X, f.Crop.Y, f.Crop.Width, f.Crop.Height = get(56), get(60), get(64), get(68)
	f.Transform, f.Colour = get(72), parseColour(h[104:])
	f.Answers.Channel, f.Answers.Sequence = order.Uint64(h[80:]), order.Uint64(h[88:])
	f.Answers.Slot, f.Answers.Generation = order.Uint32(h[96:]), order.Uint32(h[100:])
	f.Epoch, f.Published = order.Uint32(h[16:]), int64(order.Uint64(h[40:]))
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
		if size != uint64(p.Size) && f.used == nil {
			f.used = new(s.sizes)
		}
		if f.used != nil {
			f.used[i] = int(size)
		}
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
