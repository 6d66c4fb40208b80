// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"fmt"
	"testing"
)

// Words and registers of the models.
const (
	mHead = iota
	mClosed
	mBell
	mAsleep
	mEvent
	mWanted
	mCursor
	mState = 0
	mHold  = 1
	mUsing = 2
	mWrite = 3
)

// How a reader hears of its eventfd.
const (
	byLevel  = iota // it reads it
	byEdge          // it is told of writes, forgets those until now, looks at the bell, and waits for another
	edgeLate        // as byEdge, but it looks at the bell first, which is wrong
)

// frameWake: the writer publishes two frames and ends the channel; the reader takes both and must see the end. fences: that of the
// writer before it looks at asleep, and, of a reader with an eventfd, that before it looks at the bell again.
func frameWake(byEvent, writerFence, readerFence bool, heard int) *model {
	maybe := func(on bool) func(int) step {
		if on {
			return fence
		}
		return nothing
	}
	var writer []func(int) step
	for i := int8(1); i <= 3; i++ {
		if i < 3 {
			writer = append(writer, store(mHead, number(i)))
		} else {
			writer = append(writer, store(mClosed, number(1)))
		}
		at := len(writer)
		writer = append(writer, store(mBell, number(i)), maybe(writerFence), load(mAsleep, 0),
			jump(at+5, func(p *modelParty) bool { return p.reg[0] == 0 }))
		if byEvent {
			writer = append(writer, eventStore)
		} else {
			writer = append(writer, wakeOther(1))
		}
	}
	const bell, closed, head, got = 0, 1, 2, 3
	reader := []func(int) step{
		load(mBell, bell), load(mClosed, closed), load(mHead, head), // 0
		jump(6, func(p *modelParty) bool { return p.reg[head] == p.reg[got] }), // 3: nothing to take
		take, jump(0, always), // 4
		jump(over, func(p *modelParty) bool { return p.reg[closed] == 1 }), // 6
		store(mAsleep, number(1)), // 7
	}
	if byEvent {
		before, after := nothing, nothing
		switch heard {
		case byEdge:
			before = eventForget
		case edgeLate:
			after = eventForget
		}
		reader = append(reader, maybe(readerFence), before, load(mBell, head), after, // 8
			jump(14, func(p *modelParty) bool { return p.reg[head] != p.reg[bell] }), // 12
			eventWait, store(mAsleep, number(0)), jump(0, always)) // 13
	} else {
		reader = append(reader, sleepOn(mBell, bell), store(mAsleep, number(0)), jump(0, always)) // 8
	}
	m := &model{name: fmt.Sprintf("frames, eventfd %t, fences %t %t, heard %d", byEvent, writerFence, readerFence, heard), programs: [2][]func(int) step{writer, reader}}
	m.bad = func(s *modelState) bool { return s.party[1].pc == over && s.party[1].reg[got] != 2 }
	return m
}

// take takes the newest frame.
func take(pc int) step {
	return func(_ *modelState, p *modelParty) int {
		p.reg[3] = p.reg[2]
		return pc + 1
	}
}

// eventStore writes the eventfd: a system call, which other memory accesses do not pass.
func eventStore(pc int) step {
	return func(s *modelState, p *modelParty) int {
		if p.n > 0 {
			return stuck
		}
		s.memory[mEvent] = 1
		s.party[1].asleep = false
		return pc + 1
	}
}

// eventForget makes a reader forget what was written.
func eventForget(pc int) step {
	return func(s *modelState, p *modelParty) int {
		s.memory[mEvent] = 0
		return pc + 1
	}
}

// eventWait waits until the eventfd is readable, and reads it.
func eventWait(pc int) step {
	return func(s *modelState, p *modelParty) int {
		if s.memory[mEvent] == 0 {
			p.asleep = true
			return pc // looks again when it is woken
		}
		s.memory[mEvent] = 0
		return pc + 1
	}
}

// losslessWake: the writer needs the reader's cursor at 1; the reader moves it there once and tells the writer if that wants to know.
func losslessWake(writerFence, readerFence bool) *model {
	maybe := func(on bool) func(int) step {
		if on {
			return fence
		}
		return nothing
	}
	writer := []func(int) step{
		store(mWanted, number(1)), maybe(writerFence), // 0
		load(mCursor, 0), jump(over, func(p *modelParty) bool { return p.reg[0] == 1 }), // 2
		messageWait, jump(2, always), // 4
	}
	reader := []func(int) step{
		store(mCursor, number(1)), maybe(readerFence), load(mWanted, 0), // 0
		jump(over, func(p *modelParty) bool { return p.reg[0] == 0 }), messageSend,
	}
	return &model{name: fmt.Sprintf("lossless, fences %t %t", writerFence, readerFence), programs: [2][]func(int) step{writer, reader}}
}

func messageSend(pc int) step {
	return func(s *modelState, p *modelParty) int {
		if p.n > 0 {
			return stuck
		}
		s.memory[mEvent] = 1
		s.party[0].asleep = false
		return pc + 1
	}
}

func messageWait(pc int) step { return eventWait(pc) }

// holding: the writer retires a slot, looks at the hold, and writes; the reader holds, looks at the state, and reads. Never both.
func holding(writerFence, readerFence bool) *model {
	maybe := func(on bool) func(int) step {
		if on {
			return fence
		}
		return nothing
	}
	mark := func(word int, value int8) func(int) step { // what is seen of it is not memory, so it is not buffered
		return func(pc int) step {
			return func(s *modelState, p *modelParty) int {
				s.memory[word] = value
				return pc + 1
			}
		}
	}
	writer := []func(int) step{
		store(mState, number(1)), maybe(writerFence), load(mHold, 0), // 0: retired
		jump(over, func(p *modelParty) bool { return p.reg[0] == 1 }),
		mark(mWrite, 1),
	}
	reader := []func(int) step{
		store(mHold, number(1)), maybe(readerFence), load(mState, 0), // 0
		jump(over, func(p *modelParty) bool { return p.reg[0] == 1 }),
		mark(mUsing, 1),
	}
	m := &model{name: fmt.Sprintf("holding, fences %t %t", writerFence, readerFence), programs: [2][]func(int) step{writer, reader}}
	m.bad = func(s *modelState) bool { return s.memory[mUsing] == 1 && s.memory[mWrite] == 1 }
	return m
}

func TestModel(t *testing.T) {
	good := []*model{frameWake(false, true, false, byLevel), frameWake(true, true, true, byLevel), frameWake(true, true, true, byEdge), losslessWake(true, true), holding(true, true)}
	for _, m := range good {
		n, err := m.run()
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d states", m.name, n)
	}
	// A model that could not find anything would prove nothing.
	bad := []*model{
		frameWake(false, false, false, byLevel), frameWake(true, false, true, byLevel), frameWake(true, true, false, byLevel),
		frameWake(true, false, true, byEdge), frameWake(true, true, false, byEdge), frameWake(true, true, true, edgeLate),
		losslessWake(false, true), losslessWake(true, false), holding(false, true), holding(true, false),
	}
	for _, m := range bad {
		if _, err := m.run(); err == nil {
			t.Errorf("%s: nothing was found", m.name)
		}
	}
}
