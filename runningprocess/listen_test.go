// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAdopt(t *testing.T) {
	p := newPaths(t)
	cmd := p.start(t, listenerAt(t, p.backend))
	c := dialTest(t, p.backend)
	if got, want := exchange(t, c, "ping"), fmt.Sprintf("pid=%d handed=false bytes=4", cmd.Process.Pid); got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
	if got := exchange(t, c, "state"); got != "set=false inheritable=0" {
		t.Errorf("state: %s", got)
	}
}

func TestBind(t *testing.T) {
	p := newPaths(t)
	cmd := p.start(t, nil)
	if got := exchange(t, dialTest(t, p.backend), "ping"); !strings.HasPrefix(got, fmt.Sprintf("pid=%d ", cmd.Process.Pid)) {
		t.Errorf("answered %q", got)
	}
	for _, path := range []string{p.backend, p.handoff} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if got := exchange(t, dialTest(t, p.backend), "state"); got != "set=false inheritable=0" {
		t.Errorf("state: %s", got)
	}
}

// TestStale leaves sockets behind: they are replaced. Live ones are errors, and stay.
func TestStale(t *testing.T) {
	p := newPaths(t)
	first := p.start(t, nil)
	exchange(t, dialTest(t, p.backend), "ping")
	t.Setenv(envPath, p.backend)
	if _, err := Listen(); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a live socket: %v", err)
	}
	t.Setenv(envPath, p.backend+"2")
	t.Setenv(envHandoff, p.handoff)
	if _, err := Listen(); err == nil || !strings.Contains(err.Error(), envHandoff) {
		t.Errorf("a live socket for handing over: %v", err)
	}
	if _, err := os.Stat(p.backend + "2"); err == nil {
		t.Error("the first socket is left behind")
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	l := p.listen(t)
	go serve(l)
	exchange(t, dialTest(t, p.backend), "ping")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{p.backend, p.handoff} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNotASocket(t *testing.T) {
	p := newPaths(t)
	if err := os.WriteFile(p.backend, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envPath, p.backend)
	if _, err := Listen(); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Error(err)
	}
	if data, _ := os.ReadFile(p.backend); string(data) != "data" {
		t.Error("the file is gone")
	}
}

// TestCloseLeavesAnother replaces the socket: Close does not remove what is not its own.
func TestCloseLeavesAnother(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	if err := os.Remove(p.backend); err != nil {
		t.Fatal(err)
	}
	listenerAt(t, p.backend)
	l.Close()
	if _, err := os.Lstat(p.backend); err != nil {
		t.Error(err)
	}
}

// TestBadListener has descriptors that cannot be adopted: nothing else is tried.
func TestBadListener(t *testing.T) {
	p := newPaths(t)
	file, err := os.Create(filepath.Join(p.folder, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	inet, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer inet.Close()
	packets, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err == nil {
		err = errors.Join(syscall.Bind(packets, &syscall.SockaddrUnix{Name: p.folder + "/packets"}), syscall.Listen(packets, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(packets)

	t.Setenv(envPath, p.backend)
	done := noLeak(t)
	for name, text := range map[string]string{
		"empty": "", "word": "three", "negative": "-1", "space": " 3", "closed": "999", "huge": "99999999999",
		"file": strconv.Itoa(int(file.Fd())), "connected": strconv.Itoa(pair[0]), "internet": strconv.Itoa(int(inet.Fd())),
		"packets": strconv.Itoa(packets),
	} {
		t.Setenv(envListener, text)
		if _, err := Listen(); err == nil || !strings.Contains(err.Error(), envListener+"="+text) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(p.backend); err == nil {
			t.Errorf("%s: another socket was bound", name)
		}
		if got, ok := os.LookupEnv(envListener); !ok || got != text {
			t.Errorf("%s: the variable is gone, and the next try would bind", name)
		}
	}
	if _, err := file.Stat(); err != nil {
		t.Error("the file was closed")
	}
	done()
}

func TestNeither(t *testing.T) {
	t.Setenv(envPath, "")
	if _, err := Listen(); err == nil || !strings.Contains(err.Error(), "let a broker launch this program, or set "+envPath) {
		t.Error(err)
	}
}

func TestLongPath(t *testing.T) {
	p := newPaths(t)
	p.folder = filepath.Join(p.folder, strings.Repeat("long", 30), strings.Repeat("path", 30))
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p.backend, p.handoff = filepath.Join(p.folder, "be.sock"), filepath.Join(p.folder, "ho.sock")
	l := p.listen(t)
	go serve(l)
	if l.Addr().String() != p.backend {
		t.Errorf("Addr is %s", l.Addr())
	}
	c, err := connect(t.Context(), p.backend)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, "ping")
}

func TestClose(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	l := p.listen(t)
	silent, waiting, broker := dialTest(t, p.backend), dialTest(t, p.backend), dialTest(t, p.handoff)
	fmt.Fprint(waiting, "hello")
	eventually(t, "a connection waits", func() bool {
		l.queue.mu.Lock()
		defer l.queue.mu.Unlock()
		return len(l.queue.conns) == 1
	})
	accepted := make(chan error)
	if c, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
	}
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close again: %v", err)
	}
	closedBy(t, silent)
	closedBy(t, broker)
	if _, err := waiting.Write([]byte("x")); err != nil {
		t.Errorf("an accepted connection was closed, too: %v", err)
	}
	for _, c := range []net.Conn{silent, broker, waiting} {
		c.Close()
	}
}
