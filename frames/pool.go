// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// pool is one epoch of a writer: its memory, and what the writer knows about the slots. It never reads back what it wrote there.
type pool struct {
	shape
	memory *sys.Memory
	fd     *sys.FD
	mine   []slot
	used   int // slots that were ever used: those from there on have no memory yet
	loans  int // slots on loan
	old    bool
	rung   uint32 // bell
	fence  atomic.Uint32

	head, newest   *atomic.Uint64
	bell           *atomic.Uint32
	wanted, closed *atomic.Uint32
}

// slot is the writer's own view of one.
type slot struct {
	word       *atomic.Uint64
	state      uint32
	generation uint32
	sequence   uint64 // if ready
	rest       *rest  // what the frame header there says; nil: nothing yet, not even what never changes
}

// newPoolMemory makes a pool's memory, sealed so that nobody else can ever write it.
func newPoolMemory(s shape) (*pool, error) {
	fd, err := sys.NewMemory("frames", s.size)
	if err != nil {
		return nil, err
	}
	memory, err := sys.MapMemory(fd.Int(), true, 0, int64(s.size), int64(s.size))
	if err == nil {
		if err = sys.Seal(fd.Int(), sys.SealShrink|sys.SealGrow|sys.SealFutureWrite|sys.SealSeal); err != nil {
			memory.Unmap()
		}
	}
	if err != nil {
		fd.Close()
		return nil, err
	}
	p := &pool{
		shape: s, memory: memory, fd: fd, mine: make([]slot, s.slots),
		head: memory.Word64(atHead), newest: memory.Word64(atNewest), bell: memory.Word32(atBell), wanted: memory.Word32(atWanted), closed: memory.Word32(atClosed),
	}
	for i := range p.mine {
		p.mine[i].word = memory.Word64(s.tableAt + i*entrySize)
	}
	s.put(memory.Bytes())
	p.head.Store(s.first - 1)
	return p, nil
}

// set changes the state of a slot, here and for all to see, after all that was stored before.
func (p *pool) set(i int, state uint32) {
	s := &p.mine[i]
	s.state = state
	sys.Release64(s.word, slotWord(state, s.generation))
}

// retire is set(i, retired) with a fence behind it.
func (p *pool) retire(i int) {
	s := &p.mine[i]
	s.state = retired
	s.word.Store(slotWord(retired, s.generation))
}

// of returns the memory of a slot.
func (p *pool) of(i int) []byte {
	at := p.slotsAt + i*p.slotSize
	return p.memory.Bytes()[at : at+p.slotSize : at+p.slotSize]
}

// choose finds the slot that is to be written next, by the rules of docs/frames.md, section 4. held says which slots readers hold; frames from
// needed on are those that a lossless reader still needs. -1: there is none, because of the reader who needs the frame that is returned, or,
// without one (0), because all are on loan.
func (p *pool) choose(held []bool, needed uint64) (int, uint64) {
	oldest, unheld, newest := -1, 0, p.head.Load()
	for i := range p.used {
		s := &p.mine[i]
		switch {
		case s.state == writing || held[i]:
		case s.state == retired:
			return i, 0
		default:
			unheld++
			if s.sequence != newest && (oldest < 0 || s.sequence < p.mine[oldest].sequence) {
				oldest = i
			}
		}
	}
	switch {
	case unheld+p.loans < p.base && p.used < p.slots:
		return p.used, 0
	case oldest < 0:
		return -1, 0
	case p.mine[oldest].sequence >= needed:
		return -1, p.mine[oldest].sequence
	}
	return oldest, 0
}

// ring tells readers that something changed. The bell is stored like what it rings for, which is in the same line of memory: an
// exchange would have to get that back from readers who look at it again and again. So the fence before the readers' words are
// loaded is an exchange of a word of our own.
func (p *pool) ring(readers []*attached) {
	p.rung++
	sys.Release32(p.bell, p.rung)
	p.fence.Swap(1)
	futex := false
	for _, r := range readers {
		switch r.asleep.Load() {
		case onFutex:
			futex = true
		case wantsEvent:
			sys.SignalEvent(r.event.Int())
		}
	}
	if futex {
		sys.FutexWake(p.bell)
	}
}

// release gives the writer's part of the memory up, once nothing of an old pool is on loan any more.
func (p *pool) release() {
	p.fd.Close()
	if p.old && p.loans == 0 {
		p.memory.Unmap()
	}
}
