// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func tokenOf(n int) (token [envelope.TokenSize]byte) {
	copy(token[:], fmt.Sprintf("token %010d", n))
	return token
}

func offerOf(n int) envelope.HandoffOffer {
	token := tokenOf(n)
	return envelope.HandoffOffer{Token: token[:], ServiceName: "builder", CorrelationID: uint64(n)}
}

// pair is a client's connection: both ends, ours as the broker passes it.
func pair(t *testing.T) (client *net.UnixConn, end int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	return c.(*net.UnixConn), fds[1]
}

// pass sends the token with descriptors, and closes those here.
func pass(t *testing.T, broker *net.UnixConn, token []byte, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	if _, _, err := broker.WriteMsgUnix(token, oob, nil); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		syscall.Close(fd)
	}
}

// handOver takes a broker's part in a handoff: steps 4 to 7.
func handOver(t *testing.T, broker *net.UnixConn, n, fd int) error {
	t.Helper()
	event, err := sys.Dup(fd)
	if err != nil {
		t.Error(err)
		return err
	}
	defer event.Close()
	token, offer := tokenOf(n), offerOf(n)
	pass(t, broker, token[:], fd)
	if err := WriteFrame(broker, offer.Frame()); err != nil {
		return err
	}
	f, err := ReadFrame(broker, 0)
	if err != nil {
		return err
	}
	ack, err := envelope.CheckAck(f, offer)
	if err != nil {
		return err
	}
	_, err = syscall.Write(event.Int(), ack.Frame(envelope.Event).AppendFramed(nil))
	return err
}

// TestHandoff hands several over on one connection, and on several at once.
func TestHandoff(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	l := p.listen(t)
	go serve(l)
	var brokers sync.WaitGroup
	for b := range 4 {
		broker := dialTest(t, p.handoff)
		brokers.Go(func() {
			defer broker.Close()
			for i := range 8 {
				client, end := pair(t)
				n := 100*b + i + 1
				if err := handOver(t, broker, n, end); err != nil {
					t.Error(err)
					return
				}
				token := tokenOf(n)
				if f, err := ReadFrame(client, 0); err != nil || envelope.CheckReady(f, token[:]) != nil {
					t.Errorf("%+v, %v", f, err)
				}
				if got, want := exchange(t, client, "ping"), fmt.Sprintf("pid=%d handed=true bytes=4", os.Getpid()); got != want {
					t.Errorf("answered %q, want %q", got, want)
				}
				if n := inheritable(); n > 0 { // the test's own are close-on-exec, too
					t.Errorf("%d sockets are not close-on-exec", n)
				}
				client.Close()
			}
		})
	}
	brokers.Wait()
	l.Close()
}

// TestHandedOffSpeaksFirst: the program gets a connection when its client has spoken, and so has read the event.
func TestHandedOffSpeaksFirst(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	accepted := make(chan *Conn, 1)
	go func() {
		if c, err := l.AcceptConn(); err == nil {
			accepted <- c
		}
	}()
	client, end := pair(t)
	if err := handOver(t, dialTest(t, p.handoff), 1, end); err != nil {
		t.Fatal(err)
	}
	select {
	case <-accepted:
		t.Fatal("accepted before it spoke")
	case <-time.After(50 * time.Millisecond):
	}
	fmt.Fprint(client, "hi")
	c := <-accepted
	defer c.Close()
	if b := make([]byte, 2); !c.HandedOff() || func() error { _, err := io.ReadFull(c, b); return err }() != nil || string(b) != "hi" {
		t.Errorf("read %q", b)
	}
}

// TestRefusedHandoff has offers that are answered with a reason; the next one on the same connection is taken.
func TestRefusedHandoff(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	l := p.listen(t)
	go serve(l)
	broker := dialTest(t, p.handoff)
	used, end := pair(t)
	if err := handOver(t, broker, 1, end); err != nil {
		t.Fatal(err)
	}
	used.Close()
	for detail, change := range map[string]func(*envelope.HandoffOffer) int{
		"handoff token is missing":                       func(o *envelope.HandoffOffer) int { o.Token = nil; return 2 },
		"handoff token length was 3 bytes; expected 16":  func(o *envelope.HandoffOffer) int { o.Token = o.Token[:3]; return 3 },
		"handoff token length was 17 bytes; expected 16": func(o *envelope.HandoffOffer) int { o.Token = append(o.Token, 0); return 4 },
		"handoff token mismatch":                         func(o *envelope.HandoffOffer) int { return 5 },
		"handoff token is not pending":                   func(o *envelope.HandoffOffer) int { return 1 },
		"a descriptor that is no socket":                 nil,
		"the backend has too many connections that wait": func(o *envelope.HandoffOffer) int { return 7 },
	} {
		client, end := pair(t)
		n, offer := 6, offerOf(6)
		if change != nil {
			n = change(&offer)
			if n == 1 {
				offer = offerOf(1)
			}
		} else {
			syscall.Close(end)
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			if end, err = syscall.Dup(int(f.Fd())); err != nil {
				t.Fatal(err)
			}
			f.Close()
			detail = "is not a socket"
		}
		token := tokenOf(n)
		if n == 7 {
			offer = offerOf(7)
			l.queue.mu.Lock()
			l.queue.limit = 0
			l.queue.mu.Unlock()
		}
		pass(t, broker, token[:], end)
		if err := WriteFrame(broker, offer.Frame()); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFrame(broker, 0)
		if err != nil {
			t.Fatalf("%s: %v", detail, err)
		}
		ack, err := envelope.ParseHandoffAck(f.Payload)
		if err != nil || ack.Accepted || !strings.HasSuffix(ack.ErrorDetail, detail) || ack.CorrelationID != offer.CorrelationID ||
			string(ack.Token) != string(offer.Token) || f.Kind != envelope.Response || f.RequestID != offer.CorrelationID {
			t.Errorf("%s: %+v, %v", detail, ack, err)
		}
		closedBy(t, client)
		client.Close()
		l.queue.mu.Lock()
		l.queue.limit = maxWaiting
		l.queue.mu.Unlock()
	}
	client, end := pair(t)
	if err := handOver(t, broker, 5, end); err != nil { // a mismatch does not use it up
		t.Error(err)
	}
	client.Close()
	broker.Close()
	l.Close()
}
