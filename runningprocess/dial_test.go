// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// fakeBroker is the little of a broker that these tests need. It answers every Hello with reply, and then does what after says.
type fakeBroker struct {
	path  string
	reply func(envelope.Hello) envelope.HelloReply
	after func(client *net.UnixConn, hello envelope.Hello)
}

func (b *fakeBroker) serve(t *testing.T) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go b.answer(t, c)
		}
	}()
}

func (b *fakeBroker) answer(t *testing.T, c *net.UnixConn) {
	defer c.Close()
	f, err := ReadFrame(c, envelope.MaxHello)
	if err != nil {
		return
	}
	hello, refusal := envelope.ParseControl(f)
	if refusal == nil {
		refusal = envelope.CheckHello(hello, uint32(os.Getpid()))
	}
	if refusal != nil {
		_ = WriteFrame(c, f.Refuse(*refusal))
		return
	}
	if b.reply == nil {
		return
	}
	if WriteFrame(c, f.Answer(b.reply(hello))) == nil && b.after != nil {
		b.after(c, hello)
	}
}

// granting makes a broker that grants everything, with the token of n.
func granting(p paths, n int) *fakeBroker {
	token := tokenOf(n)
	return &fakeBroker{path: filepath.Join(p.folder, "broker.sock"), reply: func(h envelope.Hello) envelope.HelloReply {
		granted := envelope.Negotiated{
			NegotiatedProtocol: 1, DaemonVersion: h.WantedVersion, BackendPipe: p.backend, ConnectionID: uint64(n), KeepaliveIntervalSecs: h.ClientKeepaliveSecs,
		}
		if h.ClientCapabilities&envelope.HandlePassing != 0 {
			granted.HandlePassedToken, granted.ServerCapabilities = token[:], envelope.HandlePassing
		}
		return envelope.HelloReply{Negotiated: &granted}
	}}
}

// handing has the broker hand connections over.
func (b *fakeBroker) handing(t *testing.T, p paths, n int) *fakeBroker {
	b.after = func(client *net.UnixConn, h envelope.Hello) {
		if h.ClientCapabilities&envelope.HandlePassing == 0 {
			return
		}
		f, err := client.File()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Error(err)
			return
		}
		if err := handOver(t, dialTest(t, p.handoff), n, fd); err != nil {
			t.Error(err)
		}
	}
	return b
}

func (b *fakeBroker) dial(t *testing.T, change func(*Request)) (*Conn, envelope.Negotiated, error) {
	t.Helper()
	r := Request{Broker: b.path, Service: "builder", Version: "1.2.0"}
	if change != nil {
		change(&r)
	}
	c, n, err := Dial(t.Context(), r)
	if c != nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, n, err
}

func TestDialHandedOff(t *testing.T) {
	p := newPaths(t)
	cmd := p.start(t, listenerAt(t, p.backend))
	dialTest(t, p.handoff).Close()
	b := granting(p, 1).handing(t, p, 1)
	b.serve(t)
	c, n, err := b.dial(t, func(r *Request) { r.Keepalive = 90 * time.Second })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := exchange(t, c, "ping"), fmt.Sprintf("pid=%d handed=true bytes=4", cmd.Process.Pid); got != want || !c.HandedOff() {
		t.Errorf("answered %q, want %q", got, want)
	}
	if n.BackendPipe != p.backend || n.DaemonVersion != "1.2.0" || n.ConnectionID != 1 || n.KeepaliveIntervalSecs != 90 {
		t.Errorf("%+v", n)
	}
	c, n, err = b.dial(t, func(r *Request) { r.Reconnect = true })
	if err != nil {
		t.Fatal(err)
	}
	if got := exchange(t, c, "ping"); !strings.Contains(got, "handed=false") || c.HandedOff() || n.HandlePassedToken != nil {
		t.Errorf("%q, %+v", got, n)
	}
}

// TestDialReconnects has all that can go wrong with a handoff: the client does not notice.
func TestDialReconnects(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	token := tokenOf(1)
	event := func(ack envelope.HandoffAck, kind envelope.Kind) func(*net.UnixConn, envelope.Hello) {
		return func(c *net.UnixConn, _ envelope.Hello) { _ = WriteFrame(c, ack.Frame(kind)) }
	}
	other := tokenOf(2)
	for name, after := range map[string]func(*net.UnixConn, envelope.Hello){
		"closed":        nil,
		"refused":       event(envelope.HandoffAck{Token: token[:]}, envelope.Event),
		"other token":   event(envelope.HandoffAck{Token: other[:], Accepted: true}, envelope.Event),
		"response":      event(envelope.HandoffAck{Token: token[:], Accepted: true}, envelope.Response),
		"no frame":      func(c *net.UnixConn, _ envelope.Hello) { fmt.Fprint(c, "hello") },
		"half an event": func(c *net.UnixConn, _ envelope.Hello) { c.Write([]byte{1, 9, 0, 0, 0, 1}) },
		"silent":        func(*net.UnixConn, envelope.Hello) { time.Sleep(3 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			b := granting(p, 1)
			b.after = after
			b.serve(t)
			start := time.Now()
			c, _, err := b.dial(t, nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); (name == "silent") != (took > 1900*time.Millisecond) {
				t.Errorf("it took %v", took)
			}
			if got := exchange(t, c, "ping"); !strings.Contains(got, "handed=false") || c.HandedOff() {
				t.Error(got)
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	p := newPaths(t)
	b := &fakeBroker{path: filepath.Join(p.folder, "broker.sock"), reply: func(envelope.Hello) envelope.HelloReply {
		return envelope.Refusal{Code: envelope.CodeRateLimited, Reason: "backend spawn budget exhausted", RetryAfterMS: 1500}.Reply()
	}}
	b.serve(t)
	c, _, err := b.dial(t, nil)
	var refused *RefusedError
	if c != nil || !errors.As(err, &refused) || *refused != (RefusedError{envelope.CodeRateLimited, "backend spawn budget exhausted", 1500 * time.Millisecond}) {
		t.Errorf("%v", err)
	}
	if want := "runningprocess: builder 1.2.0: the broker refuses: backend spawn budget exhausted (ERROR_RATE_LIMITED); it may be tried again in 1.5s"; err.Error() != want {
		t.Errorf("%v", err)
	}
	if _, _, err := b.dial(t, func(r *Request) { r.Service = "Builder" }); !errors.As(err, &refused) || refused.Reason != "invalid service_name" || refused.RetryAfter != 0 {
		t.Errorf("%v", err)
	}
}

func TestDialFails(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	b := &fakeBroker{path: filepath.Join(p.folder, "none.sock")}
	if _, _, err := b.dial(t, nil); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), b.path) {
		t.Errorf("no broker: %v", err)
	}
	release := make(chan struct{})
	replying := func(reply func(envelope.Hello) envelope.HelloReply) *fakeBroker {
		b := &fakeBroker{path: filepath.Join(t.TempDir(), "broker.sock"), reply: reply}
		b.serve(t)
		return b
	}
	if _, _, err := replying(nil).dial(t, nil); err == nil || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("closed: %v", err)
	}
	empty := func(envelope.Hello) envelope.HelloReply {
		return envelope.HelloReply{Negotiated: &envelope.Negotiated{}}
	}
	if _, _, err := replying(empty).dial(t, nil); err == nil || !strings.Contains(err.Error(), "backend_pipe") {
		t.Errorf("no path: %v", err)
	}
	_, n, err := replying(granting(p, 1).reply).dial(t, nil)
	if !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), p.backend) || n.BackendPipe != p.backend {
		t.Errorf("no backend: %v", err)
	}

	b = replying(func(envelope.Hello) envelope.HelloReply { <-release; return envelope.HelloReply{} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Dial(ctx, Request{Broker: b.path, Service: "a", Version: "1.0.0"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := Dial(ctx, Request{Broker: b.path, Service: "a", Version: "1.0.0"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	t.Setenv(envTimeout, "30")
	if _, _, err := b.dial(t, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: %v", envTimeout, err)
	}
	close(release)
}
