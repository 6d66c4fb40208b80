// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"encoding/binary"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// queue is a pair with what takes messages out of its queue.
type queue struct {
	t             *testing.T
	receive, send *sys.FD
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	receive, send, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receive.Close(); send.Close() })
	return &queue{t, receive, send}
}

// queued is a message of one sender, number n, which is to be taken out or to stay.
func queued(sender, n int, out bool, more int) []byte {
	h := mach.Header{Bits: mach.NewBits(false, mach.CopySend, 0), Reserved: uint32(sender), ID: int32(n)}
	if out {
		h.Local = 1
	}
	return mach.Message{Header: h, Body: make([]byte, more)}.Append(nil)
}

func chosen(head []byte) bool { return binary.LittleEndian.Uint32(head[12:]) != 0 }

// post sends as soon as there is room.
func (q *queue) post(packet []byte, fds ...int) {
	for {
		_, err := sys.Send(q.send.Int(), packet, fds...)
		if err == nil {
			return
		}
		if err != syscall.EAGAIN {
			q.t.Error(err)
			return
		}
	}
}

// takeOut returns the numbers of those that were taken out.
func (q *queue) takeOut() (out []int, mixed bool) {
	q.t.Helper()
	lost, mixed, err := broker.TakeOut(q.receive.Int(), q.send.Int(), chosen, func(packet []byte, fds []int) {
		out = append(out, int(binary.LittleEndian.Uint32(packet[20:])))
	})
	if lost != 0 || err != nil {
		q.t.Fatalf("%d lost, %v", lost, err)
	}
	return out, mixed
}

// read returns the numbers of what is in the queue, by sender.
func (q *queue) read() map[int][]int {
	q.t.Helper()
	got := make(map[int][]int)
	buffer := sys.NewBuffer(1 << 18)
	for {
		n, err := buffer.Recv(q.receive.Int())
		if err == syscall.EAGAIN {
			return got
		}
		if err != nil {
			q.t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		sender := int(binary.LittleEndian.Uint32(buffer.Data[16:]))
		got[sender] = append(got[sender], int(binary.LittleEndian.Uint32(buffer.Data[20:])))
		buffer.Message.Close()
	}
}

func TestTakeOut(t *testing.T) {
	t.Parallel()
	const out, stay = true, false
	for name, c := range map[string]struct {
		queue []bool
		taken []int
		left  []int
	}{
		"nothing":    {},
		"none":       {[]bool{stay, stay}, nil, []int{0, 1}},
		"all":        {[]bool{out, out, out}, []int{0, 1, 2}, nil},
		"the first":  {[]bool{out, out, stay, stay}, []int{0, 1}, []int{2, 3}},
		"the last":   {[]bool{stay, stay, out}, []int{2}, []int{0, 1}},
		"in between": {[]bool{stay, out, stay, out, stay}, []int{1, 3}, []int{0, 2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			for n, b := range c.queue {
				q.post(nil) // no message, and no end
				q.post(queued(0, n, b, 0))
			}
			got, mixed := q.takeOut()
			if left := q.read()[0]; !slices.Equal(got, c.taken) || !slices.Equal(left, c.left) || mixed {
				t.Errorf("taken %v, left %v, mixed %t", got, left, mixed)
			}
		})
	}
}

// TestTakeOutRights: what stays keeps its descriptors, and its length.
func TestTakeOutRights(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	hears, said := newQueue(t), queued(0, 1, false, 60_000)
	q.post(said, hears.send.Int())
	q.post(queued(0, 2, true, 0), hears.send.Int())
	hears.send.Close()
	if got, _ := q.takeOut(); !slices.Equal(got, []int{2}) {
		t.Fatal(got)
	}
	buffer := sys.NewBuffer(1 << 18)
	n, err := buffer.Recv(q.receive.Int())
	if err != nil || n != len(said) || len(buffer.FDs) != 1 {
		t.Fatalf("%d bytes with %d descriptors, %v", n, len(buffer.FDs), err)
	}
	if sys.HungUp(hears.receive.Int()) {
		t.Error("the right died")
	}
	buffer.Message.Close()
	if !sys.HungUp(hears.receive.Int()) {
		t.Error("a duplicate of the right is left")
	}
}

// TestTakeOutFull: a queue that senders fill again at once loses nothing.
func TestTakeOutFull(t *testing.T) {
	t.Parallel()
	for range 20 {
		q := newQueue(t)
		n := 0
		for ; ; n++ {
			if _, err := sys.Send(q.send.Int(), queued(0, n, n%50 == 49, 100)); err != nil {
				break
			}
		}
		const racers, each = 2, 20 // which is less than what the queue is given more
		var wg sync.WaitGroup
		for sender := 1; sender <= racers; sender++ {
			wg.Go(func() {
				for i := range each {
					q.post(queued(sender, i, false, 100))
				}
			})
		}
		got, _ := q.takeOut()
		left := q.read()
		wg.Wait()
		for sender, more := range q.read() {
			left[sender] = append(left[sender], more...)
		}
		if all := len(got) + len(left[0]) + len(left[1]) + len(left[2]); all != n+racers*each {
			t.Fatalf("of %d messages %d are left", n+racers*each, all)
		}
	}
}

// TestTakeOutRaced: what is sent meanwhile stands behind all that was there, and in its order.
func TestTakeOutRaced(t *testing.T) {
	t.Parallel()
	const there = 100
	q := newQueue(t)
	var want []int
	for i := range there {
		q.post(queued(0, i, i%10 == 9, 0))
		if i%10 != 9 {
			want = append(want, i)
		}
	}
	late := 0
	lost, mixed, err := broker.TakeOut(q.receive.Int(), q.send.Int(), chosen, func([]byte, []int) {
		q.post(queued(1, there+late, late == 5, 0)) // one of them to be taken out as well
		late++
	})
	if lost != 0 || mixed || err != nil || late != there/10+1 {
		t.Fatalf("%d lost, mixed %t, %v; %d came meanwhile", lost, mixed, err, late)
	}
	for n := range late {
		if n != 5 {
			want = append(want, there+n)
		}
	}
	var got []int
	buffer := sys.NewBuffer(1000)
	for {
		n, err := buffer.Recv(q.receive.Int())
		if err == syscall.EAGAIN {
			break
		}
		if err != nil || n < mach.HeaderSize {
			t.Fatal(n, err)
		}
		got = append(got, int(binary.LittleEndian.Uint32(buffer.Data[20:])))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTakeOutWithoutRoom: what there was no room for goes back behind those that were sent before it.
func TestTakeOutWithoutRoom(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	want := []int{0, 2, 4, 6}
	for n := range 7 {
		q.post(queued(0, n, n%2 == 1, 0))
	}
	_, _, err := broker.TakeOut(q.receive.Int(), q.send.Int(), chosen, func([]byte, []int) {
		for err := error(nil); err == nil; {
			_, err = sys.Send(q.send.Int(), queued(1, 0, false, 1000))
		}
	})
	if got := q.read()[0]; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v are left, in this order, and not %v; %v", got, want, err)
	}
}
