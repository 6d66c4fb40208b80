// SPDX-License-Identifier: Apache-2.0

package frames

import "fmt"

// A model of the protocol, whose interleavings are all gone through. Each party is a small program over shared words. A store goes into
// the party's store buffer first, as on x86, and reaches memory at any later time; a party reads its own buffered stores. What is a
// fence waits until the buffer is empty. Sleeping compares in the kernel, behind a barrier, and either sleeps or goes on, in one
// step, as futexes do. Whoever runs, no party may sleep for ever, and nothing forbidden may be seen.

const (
	modelParties = 2
	modelWords   = 8
	modelBuffer  = 3
)

type modelStore struct{ word, value int8 }

type modelParty struct {
	pc     int8
	reg    [4]int8
	asleep bool
	n      int8
	buffer [modelBuffer]modelStore
}

type modelState struct {
	memory [modelWords]int8
	party  [modelParties]modelParty
}

// step is one instruction: it changes the state and returns where to go on, or -1 if it cannot be done now. All but the
// buffer's own delay happens at once.
type step func(s *modelState, p *modelParty) int

const (
	stuck = -1
	over  = 127
)

func load(word, reg int) func(int) step {
	return func(pc int) step {
		return func(s *modelState, p *modelParty) int {
			p.reg[reg] = s.memory[word]
			for i := range int(p.n) {
				if int(p.buffer[i].word) == word {
					p.reg[reg] = p.buffer[i].value
				}
			}
			return pc + 1
		}
	}
}

func store(word int, value func(p *modelParty) int8) func(int) step {
	return func(pc int) step {
		return func(s *modelState, p *modelParty) int {
			if p.n == modelBuffer {
				return stuck
			}
			p.buffer[p.n] = modelStore{int8(word), value(p)}
			p.n++
			return pc + 1
		}
	}
}

func number(n int8) func(*modelParty) int8 { return func(*modelParty) int8 { return n } }

func fence(pc int) step {
	return func(s *modelState, p *modelParty) int {
		if p.n > 0 {
			return stuck
		}
		return pc + 1
	}
}

func nothing(pc int) step { return func(*modelState, *modelParty) int { return pc + 1 } }

// jump goes to another place if the registers are so.
func jump(to int, when func(p *modelParty) bool) func(int) step {
	return func(pc int) step {
		return func(_ *modelState, p *modelParty) int {
			if when(p) {
				return to
			}
			return pc + 1
		}
	}
}

func always(*modelParty) bool { return true }

// sleepOn sleeps if the word still has the value of a register. The kernel's barrier waits for the buffer.
func sleepOn(word, reg int) func(int) step {
	return func(pc int) step {
		return func(s *modelState, p *modelParty) int {
			if p.n > 0 {
				return stuck
			}
			p.asleep = s.memory[word] == p.reg[reg]
			return pc + 1
		}
	}
}

// wakeOther wakes the other party if it sleeps on the futex; behind a barrier, too.
func wakeOther(other int) func(int) step {
	return func(pc int) step {
		return func(s *modelState, p *modelParty) int {
			if p.n > 0 {
				return stuck
			}
			s.party[other].asleep = false
			return pc + 1
		}
	}
}

type model struct {
	name     string
	programs [modelParties][]func(int) step
	bad      func(s *modelState) bool // nil: only sleeping for ever is
}

// run goes through all states and returns how many there are, and what is wrong with the first bad one.
func (m *model) run() (int, error) {
	var steps [modelParties][]step
	for i, program := range m.programs {
		for pc, make := range program {
			steps[i] = append(steps[i], make(pc))
		}
	}
	seen := map[modelState]bool{{}: true}
	todo := []modelState{{}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		moved := false
		add := func(next modelState) {
			moved = true
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
		for i := range s.party {
			if p := &s.party[i]; p.n > 0 { // the oldest store reaches memory
				next := s
				q := &next.party[i]
				next.memory[q.buffer[0].word] = q.buffer[0].value
				copy(q.buffer[:], q.buffer[1:])
				q.n--
				q.buffer[q.n] = modelStore{}
				add(next)
			}
			if p := &s.party[i]; !p.asleep && int(p.pc) < len(steps[i]) {
				next := s
				if to := steps[i][p.pc](&next, &next.party[i]); to != stuck {
					next.party[i].pc = int8(to)
					add(next)
				}
			}
		}
		if m.bad != nil && m.bad(&s) {
			return len(seen), fmt.Errorf("%s: forbidden: %+v", m.name, s)
		}
		for i := range s.party {
			if !moved && s.party[i].asleep {
				return len(seen), fmt.Errorf("%s: party %d sleeps for ever: %+v", m.name, i, s)
			}
		}
	}
	return len(seen), nil
}
