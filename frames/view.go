// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// view is one pool as a reader sees it, with the reader's own words for it.
type view struct {
	shape
	memory *sys.Memory
	words  *words
	reader *Reader
	line   *line // to its writer

	taken  [maxHolds]atomic.Uint64 // the frame that has the hold, or releasing, or 0; Next sets it, Release clears it
	serial uint64                  // of the frame taken last
	left   atomic.Bool             // the reader itself does not use it any more
	gone   atomic.Bool             // it is mapped no more

	head, newest   *atomic.Uint64
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
	v.head, v.newest = memory.Word64(atHead), memory.Word64(atNewest)
	v.bell, v.wanted, v.closed = memory.Word32(atBell), memory.Word32(atWanted), memory.Word32(atClosed)
	return v, nil
}

// releasing is the hold of a frame while Release is at it, which may still use the memory.
const releasing = ^uint64(0)

// leave ends the reader's own use of the view, which is unmapped when no frame is held either. A Release that begins behind this
// sees that it has left; one that has begun is waited for, which takes some instructions.
func (v *view) leave() {
	v.left.Store(true)
	for i := range v.taken {
		for v.taken[i].Load() == releasing {
			time.Sleep(time.Microsecond)
		}
	}
	v.unmapUnused()
}

// unmapUnused is called when the reader has left.
func (v *view) unmapUnused() {
	for i := range v.taken {
		if v.taken[i].Load() != 0 {
			return
		}
	}
	if !v.gone.Swap(true) {
		v.memory.Unmap()
		v.words.unmap()
	}
}

func (v *view) slotWord(i int) *atomic.Uint64 { return v.memory.Word64(v.tableAt + i*entrySize) }

// freeHold finds a hold word that is not in use, or -1.
func (v *view) freeHold() int {
	for i := range v.words.holds {
		if v.taken[i].Load() == 0 {
			return i
		}
	}
	return -1
}

// take tries to get the frame with a sequence, of which entry says where it should be (docs/frames.md, section 4). Hold, fence (the store is one),
// look at the state: a writer that retires, fence, looks at the holds finds out, or is found. nil and no error: the frame is gone.
func (r *Reader) take(v *view, q, entry uint64) (*Frame, error) {
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
	slot := v.memory.Bytes()[at : at+v.slotSize]
	header := (*[frameSize]byte)(slot)
	if v.slotWord(i).Load() != slotWord(ready, generation) || order.Uint64(header[8:]) != q {
		hold.Store(0)
		return nil, nil
	}
	r.at("take.checked")
	r.stock()
	f := &r.frames[0]
	r.frames = r.frames[1:]
	v.serial++
	f.view, f.hold, f.serial, f.at = v, int32(h), v.serial, at
	f.Sequence, f.Slot, f.Generation = q, i, generation
	length, err := f.parse(header, &v.shape)
	if err != nil {
		hold.Store(0)
		return nil, fault("%v", err)
	}
	if length > 0 {
		f.Metadata = slot[frameSize : frameSize+length : frameSize+length]
	}
	sys.Release64(&v.taken[h], v.serial)
	return f, nil
}

// stock makes sure that there is a Frame to be handed out.
func (r *Reader) stock() {
	if len(r.frames) == 0 {
		r.frames = make([]Frame, together)
	}
}
