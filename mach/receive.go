// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// maxPacket is more than the longest packet that a socket takes by default (212,960 bytes).
const maxPacket = 256 << 10

var buffers = sync.Pool{New: func() any { return sys.NewBuffer(maxPacket) }}

// Receive waits for a message. With several goroutines in it, each message goes to one of them. The error is [ErrNoSenders] when nobody
// can send any more, and [ErrClosed] after Close.
//
// What is no message, or has rights that are none, or memory that could still change, is not delivered: it is thrown away, and its reply
// port, if it has one, told so. A message that comes while this process has no descriptors left is lost in the same way, and NoMemory.
func (r *ReceiveRight) Receive(ctx context.Context) (*Message, error) {
	fd, err := r.end.enter()
	if err != nil {
		return nil, during("receive", "", err)
	}
	defer r.end.leave()
	for {
		if err := ctx.Err(); err != nil {
			return nil, during("receive", "", err)
		}
		if err := r.end.whyGone(); err != nil {
			return nil, during("receive", "", err)
		}
		m, err := take(fd)
		if errors.Is(err, syscall.EAGAIN) {
			err = r.end.wait(ctx, fd, sys.Readable)
		}
		switch {
		case err != nil:
			return nil, during("receive", "", err)
		case m != nil:
			return m, nil
		}
	}
}

// take reads one message without waiting. Nil and no error: what came was none.
func take(fd int) (*Message, error) {
	b := buffers.Get().(*sys.Buffer)
	defer buffers.Put(b)
	n, err := b.Recv(fd)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil, err
	case errors.Is(err, syscall.ECONNRESET):
		return nil, ErrNoSenders
	case err != nil:
		return nil, err
	case n == 0 && len(b.FDs) == 0 && sys.Ended(fd):
		return nil, ErrNoSenders
	}
	defer b.Message.Close() // what was not taken
	packet := b.Data[:n]
	if b.ControlTruncated { // descriptors fit always: this process has none left
		discard(packet, b.FDs)
		return nil, fmt.Errorf("a message was lost: %w", syscall.EMFILE)
	}
	if !b.Truncated {
		m, err := unpack(packet, b.FDs)
		if err == nil {
			b.FDs = b.FDs[:0]
			return m, nil
		}
	}
	discard(packet, b.FDs)
	return nil, nil
}

// discard tells the reply port of what is thrown away, if that looks as if it had one.
func discard(packet []byte, fds []int) {
	if len(packet) < wire.HeaderSize || len(fds) == 0 {
		return
	}
	if local := binary.LittleEndian.Uint32(packet[12:]); local != 0 {
		sendDied(fds[0], local)
	}
}

// part is one right or one piece of memory of a message, checked.
type part struct {
	memory      bool
	array       bool // a port of the array
	fd          int  // -1: none
	length      uint32
	disposition wire.Disposition
}

// unpack makes a message of a packet and its descriptors. It takes all of them, or, with an error, none.
func unpack(packet []byte, fds []int) (*Message, error) {
	w, err := wire.ParseMessage(packet, len(fds), wire.OnPort)
	if err != nil {
		return nil, err
	}
	var parts []part
	var ports []Right // not nil: there is an array
	var lists []int   // descriptors of arrays' memory, which are not part of the message
	for _, d := range w.Descriptors {
		switch d.Kind {
		case wire.PortKind, wire.GuardedKind:
			parts = append(parts, part{fd: at(fds, d.Fd), disposition: d.Disposition})
		case wire.PortsKind:
			list, array, err := readPorts(d, fds)
			if err != nil {
				return nil, err
			}
			parts, lists, ports = append(parts, array...), append(lists, list...), []Right{}
		default:
			parts = append(parts, part{memory: true, fd: at(fds, d.Fd), length: d.Length})
		}
	}
	if w.Header.Local != 0 {
		parts = append(parts, part{fd: fds[0], disposition: wire.MoveSendOnce}) // only to be checked
	}
	for _, p := range parts {
		if err := p.check(); err != nil {
			return nil, err
		}
	}
	m := &Message{ID: w.Header.ID, Body: append([]byte(nil), w.Body...)}
	if w.Header.Local != 0 {
		m.Reply = &SendOnceRight{newEnd(sys.NewFD(fds[0])), w.Header.Local}
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		switch {
		case p.memory:
			m.Memory = append(m.Memory, p.newMemory())
		case p.array:
			ports = append(ports, newRight(p.fd, p.disposition))
		default:
			m.Rights = append(m.Rights, newRight(p.fd, p.disposition))
		}
	}
	m.Ports = ports
	sys.CloseAll(lists)
	return m, nil
}

func at(fds []int, fd wire.Fd) int {
	if !fd.Carried() {
		return -1
	}
	return fds[fd-1]
}

// readPorts reads an array of ports.
func readPorts(d wire.Descriptor, fds []int) (list []int, ports []part, err error) {
	var b []byte
	first := d.Fd + 1
	switch {
	case d.Length > wire.MaxFds:
		return nil, nil, errors.New("there are too many ports")
	case d.Fd.Carried():
		list = fds[d.Fd-1 : d.Fd]
		if b, err = sys.ReadSealed(list[0], 4*int(d.Length)); err != nil {
			return nil, nil, err
		}
	case d.Length > 0:
		return nil, nil, errors.New("there is no list of the ports")
	default:
		return nil, nil, nil
	}
	at32, err := wire.ParsePorts(b, d.Length, first, wire.Fd(len(fds)))
	for _, fd := range at32 {
		ports = append(ports, part{array: true, fd: at(fds, fd), disposition: d.Disposition})
	}
	return list, ports, err
}

func (p part) check() error {
	switch {
	case p.memory:
		return checkMemory(p.fd, p.length)
	case p.fd >= 0:
		_, err := sys.CheckSocket(p.fd, sys.Seqpacket)
		return err
	}
	return nil
}

func (p part) newMemory() *Memory {
	m := &Memory{length: int(p.length)}
	if p.fd >= 0 {
		m.fd = sys.NewFD(p.fd)
	}
	return m
}

// newRight makes the owner of a descriptor, and nil of none.
func newRight(fd int, d wire.Disposition) Right {
	switch {
	case fd < 0:
		return nil
	case d.Receive():
		return &ReceiveRight{end: newEnd(sys.NewFD(fd))}
	case d.Once():
		return &SendOnceRight{newEnd(sys.NewFD(fd)), replyToken}
	}
	return &SendRight{newEnd(sys.NewFD(fd))}
}
