// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// attached is a reader as its writer sees it.
type attached struct {
	*words
	conn     *conn
	mode     Mode
	deadline time.Duration
	event    *sys.FD
	start    uint64 // the first frame that it gets, and from there on what needs returned
	evicted  bool
	pid      int
	since    int64
}

// words is the memory that a reader writes; here it is mapped read-only. Every value is loaded once and believed as far as it can
// hurt that reader only.
type words struct {
	memory           *sys.Memory
	fd               *sys.FD
	asleep           *atomic.Uint32
	cursor           *atomic.Uint64
	received, missed *atomic.Uint64
	holds            []*atomic.Uint32
}

// newWords makes the memory for a reader that may hold so many frames.
func newWords(holds int) (*words, error) {
	fd, err := sys.NewMemory("frames-reader", wordsSize)
	if err != nil {
		return nil, err
	}
	const seals = sys.SealShrink | sys.SealGrow | sys.SealSeal
	if err = sys.Seal(fd.Int(), seals); err == nil {
		var w *words
		if w, err = mapWords(fd, holds, false); err == nil {
			return w, nil
		}
	}
	fd.Close()
	return nil, err
}

// mapWords maps the words of a reader, for the writer or for the reader.
func mapWords(fd *sys.FD, holds int, writable bool) (*words, error) {
	memory, err := sys.MapMemory(fd.Int(), writable, sys.SealShrink|sys.SealGrow, wordsSize, wordsSize)
	if err != nil {
		return nil, err
	}
	w := &words{
		memory: memory, fd: fd, asleep: memory.Word32(atAsleep), cursor: memory.Word64(atCursor),
		received: memory.Word64(atReceived), missed: memory.Word64(atMissed),
	}
	for i := range holds {
		w.holds = append(w.holds, memory.Word32(atHold+4*i))
	}
	return w, nil
}

func (w *words) unmap() {
	if w != nil {
		w.memory.Unmap()
		w.fd.Close()
	}
}

// mark marks the slots that the reader holds; what names no slot is ignored.
func (w *words) mark(held []bool) {
	for _, h := range w.holds {
		if i := h.Load(); i > 0 && i <= uint32(len(held)) {
			held[i-1] = true
		}
	}
}

// has tells whether the reader holds a slot.
func (w *words) has(slot int) bool {
	for _, h := range w.holds {
		if h.Load() == uint32(slot)+1 {
			return true
		}
	}
	return false
}

// needs is the first frame that the reader has not taken. It only goes up: a reader whose cursor goes up and down makes no progress,
// and is evicted in time. Called with the lock of the writer.
func (r *attached) needs() uint64 {
	r.start = max(r.cursor.Load(), r.start)
	return r.start
}

// follow makes new words for the next pool and tells the reader.
func (r *attached) follow(p *pool) (*words, error) {
	w, err := newWords(len(r.holds))
	if err != nil {
		return nil, err
	}
	if err := r.conn.send(poolKind, newPool{p.epoch, len(r.holds)}.append, p.fd.Int(), w.fd.Int()); err != nil {
		w.unmap()
		return nil, err
	}
	return w, nil
}
