// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/mach"
)

// TestWait: who waits for the end does not keep others from calling.
func TestWait(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	b := connect(t, mach.Options{RuntimeDir: dir})
	short, cancel := context.WithCancel(ctx)
	gaveUp, ended := make(chan error, 1), make(chan error, 2)
	go func() { gaveUp <- b.Wait(short) }()
	for range 2 {
		go func() { ended <- b.Wait(ctx) }()
	}
	for range 100 {
		wantCode(t, "look up", second(b.LookUp(ctx, "com.example.nobody")), mach.UnknownService)
	}
	cancel()
	wantIs(t, "who gives up", <-gaveUp, context.Canceled)
	wantCode(t, "look up", second(b.LookUp(ctx, "com.example.nobody")), mach.UnknownService)
	b.Close()
	for range 2 {
		wantIs(t, "the end", <-ended, mach.ErrClosed)
	}
	wantIs(t, "after the end", b.Wait(ctx), mach.ErrClosed)
}

// TestCloseUnderCalls: a connection that is closed under calls, wherever they are, is one that was closed, and no bad descriptor.
func TestCloseUnderCalls(t *testing.T) {
	t.Parallel()
	ctx, dir := testContext(t), newBroker(t)
	for range 500 {
		b := connect(t, mach.Options{RuntimeDir: dir})
		var calls, under sync.WaitGroup
		under.Add(4)
		for range 4 {
			calls.Go(func() {
				begun := sync.OnceFunc(under.Done)
				for {
					_, err := b.Info(ctx)
					begun()
					if err != nil {
						wantIs(t, "a call", err, mach.ErrClosed)
						return
					}
				}
			})
		}
		under.Wait()
		b.Close()
		calls.Wait()
	}
}
