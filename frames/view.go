// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// view is one pool as a reader sees it, with the reader's own words for it.
type view struct {
	shape
	memory *sys.Memory
	words  *words
	line   *line // to its writer
	taken  [maxHolds]atomic.Bool
	refs   atomic.Int32 // the reader's own, and one for each frame held

	head           *atomic.Uint64
	bell           *atomic.Uint32
	wanted, closed *atomic.Uint32
}

// newView maps a pool and the reader's words. The descriptors are closed in any case.
func newView(pool, own int, holds int) (*view, error) {
	poolFD, ownFD := sys.NewFD(pool), sys.NewFD(own)
	defer poolFD.Close()
	memory, err := sys.MapMemory(poolFD.Int(), false, sys.SealShrink|sys.SealGrow, headerSize, maxPool)
	if err != nil {
		ownFD.Close()
		return nil, fmt.Errorf("cannot map the frames: %w", err)
	}
	b := memory.Bytes()
	v := &view{memory: memory}
	if v.shape, err = parseShape(bytes.Clone(b[:headerSize]), len(b)); err == nil {
		v.words, err = mapWords(ownFD, holds, true)
	}
	if err != nil {
		memory.Unmap()
		ownFD.Close()
		return nil, fmt.Errorf("cannot use the frames: %w", err)
	}
	ownFD.Close() // the mapping stays
	v.head, v.bell, v.wanted, v.closed = memory.Word64(atHead), memory.Word32(atBell), memory.Word32(atWanted), memory.Word32(atClosed)
	v.refs.Store(1)
	return v, nil
}

func (v *view) unref() {
	if v.refs.Add(-1) == 0 {
		v.memory.Unmap()
		v.words.unmap()
	}
}

func (v *view) slotWord(i int) *atomic.Uint64 { return v.memory.Word64(v.tableAt + i*entrySize) }

// freeHold finds a hold word that is not in use, or -1.
func (v *view) freeHold() int {
	for i := range v.words.holds {
		if !v.taken[i].Load() {
			return i
		}
	}
	return -1
}

// take tries to get the frame with a sequence (docs/frames.md, section 4). Hold, fence (the store is one), look at the state: a writer that
// retires, fence, looks at the holds finds out, or is found. nil and no error: the frame is gone.
func (r *Reader) take(v *view, q uint64) (*Frame, error) {
	entry := v.memory.Word64(v.logAt + int(q)&(v.entries-1)*8).Load()
	i, generation := int(uint32(entry)), uint32(entry>>32)
	if i >= v.slots {
		return nil, fault("frame %d is in slot %d of %d", q, i, v.slots)
	}
	h := v.freeHold()
	if h < 0 {
		return nil, ErrTooManyHeld
	}
	hold := v.words.holds[h]
	hold.Store(uint32(i) + 1)
	r.at("take.held")
	at := v.slotsAt + i*v.slotSize
	slot := v.memory.Bytes()[at : at+v.slotSize : at+v.slotSize]
	if v.slotWord(i).Load() != slotWord(ready, generation) || order.Uint64(slot[8:]) != q {
		hold.Store(0)
		return nil, nil
	}
	r.at("take.checked")
	if len(r.frames) == 0 {
		r.frames = make([]Frame, together)
	}
	f := &r.frames[0]
	r.frames = r.frames[1:]
	f.r, f.view, f.hold, f.slot, f.Slot = r, v, h, slot, i
	var copied [frameSize]byte // from here on the slot does not change, if the writer keeps the rules
	length, err := f.parse(copied[:copy(copied[:], slot[:planesAt+planeSize*len(v.format.Planes)])], &v.shape)
	if err != nil {
		hold.Store(0)
		return nil, fault("%v", err)
	}
	f.Metadata = slot[frameSize : frameSize+length : frameSize+length]
	v.refs.Add(1)
	v.taken[h].Store(true)
	return f, nil
}
