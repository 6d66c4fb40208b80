// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func pair(t *testing.T, typ SocketType) (a, b *FD) {
	t.Helper()
	a, b, err := Pair(typ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestMessage is not parallel: a process that another test forks holds copies of these sockets until it execs,
// and closed numbers are used again.
func TestMessage(t *testing.T) {
	a, b := pair(t, Seqpacket)
	if err := SetPassCred(b.Int(), true); err != nil {
		t.Fatal(err)
	}
	var three []int
	for range 3 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		three = append(three, int(f.Fd()))
	}
	if _, err := Send(a.Int(), []byte("hello"), three...); err != nil {
		t.Fatal(err)
	}
	buf := NewBuffer(16)
	n, err := buf.Recv(b.Int())
	if err != nil || string(buf.Data[:n]) != "hello" {
		t.Fatalf("%q, %v", buf.Data[:n], err)
	}
	if len(buf.FDs) != 3 || !buf.HasCred || buf.Cred.PID != os.Getpid() || buf.PIDFD < 0 || buf.Truncated || buf.ControlTruncated {
		t.Errorf("%+v", buf.Message)
	}
	for _, fd := range buf.FDs {
		if flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is not close-on-exec: %v", fd, errno)
		}
	}
	sender, err := ProcessIDOf(buf.PIDFD)
	if err != nil {
		t.Error(err)
	}
	self, err := PIDFDOpen(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	if id, err := ProcessIDOf(self.Int()); err != nil || id != sender {
		t.Errorf("the sender is %+v, and this process %+v, %v", sender, id, err)
	}
	closed := append([]int(nil), buf.FDs...)
	buf.Message.Close()
	for _, fd := range closed {
		if err := syscall.Fstat(fd, new(syscall.Stat_t)); err == nil {
			t.Errorf("descriptor %d is still open", fd)
		}
	}
	if _, err := buf.Recv(b.Int()); err != syscall.EAGAIN {
		t.Errorf("with nothing to read: %v", err)
	}
	// An empty packet has a control message where credentials are asked for; a hang-up has none.
	if _, err := Send(a.Int(), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := buf.Recv(b.Int()); n != 0 || err != nil || !buf.HasControl {
		t.Errorf("an empty packet: %d, %v, %+v", n, err, buf.Message)
	}
	buf.Message.Close()
	a.Close()
	if n, err := buf.Recv(b.Int()); n != 0 || err != nil || buf.HasControl {
		t.Errorf("a hang-up: %d, %v, %+v", n, err, buf.Message)
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Seqpacket)
	if _, err := Send(a.Int(), []byte("hello, world"), a.Int()); err != nil {
		t.Fatal(err)
	}
	buf := NewBuffer(5)
	n, err := buf.Recv(b.Int())
	defer buf.Message.Close()
	if n != 5 || err != nil || !buf.Truncated || len(buf.FDs) != 1 {
		t.Errorf("%d, %v, %+v", n, err, buf.Message)
	}
}

func TestAllDescriptors(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Seqpacket)
	many := make([]int, MaxFDs)
	for i := range many {
		many[i] = a.Int()
	}
	if _, err := Send(a.Int(), []byte("x"), many...); err != nil {
		t.Fatal(err)
	}
	buf := NewBuffer(16)
	if _, err := buf.Recv(b.Int()); err != nil || len(buf.FDs) != MaxFDs || buf.ControlTruncated {
		t.Errorf("%d descriptors, %v", len(buf.FDs), err)
	}
	buf.Message.Close()
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for len(dir) < 200 {
		dir = filepath.Join(dir, strings.Repeat("d", 40))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := Listen(path, Stream, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := Listen(path, Stream, 8); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second socket there: %v", err)
	}
	c, err := Connect(path, Stream, true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := Accept(l.Int())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(s)
	if cred, err := PeerCred(s); err != nil || cred.PID != os.Getpid() {
		t.Errorf("%+v, %v", cred, err)
	}
	// The kernel lists the connection while its other end is open.
	cookie, err := Cookie(s)
	if err != nil {
		t.Fatal(err)
	}
	listed := func() (found bool) {
		if err := Connected(func(c uint64) { found = found || c == cookie }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if !listed() {
		t.Error("an open connection is not listed")
	}
	c.Close()
	if listed() {
		t.Error("a closed connection is listed")
	}
	if _, err := Accept(l.Int()); err != syscall.EAGAIN {
		t.Errorf("with none waiting: %v", err)
	}
}

func TestPoller(t *testing.T) {
	t.Parallel()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, b := pair(t, Stream)
	if err := p.Add(b.Int(), Readable, 7<<40|9); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Wait(time.Now().Add(20*time.Millisecond), nil); len(r) != 0 || err != nil {
		t.Errorf("with nothing ready: %v, %v", r, err)
	}
	go p.Wake()
	if r, err := p.Wait(time.Time{}, nil); len(r) != 0 || err != nil {
		t.Errorf("after Wake: %v, %v", r, err)
	}
	for range 3 { // level-triggered: it comes again until it is read, also without a new edge
		if _, err := Send(a.Int(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if r, err := p.Wait(time.Time{}, nil); len(r) != 1 || err != nil || r[0].Token != 7<<40|9 || r[0].Events&Readable == 0 {
				t.Fatalf("with a byte waiting: %v, %v", r, err)
			}
		}
	}
	if _, err := Read(b.Int(), make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if err := p.Modify(b.Int(), 0, 1); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if r, err := p.Wait(time.Time{}, nil); len(r) != 1 || err != nil || r[0].Events&HangUp == 0 {
		t.Errorf("after a hang-up: %v, %v", r, err)
	}
	if err := p.Remove(b.Int()); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Wait(time.Now().Add(20*time.Millisecond), nil); len(r) != 0 || err != nil {
		t.Errorf("after Remove: %v, %v", r, err)
	}
}

func TestCheckSocket(t *testing.T) {
	t.Parallel()
	a, _ := pair(t, Seqpacket)
	if typ, err := CheckSocket(a.Int(), Stream, Seqpacket); typ != Seqpacket || err != nil {
		t.Errorf("%v, %v", typ, err)
	}
	if _, err := CheckSocket(a.Int(), Stream); err == nil || !strings.Contains(err.Error(), "wrong type") {
		t.Errorf("%v", err)
	}
	l, err := Listen(filepath.Join(t.TempDir(), "l"), Stream, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := CheckSocket(l.Int(), Stream); err == nil || !strings.Contains(err.Error(), "listening") {
		t.Errorf("%v", err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := CheckSocket(int(null.Fd()), Stream); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("%v", err)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if err := Lock(fd.Int(), false); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := Lock(again.Int(), false); err != syscall.EWOULDBLOCK {
		t.Errorf("a lock that is held: %v", err)
	}
	before, err := StatFolder(fd.Int())
	if err != nil || !before.IsDir || before.Mode != 0o700 || before.UID != os.Geteuid() || before.Deleted {
		t.Errorf("%+v, %v", before, err)
	}
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	after, err := LstatFolder(dir)
	if err != nil || after.ID == before.ID {
		t.Errorf("the folder made anew is the old one: %+v, %v", after, err)
	}
	if st, err := StatFolder(fd.Int()); err != nil || !st.Deleted {
		t.Errorf("the removed folder: %+v, %v", st, err)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	fd := NewFD(-1)
	if fd.Close() != nil || fd.Int() != -1 || fd.Take() != -1 {
		t.Error("an owner of nothing owns something")
	}
	a, _ := pair(t, Stream)
	n := a.Take()
	if a.Int() != -1 || a.Close() != nil {
		t.Error("what was taken is still owned")
	}
	if err := syscall.Close(n); err != nil {
		t.Errorf("what was taken was closed: %v", err)
	}
}
