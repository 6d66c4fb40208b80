// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// conn sends and receives messages with descriptors on a Unix socket. Sending and receiving may go on at the same time.
type conn struct {
	c      net.Conn
	raw    syscall.RawConn
	stream bool

	// Of who receives.
	buf *sys.Buffer
	fds []int // that came and belong to messages not yet taken

	mu   sync.Mutex // held while sending
	room []byte
}

// newConn takes c over, also if it fails.
func newConn(c net.Conn) (*conn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("frames need the descriptor of the connection, and a %T does not show it: %w", c, errors.ErrUnsupported)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	var kind sys.SocketType
	if cerr := raw.Control(func(fd uintptr) { kind, err = sys.CheckSocket(int(fd), sys.Stream, sys.Seqpacket) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &conn{c: c, raw: raw, stream: kind == sys.Stream, buf: sys.NewBuffer(maxMessage)}, nil
}

// errFull: the other side does not read.
var errFull = errors.New("the other side does not read its messages")

// send sends one message, without waiting for room: who has not read the few messages that there are never will.
func (c *conn) send(kind uint16, payload func([]byte) []byte, fds ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := append(c.room[:0], make([]byte, messageHeader)...)
	if payload != nil {
		b = payload(b)
	}
	if len(b) > maxMessage {
		b = b[:maxMessage]
	}
	appendHeader(b[:0], kind, len(b)-messageHeader, len(fds))
	c.room = b
	var n int
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { n, err = sys.Send(int(fd), b, fds...) }); cerr != nil {
		return cerr
	}
	if err == syscall.EAGAIN || err == nil && n < len(b) {
		return errFull
	}
	return err
}

// message is one message that came. Who receives it owns the descriptors; the payload is valid until the next.
type message struct {
	kind    uint16
	payload []byte
	fds     []int
}

// receive waits for the next message. io.EOF: the other side has closed the connection, or is gone.
func (c *conn) receive() (message, error) {
	have := 0
	need := messageHeader
	if !c.stream {
		need = maxMessage
	}
	for {
		n, err := c.read(have, need-have)
		if err != nil {
			return message{}, err
		}
		have += n
		if have < messageHeader {
			if !c.stream {
				return message{}, fmt.Errorf("a message of %d bytes", have)
			}
			continue
		}
		h, err := parseHeader(c.buf.Data)
		switch {
		case err != nil:
			return message{}, err
		case !c.stream && h.length != have:
			return message{}, fmt.Errorf("a message of %d bytes in a packet of %d", h.length, have)
		case have < h.length:
			need = h.length
			continue
		case len(c.fds) < h.fds:
			return message{}, fmt.Errorf("descriptors were lost: %d came, and %d should have", len(c.fds), h.fds)
		}
		m := message{h.kind, c.buf.Data[messageHeader:h.length], c.fds[:h.fds:h.fds]}
		c.fds = c.fds[h.fds:]
		return m, nil
	}
}

// read reads up to limit bytes to the offset at.
func (c *conn) read(at, limit int) (n int, err error) {
	data := c.buf.Data
	c.buf.Data = data[at:]
	rerr := c.raw.Read(func(fd uintptr) bool {
		n, err = c.buf.RecvN(int(fd), limit)
		return err != syscall.EAGAIN
	})
	c.buf.Data = data
	switch {
	case rerr != nil:
		return 0, rerr
	case err != nil:
		return 0, err
	}
	c.fds = append(c.fds, c.buf.FDs...)
	c.buf.FDs = c.buf.FDs[:0]
	c.buf.Message.Close()
	switch {
	case c.buf.ControlTruncated:
		return 0, errors.New("descriptors were lost: this process may have none left")
	case c.buf.Truncated:
		return 0, errors.New("a message is too long")
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// closeReceived closes what came and was not taken; for who received, at the end.
func (c *conn) closeReceived() {
	sys.CloseAll(c.fds)
	c.fds = nil
}

func (c *conn) close() { c.c.Close() }

// hangUp ends the connection for both sides, whoever else has it. What came before is still received.
func (c *conn) hangUp() { _ = c.raw.Control(func(fd uintptr) { sys.Shutdown(int(fd)) }) }
