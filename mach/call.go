// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Call sends a message with a reply right and waits for the reply, which is the caller's to Close. The error is ServerDied at once if
// there will be none: whoever had the message closed or lost it, or died. If ctx ends after the message was sent, the reply is lost, and
// who sends it finds the port dead. A message that has a Reply of its own is sent with Send.
func (s *SendRight) Call(ctx context.Context, m *Message) (*Message, error) {
	if m == nil {
		return nil, noMessage("call")
	}
	if m.Reply != nil {
		return nil, &Error{Code: InvalidArgument, Op: "call", Text: "the message has a Reply already; use Send"}
	}
	ours, theirs, err := sys.PortPair()
	if err == nil {
		err = sys.SetNonblock(ours.Int(), true) // nobody else has it
	}
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, during("call", "", err)
	}
	file := os.NewFile(uintptr(ours.Take()), "reply port")
	defer file.Close()
	m.Reply = &SendOnceRight{newEnd(theirs), replyToken}
	if err := s.Send(ctx, m); err != nil {
		m.Reply.end.end(ErrClosed)
		m.Reply = nil
		return nil, err
	}
	reply, err := receiveReply(ctx, file)
	if err != nil {
		return nil, during("call", "", err)
	}
	return reply, nil
}

// receiveReply waits for the one message that comes. The file is the caller's own, so it waits in the runtime's poller.
func receiveReply(ctx context.Context, file *os.File) (m *Message, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })()
	}
	for m == nil {
		if rerr := raw.Read(func(fd uintptr) bool {
			m, err = take(int(fd))
			return !errors.Is(err, syscall.EAGAIN)
		}); rerr != nil {
			err = rerr
		}
		switch {
		case ctx.Err() != nil && m == nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrNoSenders):
			return nil, &Error{Code: ServerDied, Op: "call", Text: "who had the message ended, or closed it, without a reply"}
		case err != nil:
			return nil, err
		}
	}
	if n, ok := m.Notification(); ok && n.Event == SendOnceDied {
		m.Close()
		return nil, &Error{Code: ServerDied, Op: "call", Text: "the message was thrown away without a reply"}
	}
	return m, nil
}
