// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// helloTime is how long one who connects may take to say what it wants.
const helloTime = 10 * time.Second

// strangers is how many connections there may be beside the readers': those that have not said yet what they want, and those that ask for statistics.
const strangers = 64

// Serve takes over a connection on which a reader says what it wants: any connected Unix socket, such as
// one that a [switchboard.Listener] accepted. It returns at once; the connection is closed with the Writer, or when the reader is gone.
func (w *Writer) Serve(c net.Conn) error {
	k, err := newConn(c)
	if err != nil {
		return fmt.Errorf("cannot serve a reader: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		k.close()
		return net.ErrClosed
	}
	if len(w.conns) >= w.options.readers+strangers {
		k.close()
		return fmt.Errorf("cannot serve a reader: %d connections are open", len(w.conns))
	}
	w.conns[k] = true
	w.work.Add(1)
	go func() {
		defer w.work.Done()
		w.attend(k)
		k.close()
		k.closeReceived()
		w.mu.Lock()
		delete(w.conns, k)
		w.mu.Unlock()
	}()
	return nil
}

// attend does what a connection asks for, until it ends.
func (w *Writer) attend(k *conn) {
	_ = k.c.SetReadDeadline(time.Now().Add(w.options.hello))
	m, err := k.receive()
	if err != nil {
		if errors.Is(err, errVersion) {
			w.refuse(k, switchboard.CodeUsage, fmt.Sprintf("this writer speaks version %d of the protocol of frames", version))
		}
		return
	}
	var reader *living
	if len(m.fds) == 1 {
		reader = newLiving(m.fds[0])
	} else {
		sys.CloseAll(m.fds)
	}
	if reader != nil {
		w.work.Add(1)
		go func() {
			defer w.work.Done()
			if reader.await() {
				k.hangUp()
			}
		}()
		defer reader.close()
	}
	h, err := parseHello(m.payload)
	switch {
	case m.kind != helloKind || err != nil:
		w.refuse(k, switchboard.CodeUsage, "the first message is no HELLO as it must be")
		return
	case h.mode == statistics:
		w.sendStatistics(k)
		return
	}
	_ = k.c.SetReadDeadline(time.Time{})
	r, err := w.attach(k, h)
	if err != nil {
		return
	}
	for err == nil {
		if m, err = k.receive(); err == nil {
			sys.CloseAll(m.fds)
			if m.kind != releasedKind || len(m.payload) > 0 || len(m.fds) > 0 {
				err = fmt.Errorf("a message of kind %d", m.kind)
			}
			w.mu.Lock()
			w.signalLocked()
			w.mu.Unlock()
		}
	}
	sys.DrainEvent(r.event.Int()) // with the lock held, a write to it may be waiting for a reader that filled it
	w.detach(r)
}

func (w *Writer) refuse(k *conn, code switchboard.Code, why string) {
	_ = k.send(refusedKind, func(b []byte) []byte { return append(order.AppendUint32(b, uint32(code)), why...) })
}

// attach makes a reader of a connection.
func (w *Writer) attach(k *conn, h hello) (*attached, error) {
	r := &attached{conn: k, mode: h.mode, since: w.clock.now(), deadline: time.Duration(h.deadline) * time.Millisecond}
	if id, err := switchboard.Peer(k.c); err == nil {
		r.pid = id.PID
		id.Close()
	}
	if r.deadline <= 0 {
		r.deadline = time.Second
	}
	r.deadline = min(r.deadline, w.options.patience)
	holds := w.options.holds
	if h.holds > 0 {
		holds = min(holds, h.holds)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, net.ErrClosed
	case len(w.readers) >= w.options.readers:
		w.refuse(k, switchboard.CodeTryAgain, fmt.Sprintf("the channel has %d readers already, which is all that it may have", len(w.readers)))
		return nil, errors.New("too many")
	}
	var err error
	if r.event, err = sys.NewEvent(); err != nil {
		w.refuse(k, switchboard.CodeTryAgain, err.Error())
		return nil, err
	}
	if r.words, err = newWords(holds); err != nil {
		r.event.Close()
		w.refuse(k, switchboard.CodeTryAgain, err.Error())
		return nil, err
	}
	r.start = w.sequence + 1
	if h.last && w.sequence >= w.pool.first {
		r.start = w.sequence
	}
	m := welcome{w.pool.epoch, holds, uint32(r.deadline / time.Millisecond), w.sequence, w.channel}
	w.at("attach.ready")
	welcome := func(fds ...int) error { return k.send(welcomeKind, m.append, fds...) }
	if err := withOwnPIDFD(welcome, w.pool.fd.Int(), r.fd.Int(), r.event.Int()); err != nil {
		r.words.unmap()
		r.event.Close()
		return nil, err
	}
	w.at("attach.sent")
	w.readers = append(w.readers, r)
	return r, nil
}

// detach forgets a reader, and with it what it held.
func (w *Writer) detach(r *attached) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.readers {
		if other == r {
			w.readers = append(w.readers[:i:i], w.readers[i+1:]...)
			r.words.unmap()
			break
		}
	}
	r.event.Close()
	w.signalLocked()
}
