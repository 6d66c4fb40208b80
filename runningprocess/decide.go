// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	maxProbe      = 4 << 10         // bytes of a body that may be a probe's: a nonce, and a trace context
	replyDeadline = 5 * time.Second // for those who do not read what they asked for
)

// receive finds out what a connection is, without anybody's waiting for it, and gives clients to Accept.
//
// One that was handed over is a client's, and yet has to speak first: before it does so it may not have read the broker's event, which
// goes to it after our acknowledgement, and bytes of ours must not come before that.
func (l *Listener) receive(socket *net.UnixConn, handed bool) {
	at := l.undecided.add(socket)
	l.tasks.Go(func() {
		first, client := l.decide(socket)
		if !l.undecided.remove(at) {
			return // it is closed
		}
		if !client {
			socket.Close()
			return
		}
		l.queue.put(&Conn{socket: socket, handed: handed, put: first})
	})
}

// decide answers the probes that come on a connection, and reports whether it is a client's: the first byte is no frame's, or the first
// frame belongs to the program. It returns what it has read of that. (Section 9.)
func (l *Listener) decide(socket *net.UnixConn) (first []byte, client bool) {
	var probed bool
	buffer := make([]byte, 0, 512)
	for {
		frame, size, kind := look(buffer)
		switch kind {
		case partial:
			if cap(buffer)-len(buffer) == 0 {
				buffer = append(make([]byte, 0, envelope.HeaderSize+maxProbe), buffer...)
			}
			n, err := socket.Read(buffer[len(buffer):cap(buffer)])
			if n == 0 && err != nil {
				return nil, false
			}
			buffer = buffer[:len(buffer)+n]
		case probe:
			probed = true
			reply, err := l.ProbeReply(frame)
			if err != nil {
				return nil, false
			}
			_ = socket.SetWriteDeadline(time.Now().Add(replyDeadline))
			if WriteFrame(socket, reply) != nil {
				return nil, false
			}
			buffer = buffer[:copy(buffer, buffer[size:])]
		case others:
			return buffer, !probed
		default:
			return nil, false
		}
	}
}

// What the first bytes of a connection are.
type beginning int

const (
	partial beginning = iota // not enough to say
	probe                    // a frame of that size
	others                   // the program's
	wrong                    // not for a backend
)

// look looks at the first bytes of a connection. Frames that are too long for a probe are the program's unseen.
func look(b []byte) (f envelope.Frame, size int, kind beginning) {
	n, err := envelope.Header(b)
	switch {
	case len(b) == 0:
		return f, 0, partial
	case err != nil, n > maxProbe: // another protocol, or what ReadFrame will find out
		return f, 0, others
	case n < 0 || len(b) < envelope.HeaderSize+n:
		return f, 0, partial
	}
	size = envelope.HeaderSize + n
	f, err = envelope.ParseFrame(b[envelope.HeaderSize:size])
	switch {
	case err != nil:
		return f, size, wrong
	case f.PayloadProtocol == envelope.Probe:
		return f, size, probe
	case envelope.Classify(f.PayloadProtocol) == envelope.FirstParty:
		return f, size, wrong
	}
	return f, size, others
}
