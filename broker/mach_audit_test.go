// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveHere runs a broker in this process until the test ends.
func serveHere(t *testing.T, c broker.Config) {
	t.Helper()
	ready := make(chan struct{})
	c.Ready = func() { close(ready) }
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestMachAudit: each refusal is a line of the log that says who, what and why; a flood of them is cut.
func TestMachAudit(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	dir := filepath.Join(shortTemp(t), "run")
	serveHere(t, broker.Config{RuntimeDir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := bootstrap(t, dir)
	c.checkIn("com.example.audit")
	c.want(mach.ServiceActive, mach.Request{Routine: mach.CheckIn, Service: "com.example.audit"})
	program, _ := os.Executable()
	line := fmt.Sprintf(`msg="bootstrap request refused" pid=%d uid=%d program=%s routine="check_in (canonical)" name=com.example.audit code=1103 reason=`,
		os.Getpid(), os.Geteuid(), program)
	eventually(t, func() string { // the reply comes first
		if !strings.Contains(log.String(), line) {
			return "the log has no " + line + " in\n" + log.String()
		}
		return ""
	})
	for range 1000 {
		c.want(mach.NotPrivileged, mach.Request{Routine: mach.Reboot2})
	}
	if n := strings.Count(log.String(), "\n"); n > 700 {
		t.Errorf("%d lines for 1,000 refusals", n)
	}
}

// TestMachListeners: bootstrap.sock may be given like the others, and is bound if only they are.
func TestMachListeners(t *testing.T) {
	t.Parallel()
	for _, given := range []bool{true, false} {
		dir := filepath.Join(shortTemp(t), "run")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		bind := func(name, network string) *os.File {
			l, err := net.ListenUnix(network, &net.UnixAddr{Name: filepath.Join(dir, name), Net: network})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			defer l.Close()
			f, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		l := &broker.Listeners{Session: bind("session.sock", "unixpacket"), Broker: bind("broker.sock", "unix")}
		if given {
			l.Bootstrap = bind("bootstrap.sock", "unixpacket")
		}
		t.Run(fmt.Sprint(given), func(t *testing.T) {
			serveHere(t, broker.Config{RuntimeDir: dir, Listeners: l})
			c := bootstrap(t, dir)
			receive := c.checkIn("com.example.given")
			passes(c.lookUp("com.example.given"), receive)
		})
		if listening, err := sys.ListeningAt(filepath.Join(dir, "bootstrap.sock")); err != nil || listening {
			t.Errorf("bootstrap.sock: listening %t, %v", listening, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "bootstrap.sock")); (err == nil) != given {
			t.Errorf("given %t: bootstrap.sock is left: %t", given, err == nil)
		}
	}
}
