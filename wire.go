// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// wire is one connection to session.sock: packets, and nothing of what they mean. One goroutine reads, any may send.
type wire struct {
	file *os.File
	raw  syscall.RawConn
	run  func(func()) bool // runs a goroutine with an owner
	lost chan struct{}     // closed when the reader has found that it is over

	// Of who reads.
	first   *call                        // see receive
	put     func(w *wire, cl *call) bool // sends it
	buffer  *sys.Buffer
	n       int
	err     error
	reading func(fd uintptr) bool // bound once

	mu       sync.Mutex // guards what follows: orders packets
	packet   []byte
	fd       int
	sendErr  error
	sending  func(fd uintptr) // bound once
	queue    []outgoing       // what the socket had no room for
	flushing bool
}

// outgoing is a packet in the queue. It owns its descriptor.
type outgoing struct {
	packet []byte
	fd     *sys.FD
	then   func(sent bool)
}

// buffers are for one packet each.
var buffers = sync.Pool{New: func() any { return sys.NewBuffer(session.MaxPacket) }}

func newWire(fd *sys.FD, put func(*wire, *call) bool, run func(func()) bool) (*wire, error) {
	file := os.NewFile(uintptr(fd.Take()), sessionSocket)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	w := &wire{file: file, raw: raw, put: put, run: run, lost: make(chan struct{})}
	w.reading, w.sending = w.readStep, w.sendStep
	return w, nil
}

// receive waits for a packet. The buffer, with descriptors in it, is the caller's to put back. The error is io.EOF at the
// end, and os.ErrDeadlineExceeded after wake. first, if not nil, is sent when no packet that comes from now on can be
// missed: its reply will come, and there is no attempt to read before the poller says so.
func (w *wire) receive(first *call) (*sys.Buffer, int, error) {
	w.first, w.buffer, w.err = first, nil, nil
	if err := w.raw.Read(w.reading); err != nil {
		return nil, 0, err
	}
	if w.err != nil {
		return nil, 0, w.err
	}
	return w.buffer, w.n, nil
}

// readStep holds a buffer only while there is something to read: many idle sessions need none.
func (w *wire) readStep(fd uintptr) bool {
	if first := w.first; first != nil {
		w.first = nil
		if w.put(w, first) {
			return false
		}
	}
	b := buffers.Get().(*sys.Buffer)
	n, err := b.Recv(int(fd))
	if err == nil && n > 0 {
		w.buffer, w.n = b, n
		return true
	}
	b.Message.Close()
	buffers.Put(b)
	if err == syscall.EAGAIN {
		return false
	}
	if w.err = err; err == nil {
		w.err = io.EOF // the broker sends no empty packets
	}
	return true
}

// wake makes a receive that waits, or the next one, return os.ErrDeadlineExceeded.
func (w *wire) wake() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) }

// rest undoes wake. What the waker wanted must be looked at after it.
func (w *wire) rest() { _ = w.file.SetReadDeadline(time.Time{}) }

// send sends a packet without waiting. What the socket has no room for is queued, in order: the number of
// those is that of calls and hand-overs under way, which have bounds. It returns false if the connection is lost.
// then, if not nil, is called when the packet is in the socket (true) or never will be.
func (w *wire) send(packet []byte, fd *sys.FD, then func(sent bool)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.packet, w.fd, w.sendErr = packet, fd.Int(), nil
		err := w.raw.Control(w.sending)
		w.packet = nil
		if err == nil {
			err = w.sendErr
		}
		if !errors.Is(err, syscall.EAGAIN) {
			if then != nil {
				then(err == nil)
			}
			return err == nil
		}
	}
	return w.enqueue(packet, fd, then)
}

func (w *wire) sendStep(fd uintptr) {
	if w.fd >= 0 {
		_, w.sendErr = sys.Send(int(fd), w.packet, w.fd)
	} else {
		_, w.sendErr = sys.Send(int(fd), w.packet)
	}
}

func (w *wire) enqueue(packet []byte, fd *sys.FD, then func(bool)) bool {
	o := outgoing{packet: append([]byte(nil), packet...), then: then}
	if fd.Int() >= 0 {
		dup, err := sys.Dup(fd.Int())
		if err != nil { // none left: begin anew, later
			w.file.Close()
			return false
		}
		o.fd = dup
	}
	w.queue = append(w.queue, o)
	if !w.flushing {
		w.flushing = w.run(w.flush)
	}
	return true
}

// flush sends the queue as the socket has room.
func (w *wire) flush() {
	err := w.raw.Write(func(fd uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for len(w.queue) > 0 {
			o := w.queue[0]
			var err error
			if o.fd != nil {
				_, err = sys.Send(int(fd), o.packet, o.fd.Int())
			} else {
				_, err = sys.Send(int(fd), o.packet)
			}
			if err == syscall.EAGAIN {
				return false
			}
			w.queue = w.queue[1:]
			o.finish(err == nil)
		}
		w.flushing = false
		return true
	})
	if err != nil { // closed
		w.drop()
	}
}

func (o outgoing) finish(sent bool) {
	o.fd.Close()
	if o.then != nil {
		o.then(sent)
	}
}

// drop gives up what is queued.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.queue {
		o.finish(false)
	}
	w.queue = nil
}

func (w *wire) close() {
	w.file.Close()
	w.drop()
}
