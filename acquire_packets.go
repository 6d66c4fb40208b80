// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// packetEnd is one end of a SEQPACKET pair or connection of ours. Many may send, and one receives.
type packetEnd struct {
	file    *os.File
	raw     syscall.RawConn
	sending chan struct{} // holds one token: who takes it may send. The deadline is the file's, and not to be felt by other senders
}

func newPacketEnd(fd *sys.FD, name string) (*packetEnd, error) {
	file := os.NewFile(uintptr(fd.Take()), name)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	e := &packetEnd{file, raw, make(chan struct{}, 1)}
	e.sending <- struct{}{}
	return e, nil
}

func (e *packetEnd) close() { e.file.Close() }

// shutDown has all that have the end see a hang-up.
func (e *packetEnd) shutDown() {
	_ = e.raw.Control(func(fd uintptr) { _ = sys.Shutdown(int(fd)) })
}

// limit has reads or writes end with ctx, by their deadline. The returned function ends that.
func limit(ctx context.Context, set func(time.Time) error) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	woken := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		_ = set(time.Unix(1, 0))
		close(woken)
	})
	return func() {
		if !cancel() {
			<-woken
			_ = set(time.Time{})
		}
	}
}

// send sends a packet, and waits for room as long as ctx lasts.
func (e *packetEnd) send(ctx context.Context, packet []byte, fds ...int) (err error) {
	select {
	case <-e.sending:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { e.sending <- struct{}{} }()
	defer limit(ctx, e.file.SetWriteDeadline)()
	werr := e.raw.Write(func(fd uintptr) bool {
		_, err = sys.Send(int(fd), packet, fds...)
		return err != syscall.EAGAIN
	})
	return firstOf(ctx, werr, err)
}

// receive reads a packet into b as long as ctx lasts. A hang-up is errHungUp.
func (e *packetEnd) receive(ctx context.Context, b *sys.Buffer) (packet []byte, err error) {
	defer limit(ctx, e.file.SetReadDeadline)()
	var n int
	rerr := e.raw.Read(func(fd uintptr) bool {
		n, err = b.Recv(int(fd))
		return err != syscall.EAGAIN
	})
	switch err := firstOf(ctx, rerr, err); {
	case errors.Is(err, syscall.ECONNRESET), err == nil && n == 0:
		b.Message.Close()
		return nil, errHungUp
	case err != nil:
		return nil, err
	case b.Truncated || b.ControlTruncated:
		b.Message.Close()
		return nil, errors.New("a packet was too long, or its descriptors are more than this process can have")
	}
	return b.Data[:n], nil
}

// firstOf returns why a read or write ended.
func firstOf(ctx context.Context, waiting, doing error) error {
	switch {
	case errors.Is(waiting, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(waiting, os.ErrDeadlineExceeded):
		return waiting
	case waiting != nil: // a file's RawConn says this in an error of its own
		return os.ErrClosed
	case errors.Is(doing, syscall.EPIPE):
		return errHungUp
	}
	return doing
}

// sendThrough sends a packet on a descriptor that others have too, whose flags are not to be touched. It waits for room as long as ctx lasts.
func sendThrough(ctx context.Context, fd int, packet []byte, fds ...int) error {
	for {
		_, err := sys.Send(fd, packet, fds...)
		switch {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			return errHungUp
		case !errors.Is(err, syscall.EAGAIN):
			return err
		case !sleep(ctx, roomPause):
			return ctx.Err()
		}
	}
}

// roomPause is how long to wait for room in a port's queue.
const roomPause = time.Millisecond

// largePackets are buffers for the messages of a port.
var largePackets = sync.Pool{New: func() any { return sys.NewBuffer(maxPortPacket) }}

// maxPortPacket is above what the longest payload has with its header and descriptors.
const maxPortPacket = 66 << 10
