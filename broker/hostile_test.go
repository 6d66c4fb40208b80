// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// An acknowledgement that is queued in time counts, also when the owner does not read its replies.
func TestAcknowledgedBehindUnsentReplies(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Limits: broker.Limits{TakeOver: 4 * time.Second}})
	s := open(t, b.dir)
	s.own("com.example.up")
	c := dial(t, b.dir, "DIAL com.example.up\n")
	m, h := s.handOver()
	for range 300 { // more than the broker's queue to us holds, and less than ours to it
		s.id++
		p := session.LookUp{Name: "x"}.Append(session.Header{Kind: session.KindRequest, Op: session.OpLookUp, ID: s.id}.Append(nil))
		if err := s.send(p); err != nil {
			t.Fatal(err)
		}
	}
	s.acknowledge(h.Connection)
	conn := s.conn(m)
	io.WriteString(conn, "OK\n")
	// A second caller, which nobody takes, tells when the time of the first is over.
	if v := verdict(t, dial(t, b.dir, "DIAL com.example.up\n")); !strings.HasPrefix(v, "ERR 75 ") {
		t.Errorf("the second caller got %q", v)
	}
	io.WriteString(conn, "hello")
	conn.Close()
	if got, err := io.ReadAll(c); string(got) != "OK\nhello" {
		t.Errorf("the first caller got %q, %v", got, err)
	}
}

// A client that shuts its receiving side can never be sent to again: its session ends, and nobody spins.
func TestShutForReading(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	status := open(t, b.dir)
	sessions := func(want uint64) {
		t.Helper()
		eventually(t, func() string {
			if r := parse(t, session.ParseStatusReply, status.call(session.OpStatus, nil)); r.Sessions != want {
				return fmt.Sprintf("there are %d sessions, and %d should be", r.Sessions, want)
			}
			return ""
		})
	}
	watcher := open(t, b.dir)
	watcher.watch("*")
	owner := open(t, b.dir)
	owner.own("com.example.deaf")
	sessions(3)
	if err := syscall.Shutdown(watcher.fd.Int(), syscall.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	status.own("com.example.event")
	sessions(2)
	if err := syscall.Shutdown(owner.fd.Int(), syscall.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	if v := verdict(t, dial(t, b.dir, "DIAL com.example.deaf\n")); !strings.HasPrefix(v, "ERR 75 ") {
		t.Errorf("the deaf owner's caller got %q", v)
	}
	sessions(1)
}

// What is still queued on a connection whose session went on elsewhere is not answered there.
func TestReplacedConnection(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	for range 50 {
		id := newClient()
		s := connect(t, b.dir)
		s.hello(id)
		for range 20 {
			s.request(session.OpWatch, session.Watch{Pattern: "*"}.Append(nil))
		}
		next := connect(t, b.dir)
		next.hello(id)
		seen := make(map[uint32]int)
		for range 5 {
			want := next.request(session.OpStatus, nil)
			for {
				m, err := next.receive()
				if err != nil {
					t.Fatal(err)
				}
				if m.Kind != session.KindReply || m.Op != session.OpStatus {
					t.Fatalf("a stray %v %v with id %d", m.Kind, m.Op, m.ID)
				}
				if seen[m.ID]++; seen[m.ID] > 1 {
					t.Fatalf("request %d was answered twice", m.ID)
				}
				if m.ID == want {
					break
				}
			}
		}
		s.close()
		next.close()
	}
}

// Listeners and doors leave the reserve of descriptors alone: others are told to try again, and are not left without an answer.
func TestDescriptorReserve(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{Descriptors: 256, Limits: limits(5000)})
	s := open(t, b.dir)
	granted := 0
	for i := range 300 {
		r, m := s.claim(session.Claim{Name: fmt.Sprintf("n%d", i), Accept: session.AcceptListener})
		sys.CloseAll(m.fds)
		if r.Code == session.OK {
			granted++
		} else if r.Code != session.TryAgain || !strings.Contains(r.Text, "few descriptors left") {
			t.Fatalf("%d %s", r.Code, r.Text)
		}
	}
	if granted < 100 || granted > 192 {
		t.Errorf("%d listeners with 256 descriptors", granted)
	}
	if v := verdict(t, dial(t, b.dir, "DIAL n0\n")); !strings.HasPrefix(v, "ERR 75 the broker has few descriptors left") {
		t.Errorf("another client got %q", v)
	}
	s.close()
}

func TestLongListenerName(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	long := strings.Repeat("n", 100)
	if r, _ := s.claim(session.Claim{Name: long, Accept: session.AcceptListener}); r.Code != session.Usage || !strings.Contains(r.Text, "at most 80 bytes") {
		t.Errorf("%d %s", r.Code, r.Text)
	}
	s.own(long)
}
