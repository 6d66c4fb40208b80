// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// whileRead returns a context that also ends when nobody can read any more what is written to out: who has nothing to
// write would not learn of it otherwise. What cannot be watched, such as a file, is read for ever.
func whileRead(ctx context.Context, out io.Writer) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	f, ok := out.(*os.File)
	if !ok {
		return ctx, cancel
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return ctx, cancel
	}
	p, err := sys.NewPoller()
	if err != nil {
		return ctx, cancel
	}
	added := raw.Control(func(fd uintptr) { err = p.Add(int(fd), 0, 0) }) // errors and hang-ups are always told
	if added != nil || err != nil {
		p.Close()
		return ctx, cancel
	}
	go func() {
		defer p.Close()
		defer cancel()
		defer context.AfterFunc(ctx, p.Wake)()
		for ctx.Err() == nil {
			if gone, err := p.Wait(time.Time{}, nil); err != nil || len(gone) > 0 {
				return
			}
		}
	}()
	return ctx, cancel
}
