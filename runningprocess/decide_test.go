// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestRefusedFirst has first frames that are nobody's: the connection is closed.
func TestRefusedFirst(t *testing.T) {
	done := noLeak(t)
	p := newPaths(t)
	l := p.listen(t)
	short := envelope.ProbeRequest([32]byte{})
	short.Payload = short.Payload[:31]
	packed := envelope.ProbeRequest([32]byte{})
	packed.PayloadEncoding = envelope.Zstd
	event := envelope.ProbeRequest([32]byte{})
	event.Kind = envelope.Event
	for name, first := range map[string][]byte{
		"short nonce": short.AppendFramed(nil),
		"compressed":  packed.AppendFramed(nil),
		"event":       event.AppendFramed(nil),
		"no version":  envelope.Frame{PayloadProtocol: envelope.Probe, Payload: make([]byte, 32)}.AppendFramed(nil),
		"hello":       Request{Service: "a", Version: "1.0.0"}.frame().AppendFramed(nil),
		"admin":       envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: envelope.Admin}.AppendFramed(nil),
		"offer":       envelope.HandoffOffer{}.Frame().AppendFramed(nil),
		"no frame":    {1, 2, 0, 0, 0, 0xff, 0xff},
		"empty":       {1, 0, 0, 0, 0},
	} {
		c := dialTest(t, p.backend)
		if _, err := c.Write(first); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		closedBy(t, c)
		c.Close()
	}
	for _, half := range []string{"", "\x01", "\x01\x09\x00\x00\x00abc"} { // and then the end
		c := dialTest(t, p.backend)
		fmt.Fprint(c, half)
		_ = c.CloseWrite()
		closedBy(t, c)
		c.Close()
	}
	if l.queue.conns != nil {
		t.Error("one of them waits for Accept")
	}
	l.Close()
	done()
}

// TestClients has what a client may begin with; Read returns all of it.
func TestClients(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	long := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: lane, Payload: []byte(strings.Repeat("x", 100_000))}
	exact := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: lane, Payload: make([]byte, maxProbe-10)}
	exact.Payload = append(exact.Payload, make([]byte, maxProbe-len(exact.Append(nil)))...)
	if n := len(exact.Append(nil)); n != maxProbe {
		t.Fatalf("a body of %d bytes", n)
	}
	for name, sent := range map[string]string{
		"legacy":     "G",
		"legacy 0":   "\x00",
		"two":        "\x02abc",
		"frame":      string(envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: lane, Payload: []byte("ping")}.AppendFramed(nil)) + "more",
		"long frame": string(long.AppendFramed(nil)),
		"exact":      string(exact.AppendFramed(nil)),
		"too long":   "\x01\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTest(t, p.backend)
			go func() {
				io.WriteString(c, sent)
				_ = c.CloseWrite()
			}()
			got, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			_ = got.SetDeadline(time.Now().Add(patient))
			all, err := io.ReadAll(got)
			if err != nil || string(all) != sent {
				t.Errorf("read %d bytes of %d, %v", len(all), len(sent), err)
			}
			raw, err := got.(*Conn).SyscallConn()
			if err != nil || raw.Control(func(uintptr) {}) != nil {
				t.Error(err)
			}
			if got.(*Conn).HandedOff() {
				t.Error("it was not handed over")
			}
			io.WriteString(got, "bye")
			if err := got.(*Conn).CloseWrite(); err != nil {
				t.Error(err)
			}
			if all, err := io.ReadAll(c); err != nil || string(all) != "bye" {
				t.Errorf("the client read %q, %v", all, err)
			}
		})
	}
}

// TestBytewise sends a frame in pieces: what was read is put back in order, for readers with any buffer.
func TestBytewise(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	c := dialTest(t, p.backend)
	for _, b := range (envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: lane, Payload: make([]byte, 600)}).AppendFramed(nil) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := ReadFrame(c, 0); err != nil || !strings.HasSuffix(string(f.Payload), "bytes=600") {
		t.Errorf("%q, %v", f.Payload, err)
	}
}

// TestSilent has clients that say nothing, or half a frame: nobody waits for them, and the oldest go when there are too many.
func TestSilent(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	l := p.listen(t)
	go serve(l)
	l.undecided.mu.Lock()
	l.undecided.limit = 64
	l.undecided.mu.Unlock()
	var silent []net.Conn
	for i := range 80 {
		c := dialTest(t, p.backend)
		if i%2 == 1 {
			fmt.Fprint(c, "\x01\x40\x00\x00\x00")
		}
		silent = append(silent, c)
	}
	for _, c := range silent[:16] {
		closedBy(t, c)
	}
	start := time.Now()
	exchange(t, dialTest(t, p.backend), "ping") // and one more has gone
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a client waited %v", took)
	}
	closedBy(t, silent[16])
	last := silent[78]
	if got := exchange(t, last, "ping"); !strings.HasPrefix(got, "pid=") {
		t.Error(got)
	}
	for _, c := range silent {
		c.Close()
	}
	l.Close()
}

// TestManyClients calls from many sides at once.
func TestManyClients(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	errs := make(chan error)
	for range 64 {
		go func() {
			errs <- func() error {
				c, err := connect(t.Context(), p.backend)
				if err != nil {
					return err
				}
				defer c.Close()
				for range 20 {
					if err := WriteFrame(c, envelope.Frame{PayloadProtocol: lane, RequestID: 3}); err != nil {
						return err
					}
					if f, err := ReadFrame(c, 0); err != nil || f.RequestID != 3 {
						return fmt.Errorf("%+v, %w", f, err)
					}
				}
				return nil
			}()
		}()
	}
	for range 64 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestFewDescriptors has a backend that cannot accept any more for silent clients: they make room.
func TestFewDescriptors(t *testing.T) {
	p := newPaths(t)
	p.start(t, nil, envFiles+"=40")
	for range 60 {
		dialTest(t, p.backend)
	}
	if got := exchange(t, dialTest(t, p.backend), "ping"); !strings.HasPrefix(got, "pid=") {
		t.Error(got)
	}
}

// TestNoDescriptorToKnow has a backend that has no descriptor to read its own program by: it waits for one.
func TestNoDescriptorToKnow(t *testing.T) {
	p := newPaths(t)
	p.start(t, nil, envFiles+"=40", envUseUp+"=1", "GOMAXPROCS=1")
	c := dialTest(t, p.backend)
	probeOn(t, c)
}

// TestFullQueue has nobody accept: what does not fit waits in the kernel, and all are served in the end.
func TestFullQueue(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	l.queue.mu.Lock()
	l.queue.limit = 4
	l.queue.mu.Unlock()
	var clients []net.Conn
	for range 16 {
		c := dialTest(t, p.backend)
		fmt.Fprint(c, "hello")
		clients = append(clients, c)
	}
	eventually(t, "the queue is full", l.queue.full)
	go serve(l)
	for _, c := range clients {
		if all, err := io.ReadAll(c); err != nil || string(all) != "legacy:hello" {
			t.Errorf("%q, %v", all, err)
		}
	}
}
