// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// short is the patience where a test waits for its end.
const short = 50 * time.Millisecond

// forever has no deadline, but ends a test that hangs: nothing here may wait for it.
func forever(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	end := time.AfterFunc(deadline, func() {
		t.Error("a call waits for ever")
		cancel()
	})
	t.Cleanup(func() { end.Stop() })
	return ctx
}

// TestHeldStartLock: who never lets go of the lock is told of, and is not waited for.
func TestHeldStartLock(t *testing.T) {
	t.Parallel()
	ctx, dir := forever(t), runtimeDir(t)
	path := filepath.Join(dir, "start.lock")
	lock := must[*os.File](t)(os.Create(path))
	defer lock.Close()
	noError(t, sys.Lock(int(lock.Fd()), false))
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: os.Args[0]})
	c.SetPatience(short)
	_, err := c.Dial(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, path)
	_, err = c.LookUp(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, path)
	noError(t, c.Close())

	// Nor does Close wait, with all the patience there is.
	c = switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: os.Args[0]})
	failed := make(chan error, 1)
	go func() {
		_, err := c.Dial(ctx, "com.example.a")
		failed <- err
	}()
	noError(t, c.Close())
	wantError(t, <-failed, net.ErrClosed)
}

// TestForeignDoor: a descriptor of the right type that leads to no broker is given up, and the error names the variable.
func TestForeignDoor(t *testing.T) {
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	noError(t, err)
	defer ours.Close()
	defer theirs.Close()
	t.Setenv(switchboard.EnvSessionFD, fmt.Sprint(ours.Int()))
	c := switchboard.New(switchboard.Config{})
	defer c.Close()
	c.SetPatience(short)
	for _, ctx := range []context.Context{forever(t), testContext(t)} {
		_, err = c.Dial(ctx, "com.example.a")
		wantError(t, err, switchboard.ErrTryAgain, switchboard.EnvSessionFD)
		_, err = c.LookUp(ctx, "com.example.a")
		wantError(t, err, switchboard.ErrTryAgain, switchboard.EnvSessionFD)
	}
}

// TestStoppedBroker: without a deadline calls end by themselves, whoever reads; the session goes on with the broker.
func TestStoppedBroker(t *testing.T) {
	t.Parallel()
	ctx, dir := forever(t), runtimeDir(t)
	b := start(t, "broker", dir)
	b.expect("ready")
	reading, alone, late := client(t, dir), client(t, dir), client(t, dir)
	l := must[*switchboard.Listener](t)(reading.Listen(ctx, "com.example.a"))
	serve(t, l, echo) // mostly the reader
	must[switchboard.Entry](t)(alone.LookUp(ctx, "com.example.a"))
	b.stop()
	for _, c := range []*switchboard.Client{reading, alone, late} {
		c.SetPatience(short)
		_, err := c.LookUp(ctx, "com.example.a")
		wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "answer")
		_, err = c.Dial(ctx, "com.example.a")
		wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "answer")
		for range 2 { // the second one waits for the reply to the first
			_, err = c.Listen(ctx, "com.example.b")
			wantError(t, err, switchboard.ErrTryAgain, "com.example.b", "answer")
		}
		_, err = c.Watch(ctx, "*")
		wantError(t, err, switchboard.ErrTryAgain, "answer")
	}
	noError(t, b.cmd.Process.Signal(syscall.SIGCONT))
	for _, c := range []*switchboard.Client{reading, alone} {
		eventually(t, func() error {
			_, err := c.LookUp(ctx, "com.example.a")
			return err
		})
	}
}

// TestStoppedBrokerOnce: the wait for a new session counts from the first attempt, and ends with the patience, not with two of them.
func TestStoppedBrokerOnce(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	fake := newFakeSession(t, dir)
	c := client(t, dir)
	c.SetPatience(short)
	_, err := c.LookUp(forever(t), "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, "does not answer")
	first, err := fake.l.AcceptUnix()
	noError(t, err)
	defer first.Close()
	noError(t, fake.l.SetDeadline(time.Unix(1, 0)))
	if second, err := fake.l.AcceptUnix(); err == nil {
		second.Close()
		t.Error("it began another attempt")
	}
}
