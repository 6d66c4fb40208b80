// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// errHungUp: the broker closed the connection.
var errHungUp = &Error{Code: ServerDied, Op: "talk to the bootstrap server",
	Text: "the broker has closed the connection: it ended, it does not serve this user, or what was sent is no message; connect again " +
		"to reach its successor"}

// read reads one reply and gives it to whose it is. Without wait, nothing to read is syscall.EAGAIN. The caller has the role.
func (b *Bootstrap) read(wait bool) error {
	buffer := buffers.Get().(*sys.Buffer)
	defer buffers.Put(buffer)
	var n int
	var err error
	rerr := b.raw.Read(func(fd uintptr) bool {
		n, err = buffer.Recv(int(fd))
		return err != syscall.EAGAIN || !wait
	})
	switch {
	case rerr != nil:
		return rerr
	case errors.Is(err, syscall.EAGAIN):
		return err
	case err != nil || n == 0:
		return errHungUp
	}
	defer buffer.Message.Close()
	if b.through && !b.heard.Load() {
		b.heard.Store(true)
	}
	packet := buffer.Data[:n]
	if buffer.ControlTruncated && n >= wire.HeaderSize {
		b.complete(binary.LittleEndian.Uint32(packet[8:]), func(cl *call) { cl.err = syscall.EMFILE })
		return nil
	}
	reply, err := wire.ParseReply(packet, len(buffer.FDs))
	var fault *wire.Fault
	switch {
	case errors.As(err, &fault):
		b.complete(fault.Header.Remote, func(cl *call) { cl.err = &Error{Code: fault.Code, Op: cl.op, Name: cl.name, Text: fault.Why} })
		return nil
	case err != nil:
		return &Error{Code: ServerDied, Op: "talk to the bootstrap server", Err: err}
	}
	b.complete(reply.Token, func(cl *call) {
		if reply.ID != cl.id {
			text := fmt.Sprintf("the reply is %d, and should be %d", reply.ID, cl.id)
			cl.err = &Error{Code: ReplyMismatch, Op: cl.op, Name: cl.name, Text: text}
			return
		}
		cl.reply, cl.fds = reply, append([]int(nil), buffer.FDs...)
		buffer.FDs = buffer.FDs[:0]
	})
	return nil
}

// complete ends a call, if somebody waits for it.
func (b *Bootstrap) complete(token uint32, fill func(*call)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cl := b.pending[token]
	if cl == nil {
		return
	}
	delete(b.pending, token)
	if !cl.left {
		fill(cl)
		close(cl.done)
	}
}

// send sends a packet. Where the broker does not read because it cannot send either, replies that nobody waits for any more are read.
func (b *Bootstrap) send(ctx context.Context, packet []byte, fds []int) error {
	err := b.trySend(packet, fds)
	if !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	select {
	case <-b.sending:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { b.sending <- struct{}{} }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.trySend(packet, fds); !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		select {
		case <-b.role:
			for err == nil || errors.Is(err, syscall.EAGAIN) {
				if err = b.read(false); errors.Is(err, syscall.EAGAIN) {
					break
				}
			}
			b.role <- struct{}{}
			if !errors.Is(err, syscall.EAGAIN) {
				b.end(err)
				return b.whyOver()
			}
		default: // somebody else reads
		}
		if err := pause(ctx, roomPause); err != nil {
			return err
		}
	}
}

// roomPause is how long to wait for room towards a broker that has a socket full of requests to answer.
const roomPause = time.Millisecond

func (b *Bootstrap) trySend(packet []byte, fds []int) (err error) {
	cerr := b.raw.Control(func(fd uintptr) { _, err = sys.Send(int(fd), packet, fds...) })
	switch {
	case cerr != nil: // it was closed meanwhile, which a file's RawConn says in an error of its own
		return b.whyOver()
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errHungUp
	}
	return err
}

func (b *Bootstrap) whyOver() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}
