// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// lengthSize is the length before each frame on a stream, big-endian, as QEMU has it.
	lengthSize = 4
	// maxWireFrame is the longest frame that QEMU sends. Longer ones end the guest; those that the network's
	// MTU does not allow are dropped.
	maxWireFrame = 4096 + 65536
	// queueLimit is how much may wait for a guest that does not read, in bytes; the rest is dropped.
	queueLimit = 2 << 20
	// keptBuffer is how large a buffer is kept while nothing waits.
	keptBuffer = 256 << 10
	readBuffer = 64 << 10
)

// port is a guest's place at the switch: a goroutine that reads its socket, one that writes it, and a queue.
type port struct {
	mac    hwaddr
	conn   net.Conn
	stream bool
	guest  *Guest

	framesIn, bytesIn, framesOut, bytesOut, dropped, refused atomic.Uint64

	// mu guards the queue.
	mu     sync.Mutex
	wake   sync.Cond // of mu
	queue  []byte    // frames, each after its length
	closed bool
	err    error // why it was closed
}

func newPort(mac hwaddr, conn net.Conn, stream bool) *port {
	p := &port{mac: mac, conn: conn, stream: stream}
	p.wake.L = &p.mu
	return p
}

// send queues a copy of a frame, or drops it.
func (p *port) send(parts ...[]byte) {
	size := 0
	for _, b := range parts {
		size += len(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.queue)+lengthSize+size > queueLimit {
		p.dropped.Add(1)
		return
	}
	if len(p.queue) == 0 {
		p.wake.Signal()
	}
	p.queue = binary.BigEndian.AppendUint32(p.queue, uint32(size))
	for _, b := range parts {
		p.queue = append(p.queue, b...)
	}
	p.framesOut.Add(1)
	p.bytesOut.Add(uint64(size))
}

// close ends both goroutines, and says why, the first time. That the peer hung up is no fault.
func (p *port) close(err error) {
	if isHangUp(err) {
		err = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed, p.err, p.queue = true, err, nil
	p.conn.Close()
	p.wake.Signal()
}

// isHangUp reports whether an error says that the peer's end is closed, as a reader or a writer meets it, with or without something
// unread there.
func isHangUp(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}

// write writes what is queued, until the port is closed.
func (p *port) write() {
	var out []byte
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.wake.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return
		}
		out, p.queue = p.queue, out[:0]
		p.mu.Unlock()
		if err := p.writeAll(out); err != nil {
			p.close(fmt.Errorf("cannot write to the guest: %w", err))
			return
		}
		if cap(out) > keptBuffer {
			out = nil
		}
	}
}

func (p *port) writeAll(out []byte) error {
	if p.stream {
		_, err := p.conn.Write(out)
		return err
	}
	for len(out) > 0 {
		end := lengthSize + int(binary.BigEndian.Uint32(out))
		_, err := p.conn.Write(out[lengthSize:end])
		if errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ENOBUFS) {
			p.dropped.Add(1)
		} else if err != nil {
			return err
		}
		out = out[end:]
	}
	return nil
}

// read passes frames to pass, until the port is closed or its peer is.
func (p *port) read(pass func(p *port, frame []byte)) {
	var err error
	if p.stream {
		err = p.readStream(pass)
	} else {
		err = p.readPackets(pass)
	}
	p.close(err)
}

func (p *port) readStream(pass func(*port, []byte)) error {
	buf := make([]byte, readBuffer)
	filled := 0
	for {
		n, err := p.conn.Read(buf[filled:])
		if err != nil {
			return err
		}
		filled += n
		rest := buf[:filled]
		for len(rest) >= lengthSize {
			size := int(binary.BigEndian.Uint32(rest))
			if size == 0 || size > maxWireFrame {
				return fmt.Errorf("the guest's stream has a frame of %d bytes, and the most is %d", uint32(size), maxWireFrame)
			}
			end := lengthSize + size
			if end > len(rest) {
				if end > len(buf) {
					larger := make([]byte, 2*end)
					filled = copy(larger, rest)
					buf, rest = larger, larger[:filled]
				}
				break
			}
			pass(p, rest[lengthSize:end])
			rest = rest[end:]
		}
		filled = copy(buf, rest)
	}
}

func (p *port) readPackets(pass func(*port, []byte)) error {
	buf := make([]byte, maxWireFrame)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			return err
		}
		pass(p, buf[:n])
	}
}
