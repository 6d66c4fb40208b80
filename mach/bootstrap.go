// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Bootstrap is a connection to the bootstrap server. Its methods may be called by many goroutines at once; their requests follow each
// other without waiting for replies.
//
// There is no goroutine that reads. Of those who wait for a reply one holds the role of the reader: it reads, and passes to the others what
// is theirs, until it has its own.
type Bootstrap struct {
	file *os.File
	raw  syscall.RawConn

	through bool        // a port, which may lead to anybody
	heard   atomic.Bool // something came back

	role    chan struct{} // holds one token: who takes it is the reader
	sending chan struct{} // holds one token: who takes it may wait for room

	mu      sync.Mutex // guards what follows
	last    uint32     // token
	pending map[uint32]*call
	over    error // why there will be no more replies, or nil
}

// call is one request under way.
type call struct {
	op, name string
	id       int32 // of the reply
	token    uint32
	done     chan struct{} // closed when what follows is there
	reply    wire.Reply
	fds      []int // taken by whoever waits
	err      error
	left     bool // nobody waits any more: guarded by Bootstrap.mu
}

func newBootstrap(fd *sys.FD) (*Bootstrap, error) {
	file := os.NewFile(uintptr(fd.Take()), Socket)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	b := &Bootstrap{file: file, raw: raw, role: make(chan struct{}, 1), sending: make(chan struct{}, 1), pending: make(map[uint32]*call)}
	b.role <- struct{}{}
	b.sending <- struct{}{}
	return b, nil
}

// Close ends the connection, and with it every name that was checked in or registered through it, also while the program lives on. Rights
// that were got through it stay good, but a receive right's name is nobody's any more. Calls that wait return ErrClosed.
func (b *Bootstrap) Close() error {
	b.end(ErrClosed)
	return nil
}

// end fails all calls, now and later.
func (b *Bootstrap) end(why error) {
	b.mu.Lock()
	if b.over != nil {
		b.mu.Unlock()
		return
	}
	b.over = why
	pending := b.pending
	b.pending = nil
	b.mu.Unlock()
	b.file.Close()
	for _, cl := range pending {
		cl.err = why
		close(cl.done)
	}
}

// do sends a request with descriptors, which stay the caller's, and returns its reply with those that it brought, which become the
// caller's. A reply with a code is an error. Through a port, the wait for the first reply is bounded: what is no bootstrap port takes
// the connection, and never says a word.
func (b *Bootstrap) do(ctx context.Context, op, name string, r wire.Request, fds ...int) (wire.Reply, []int, error) {
	early := b.through && !b.heard.Load()
	if early {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		ctx = limited
	}
	reply, got, err := b.exchange(ctx, op, name, r, fds)
	switch {
	case early && errors.Is(err, context.DeadlineExceeded) && !b.heard.Load():
		return reply, nil, &Error{Code: Failure, Op: op, Name: name, Err: err,
			Text: "nothing has come back yet: the port that the connection was made through is perhaps no bootstrap port"}
	case err != nil:
		return reply, nil, misnamed(op, r, during(op, name, err))
	case reply.Code != OK:
		return reply, nil, misnamed(op, r, refused(op, name, reply.Code))
	}
	return reply, got, nil
}

func (b *Bootstrap) exchange(ctx context.Context, op, name string, r wire.Request, fds []int) (wire.Reply, []int, error) {
	if err := ctx.Err(); err != nil {
		return wire.Reply{}, nil, err
	}
	cl := &call{op: op, name: name, id: r.Refused(OK).ID, done: make(chan struct{})}
	if err := b.begin(cl); err != nil {
		return wire.Reply{}, nil, err
	}
	r.Token = cl.token
	packet, err := r.Append(make([]byte, 0, 192))
	if err == nil {
		err = b.send(ctx, packet, fds)
	}
	if err != nil {
		b.forget(cl)
		var fault *wire.Fault
		if errors.As(err, &fault) {
			err = &Error{Code: fault.Code, Op: op, Name: name, Text: fault.Why}
		}
		return wire.Reply{}, nil, err
	}
	select {
	case <-cl.done:
	case <-b.role:
		err = b.lead(ctx, cl)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && b.leave(cl) {
		return wire.Reply{}, nil, err
	}
	<-cl.done
	return cl.reply, cl.fds, cl.err
}

// begin makes a call known, so that its reply finds it. It draws its token.
func (b *Bootstrap) begin(cl *call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over != nil {
		return b.over
	}
	for cl.token == 0 || b.pending[cl.token] != nil {
		b.last++
		cl.token = b.last
	}
	b.pending[cl.token] = cl
	return nil
}

// forget takes back a call that was not sent.
func (b *Bootstrap) forget(cl *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[cl.token] == cl {
		delete(b.pending, cl.token)
	}
}

// leave gives up waiting for a call; false: its reply has come. Its token stays taken until the reply comes.
func (b *Bootstrap) leave(cl *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[cl.token] != cl {
		return false
	}
	cl.left = true
	return true
}

// lead reads until the call's reply is there, or ctx ends. The caller has taken the role.
func (b *Bootstrap) lead(ctx context.Context, cl *call) error {
	defer func() { b.role <- struct{}{} }()
	if ctx.Done() != nil {
		woken := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			_ = b.file.SetReadDeadline(time.Unix(1, 0))
			close(woken)
		})
		defer func() {
			if !stop() {
				<-woken
				_ = b.file.SetReadDeadline(time.Time{})
			}
		}()
	}
	for {
		select {
		case <-cl.done:
			return nil
		default:
		}
		err := b.read(true)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ctx.Err()
		case err != nil:
			b.end(err)
			return nil // cl is done
		}
	}
}
