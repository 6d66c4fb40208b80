// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// rawSession speaks the session protocol packet by packet: what a test wants to send, and no more.
type rawSession struct {
	t        fataler
	fd       *sys.FD
	file     *os.File
	raw      syscall.RawConn
	buffer   *sys.Buffer
	id       uint32
	sequence uint64
	events   []message // that came while a reply was waited for
}

// fataler is what helpers need of a test; a role that runs without one panics instead.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Cleanup(func())
}

// message is one packet that came.
type message struct {
	session.Header
	payload []byte
	fds     []int
}

var errClosed = errors.New("the session is closed")

// connect opens a connection to session.sock, without HELLO.
func connect(t fataler, dir string) *rawSession {
	t.Helper()
	fd, err := sys.Connect(filepath.Join(dir, "session.sock"), sys.Seqpacket, false)
	if err != nil {
		t.Fatal(err)
	}
	return sessionOn(t, fd)
}

// sessionOn makes a raw session of a connected socket.
func sessionOn(t fataler, fd *sys.FD) *rawSession {
	t.Helper()
	s := &rawSession{t: t, buffer: sys.NewBuffer(session.MaxPacket)}
	s.file = os.NewFile(uintptr(fd.Take()), "session")
	s.fd = sys.NewFD(int(fdOf(t, s.file)))
	var err error
	if s.raw, err = s.file.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

func fdOf(t fataler, f *os.File) (n uintptr) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { n = fd }); err != nil {
		t.Fatal(err)
	}
	return n
}

// open connects and says HELLO.
func open(t fataler, dir string) *rawSession {
	t.Helper()
	s := connect(t, dir)
	s.hello(newClient())
	return s
}

func newClient() (id [16]byte) {
	rand.Read(id[:])
	return id
}

func (s *rawSession) hello(id [16]byte) session.HelloReply {
	s.t.Helper()
	m := s.call(session.OpHello, session.Hello{Session: id, Program: "test"}.Append(nil))
	r, err := session.ParseHelloReply(m.payload)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *rawSession) close() { s.file.Close() }

// send sends a packet as it is.
func (s *rawSession) send(packet []byte, fds ...int) error {
	var err error
	if werr := s.raw.Write(func(fd uintptr) bool {
		_, err = sys.Send(int(fd), packet, fds...)
		return err != syscall.EAGAIN
	}); werr != nil {
		return werr
	}
	return err
}

// receive waits for the next packet. The end of the session is errClosed.
func (s *rawSession) receive() (message, error) {
	s.file.SetReadDeadline(time.Now().Add(deadline))
	var n int
	var err error
	if rerr := s.raw.Read(func(fd uintptr) bool {
		n, err = s.buffer.Recv(int(fd))
		return err != syscall.EAGAIN
	}); rerr != nil {
		return message{}, rerr
	}
	if err != nil || n == 0 {
		return message{}, errClosed
	}
	h, payload, err := session.ParseHeader(s.buffer.Data[:n])
	m := message{Header: h, payload: append([]byte(nil), payload...), fds: append([]int(nil), s.buffer.FDs...)}
	if err == nil && len(m.fds) != int(h.Descriptors) {
		err = fmt.Errorf("%v came with %d descriptors and announced %d", h.Op, len(m.fds), h.Descriptors)
	}
	return m, err
}

// request sends a request and returns its id.
func (s *rawSession) request(op session.Op, payload []byte, fds ...int) uint32 {
	s.t.Helper()
	s.id++
	h := session.Header{Kind: session.KindRequest, Op: op, ID: s.id, Descriptors: uint8(len(fds))}
	switch op {
	case session.OpClaim, session.OpRelease, session.OpNamespace, session.OpDoor, session.OpDeclare, session.OpStop, session.OpRestart, session.OpRetire:
		s.sequence++
		h.Sequence = s.sequence
	}
	if err := s.send(append(h.Append(nil), payload...), fds...); err != nil {
		s.t.Fatalf("cannot send %v: %v", op, err)
	}
	return s.id
}

// call sends a request and waits for its reply.
func (s *rawSession) call(op session.Op, payload []byte, fds ...int) message {
	s.t.Helper()
	return s.replyTo(s.request(op, payload, fds...))
}

func (s *rawSession) replyTo(id uint32) message {
	s.t.Helper()
	for {
		m, err := s.receive()
		if err != nil {
			s.t.Fatalf("no reply: %v", err)
		}
		if m.Kind == session.KindReply && m.ID == id {
			return m
		}
		s.events = append(s.events, m)
	}
}

// event waits for the next event.
func (s *rawSession) event(op session.Op) message {
	s.t.Helper()
	var m message
	if len(s.events) > 0 {
		m, s.events = s.events[0], s.events[1:]
	} else {
		var err error
		if m, err = s.receive(); err != nil {
			s.t.Fatalf("no %v: %v", op, err)
		}
	}
	if m.Kind != session.KindEvent || m.Op != op {
		s.t.Fatalf("got %v %v, want the event %v", m.Kind, m.Op, op)
	}
	return m
}

func parse[T any](t fataler, f func([]byte) (T, error), m message) T {
	t.Helper()
	v, err := f(m.payload)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s *rawSession) claim(c session.Claim) (session.ClaimReply, message) {
	s.t.Helper()
	if c.Kind == 0 {
		c.Kind = session.EntryService
	}
	m := s.call(session.OpClaim, c.Append(nil))
	return parse(s.t, session.ParseClaimReply, m), m
}

// own claims a name that must be free.
func (s *rawSession) own(name string) uint64 {
	s.t.Helper()
	r, _ := s.claim(session.Claim{Name: name})
	if r.Code != session.OK {
		s.t.Fatalf("cannot claim %s: %d %s", name, r.Code, r.Text)
	}
	return r.Lease
}

func (s *rawSession) lookUp(name string) session.LookUpReply {
	s.t.Helper()
	return parse(s.t, session.ParseLookUpReply, s.call(session.OpLookUp, session.LookUp{Name: name}.Append(nil)))
}

// watch begins a watch and returns what existed.
func (s *rawSession) watch(pattern string) (id uint32, names []string) {
	s.t.Helper()
	id = s.request(session.OpWatch, session.Watch{Pattern: pattern}.Append(nil))
	if r := parse(s.t, session.ParseReply, s.replyTo(id)); r.Code != session.OK {
		s.t.Fatalf("cannot watch %s: %s", pattern, r.Text)
	}
	for {
		m, err := s.receive()
		if err != nil {
			s.t.Fatal(err)
		}
		if m.Op == session.OpSynced {
			return id, names
		}
		for _, c := range parse(s.t, session.ParseChange, m).Changed {
			names = append(names, c.Entry.Name)
		}
	}
}

// change waits for one change.
func (s *rawSession) change() session.Changed {
	s.t.Helper()
	c := parse(s.t, session.ParseChange, s.event(session.OpChange)).Changed
	if len(c) != 1 {
		s.t.Fatalf("%d changes in one event", len(c))
	}
	return c[0]
}

// take waits for a hand-over and acknowledges it; the connection is still without its OK.
func (s *rawSession) take() net.Conn {
	s.t.Helper()
	m, h := s.handOver()
	s.acknowledge(h.Connection)
	return s.conn(m)
}

func (s *rawSession) handOver() (message, session.HandOver) {
	s.t.Helper()
	m := s.event(session.OpHandOver)
	return m, parse(s.t, session.ParseHandOver, m)
}

func (s *rawSession) acknowledge(connection uint64) {
	s.t.Helper()
	h := session.Header{Kind: session.KindOneWay, Op: session.OpTaken}
	if err := s.send(session.Taken{Connection: connection}.Append(h.Append(nil))); err != nil {
		s.t.Fatal(err)
	}
}

func (s *rawSession) conn(m message) net.Conn {
	s.t.Helper()
	f := os.NewFile(uintptr(m.fds[0]), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// serve answers every hand-over like tr a-z A-Z, until the session ends.
func (s *rawSession) serve() {
	for {
		m, err := s.receive()
		if err != nil {
			return
		}
		if m.Op != session.OpHandOver {
			continue
		}
		h, err := session.ParseHandOver(m.payload)
		if err != nil {
			panic(err)
		}
		ack := session.Header{Kind: session.KindOneWay, Op: session.OpTaken}
		s.send(session.Taken{Connection: h.Connection}.Append(ack.Append(nil)))
		f := os.NewFile(uintptr(m.fds[0]), "connection")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			c.Write(h.Preamble)
			b, _ := io.ReadAll(c)
			io.WriteString(c, strings.ToUpper(string(b)))
		}()
	}
}

// dial sends text to broker.sock.
func dial(t fataler, dir, text string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, "broker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(deadline))
	if _, err := io.WriteString(c, text); err != nil && !errors.Is(err, syscall.EPIPE) { // refused before it asked: the verdict is there
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// verdict reads one line.
func verdict(t fataler, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(deadline))
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := c.Read(b); err != nil {
			if len(line) == 0 {
				return err.Error()
			}
			t.Fatalf("after %q: %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

func limits(names int) broker.Limits { return broker.Limits{NamesPerSession: names} }
