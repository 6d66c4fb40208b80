// SPDX-License-Identifier: Apache-2.0

package frames

import "github.com/switchboard-ipc/switchboard/internal/sys"

// Frame is one frame that a reader holds: its planes are the writer's memory, which does not change until Release. It may be released by
// any goroutine.
type Frame struct {
	Info
	Sequence   uint64
	Published  int64  // when, in nanoseconds of CLOCK_MONOTONIC
	Missed     uint64 // frames that were published since the one before this, and that the reader did not get
	Epoch      uint32 // goes up when the format changes
	Slot       int
	Generation uint32

	hold   int32
	view   *view
	serial uint64          // of the frames of the view: its hold has it until Release
	at     int             // offset of the slot
	used   *[maxPlanes]int // bytes of each plane, if one has fewer than the format
}

// Plane returns the bytes of a plane, which cannot be written; of a coded stream those that are used. They are only there until
// Release; after it, Plane returns nil.
func (f *Frame) Plane(i int) []byte {
	if f.view.taken[f.hold].Load() != f.serial {
		return nil
	}
	n := f.view.format.Planes[i].Size
	if f.used != nil {
		n = f.used[i]
	}
	at := f.at + f.view.format.Planes[i].Offset
	return f.view.memory.Bytes()[at : at+n : at+n]
}

// Planes returns how many planes there are.
func (f *Frame) Planes() int { return len(f.view.format.Planes) }

// Format returns the format of the frame.
func (f *Frame) Format() Format { return f.view.format }

// ID returns what the frame is known by for good, for [Info.Answers] of a frame that is made of it.
func (f *Frame) ID() ID {
	return ID{order.Uint64(f.view.channel[:]), f.Sequence, uint32(f.Slot), f.Generation}
}

// Release gives the frame back. Metadata and planes must not be used any more. Again it does nothing.
func (f *Frame) Release() {
	v := f.view
	taken := &v.taken[f.hold]
	if !taken.CompareAndSwap(f.serial, releasing) {
		return
	}
	f.Metadata = nil
	v.reader.at("release.start")
	sys.Release32(v.words.holds[f.hold], 0)
	v.reader.at("release.cleared")
	v.reader.tell(v)
	if !v.left.Load() { // loaded behind the exchange above: leave waits for who does not see it
		sys.Release64(taken, 0)
		return
	}
	taken.Store(0)
	v.unmapUnused()
}
