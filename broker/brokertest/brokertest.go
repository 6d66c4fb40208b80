// SPDX-License-Identifier: Apache-2.0

// Package brokertest runs brokers in tests.
package brokertest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
)

// Start runs a broker in this process until stop is called or the test is over, and returns when it is ready. Without a RuntimeDir in c it has a fresh folder, dir.
// It fails the test if the broker ends otherwise than by being stopped.
func Start(t testing.TB, c broker.Config) (dir string, stop func()) {
	t.Helper()
	if c.RuntimeDir == "" {
		c.RuntimeDir = t.TempDir()
		if err := os.Chmod(c.RuntimeDir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	c.Ready = sync.OnceFunc(func() { close(ready) })
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the broker did not become ready: %v", err)
	}
	return c.RuntimeDir, stop
}
