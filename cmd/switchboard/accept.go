// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// acceptPause is the wait for descriptors to become free when the process is out of them.
const acceptPause = 50 * time.Millisecond

// acceptEach gives each connection of l to answer, in a goroutine of its own, until ctx ends, which is no error, or l
// fails. It closes l, and waits for all that were begun. What is said of a failed one begins with who.
func (a *app) acceptEach(ctx context.Context, l net.Listener, who string,
	answer func(context.Context, stream) error) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case outOfDescriptors(err):
			a.say("%s: %v: waiting", who, err)
			pause(ctx, acceptPause)
			continue
		case err != nil:
			return err
		}
		open.Go(func() {
			defer c.Close()
			if err := answer(ctx, c.(stream)); err != nil && ctx.Err() == nil {
				a.say("%s: %v", who, err)
			}
		})
	}
}

// outOfDescriptors says whether accepting failed for a reason that passes.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// both relays between a caller and who answers it until they are done, or ctx ends.
func both(ctx context.Context, caller, server stream) error {
	defer context.AfterFunc(ctx, func() { caller.Close(); server.Close() })()
	return relay(caller, server)
}
