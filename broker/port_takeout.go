// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// takeOut takes messages out of the queue of a port that nobody reads: those whose header pick chooses. Each is given to taken with its
// descriptors, which are closed after that. The others stay, in their order.
//
// A queue gives nothing but its first. If others stand before one that is chosen, the whole queue turns: each is read and sent again. What is
// sent meanwhile can get between those; then it turns again, and that goes behind, until nothing stands before what had been there earlier.
// Who sends without pause can prevent that for ever: mixed says that it was left so. Lost is how many there was no room for any more.
func takeOut(receive, send int, pick func(head []byte) bool, taken func(packet []byte, fds []int)) (lost int, mixed bool, err error) {
	q := &queueTurn{receive: receive, send: send, pick: pick, taken: taken}
	var head [mach.HeaderSize]byte
	queued, last, behind, longest := 0, 0, 0, 0 // last: of those that are chosen; behind: how many of them others stand before
	err = sys.PeekEach(receive, head[:], func(head []byte, size int) {
		if queued, longest = queued+1, max(longest, size); pick(head) {
			if last++; last < queued {
				behind++
			}
		}
	})
	if err != nil || last == 0 {
		return 0, false, err
	}
	if behind == 0 {
		queued = last
	}
	defer q.restore()
	q.turn(queued, longest)
	for range turnsMost {
		n, longest, mixed, err := q.look()
		if err != nil || !mixed {
			return q.giveUp(), false, err
		}
		q.turn(n, longest)
	}
	_, _, mixed, err = q.look()
	return q.giveUp(), mixed, err
}

// turnsMost bounds how often a queue turns again, under the broker's lock.
const turnsMost = 8

// queueTurn is one takeOut.
type queueTurn struct {
	receive, send int
	pick          func([]byte) bool
	taken         func([]byte, []int)

	turned bool          // once at least
	kept   []keptMessage // on their way back, in order
	back   [][]byte      // back since the last turn began, in order
	lost   int
	room   int // what the queue had before it was given more; 0: it was not
}

// keptMessage is a message that is on its way back into its queue.
type keptMessage struct {
	data []byte
	fds  []int
}

// turn reads the first n messages and sends those that are not chosen again: first, in their order, those that the last turn sent, then those
// that it had no room for, and what had got between them after that.
func (q *queueTurn) turn(n, longest int) {
	earlier, late, first := q.back, q.kept, !q.turned
	q.back, q.kept, q.turned = nil, nil, true
	buffer := sys.NewBuffer(longest)
	for n > 0 {
		size, err := buffer.Recv(q.receive)
		if err != nil || size == 0 && sys.Ended(q.receive) {
			break
		}
		packet := buffer.Data[:size]
		switch {
		case size == 0: // no message, and PeekEach does not tell of it
			n++
		case q.pick(packet):
			q.taken(packet, buffer.FDs)
		case buffer.Truncated || buffer.ControlTruncated: // there are no descriptors left here
			q.lost++
		case first:
			q.put(keep(packet, buffer))
		case len(earlier) > 0 && bytes.Equal(packet, earlier[0]):
			earlier = earlier[1:]
			q.put(keep(packet, buffer))
		default:
			late = append(late, keep(packet, buffer))
		}
		buffer.Message.Close()
		n--
	}
	for _, m := range late {
		q.put(m)
	}
}

func keep(packet []byte, buffer *sys.Buffer) keptMessage {
	m := keptMessage{bytes.Clone(packet), append([]int(nil), buffer.FDs...)}
	buffer.FDs = nil
	return m
}

// look compares the queue with what went back: how many messages there are now, the longest of them, and whether one that came
// meanwhile stands before one that went back. Of two that are alike to the byte, either is taken for the other.
func (q *queueTurn) look() (n, longest int, mixed bool, err error) {
	for _, packet := range q.back {
		longest = max(longest, len(packet))
	}
	if longest == 0 {
		return 0, 0, false, nil
	}
	at, late := 0, false
	err = sys.PeekEach(q.receive, make([]byte, longest), func(head []byte, size int) {
		n, longest = n+1, max(longest, size)
		if at < len(q.back) && size == len(q.back[at]) && bytes.Equal(head, q.back[at]) {
			at, mixed = at+1, mixed || late
		} else {
			late = true
		}
	})
	return n, longest, mixed, err
}

// put sends a message behind those that wait for room.
func (q *queueTurn) put(m keptMessage) {
	q.kept = append(q.kept, m)
	for len(q.kept) > 0 {
		m := q.kept[0]
		if _, err := sys.Send(q.send, m.data, m.fds...); isAgain(err) && q.grow() {
			continue
		} else if err != nil {
			return
		}
		sys.CloseAll(m.fds)
		q.back, q.kept = append(q.back, m.data), q.kept[1:]
	}
}

// grow gives the queue more room, for what senders have taken of it; false: it has that already.
func (q *queueTurn) grow() bool {
	if q.room != 0 {
		return false
	}
	var err error
	if q.room, err = sys.SendBuffer(q.send); err == nil {
		err = sys.SetSendBuffer(q.send, moreRoom)
	}
	return err == nil
}

// moreRoom is what a queue gets, if the kernel allows so much: twice that, as it counts.
const moreRoom = 1 << 20

// restore takes that back. What is in the queue stays.
func (q *queueTurn) restore() {
	if q.room != 0 {
		_ = sys.SetSendBuffer(q.send, q.room/2)
	}
}

// giveUp throws away what there is no room for, and returns how many messages are lost.
func (q *queueTurn) giveUp() int {
	for _, m := range q.kept {
		sys.CloseAll(m.fds)
	}
	return q.lost + len(q.kept)
}
