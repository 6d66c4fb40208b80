// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sys

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUseOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 120)) // reached by way of a descriptor
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(long, "a"), filepath.Join(dir, "b")
	if on, err := ListeningAt(a); on || err != nil {
		t.Error(on, err)
	}
	if _, err := ListeningAt(dir); err == nil {
		t.Error("a folder was taken for a socket")
	}
	la, err := Listen(a, Stream, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer la.Close()
	lb, err := Listen(b, Stream, 16)
	if err != nil {
		t.Fatal(err)
	}
	if on, err := ListeningAt(a); !on || err != nil {
		t.Error(on, err)
	}
	var clients []*FD
	for range 3 {
		c, err := Connect(a, Stream, false)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	for range 2 {
		n, err := Accept(la.Int())
		if err != nil {
			t.Fatal(err)
		}
		defer NewFD(n).Close()
	}
	fa, err := StatSocket(a)
	if err != nil {
		t.Fatal(err)
	}
	fb, err := StatSocket(b)
	if err != nil {
		t.Fatal(err)
	}
	use, err := UseOf([]SocketFile{fa, fb})
	if err != nil || use[0] != (SocketUse{Listening: true, Waiting: 1, Open: 2}) || use[1] != (SocketUse{Listening: true}) {
		t.Errorf("%+v, %v", use, err)
	}
	clients[0].Close() // was accepted
	lb.Close()         // its file stays
	if use, err = UseOf([]SocketFile{fb, fa}); err != nil || use[1].Open != 1 || use[0] != (SocketUse{}) {
		t.Errorf("%+v, %v", use, err)
	}
	if on, err := ListeningAt(b); on || err != nil {
		t.Error(on, err)
	}
}

func TestBindDatagram(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "notify")
	for _, name := range []string{name, "@switchboard-test-" + filepath.Base(filepath.Dir(filepath.Dir(name))) + name} {
		if len(name) > maxPath && name[0] == '@' {
			name = name[:maxPath]
		}
		fd, err := BindDatagram(name)
		if err != nil {
			t.Fatal(err)
		}
		defer fd.Close()
		s, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(s)
		if err := syscall.Sendto(s, []byte("READY=1"), 0, &syscall.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		buf := NewBuffer(64)
		n, err := buf.Recv(fd.Int())
		if err != nil || string(buf.Data[:n]) != "READY=1" || buf.Cred.PID != os.Getpid() {
			t.Errorf("%q, %+v, %v", buf.Data[:n], buf.Message, err)
		}
		buf.Close()
	}
}

func TestCheckExecutable(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/bin/sh": nil, "/bin": syscall.EACCES, plain: syscall.EACCES, plain + "/x": syscall.ENOTDIR, "/does/not/exist": syscall.ENOENT,
	} {
		if err := CheckExecutable(path); err != want {
			t.Errorf("%s: %v, not %v", path, err, want)
		}
	}
}

// No test of this package that forks is parallel: until it execs, a child holds copies of what other tests close.
func TestExit(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "read x; exit 7")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pidfd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd := NewFD(pidfd)
	defer fd.Close()
	if _, ok, err := WaitChild(pidfd, false); ok || err != nil {
		t.Error(ok, err)
	}
	if _, ok := ExitOf(pidfd); ok {
		t.Error("it has exited, they say")
	}
	in.Close()
	_ = cmd.Wait()
	if _, _, err := WaitChild(pidfd, true); err != syscall.ECHILD {
		t.Error(err)
	}
	if e, ok := ExitOf(pidfd); ok && e != (Exit{Code: 7}) {
		t.Error(e)
	} else if !ok {
		t.Log("this kernel does not tell how a stranger ended")
	}
	if err := SignalProcess(pidfd, syscall.SIGTERM); err != syscall.ESRCH {
		t.Error(err)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	s, ok := parseStat("12 (a) b) c) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2")
	if !ok || s != (ProcessStat{State: 'S', Parent: 1, Group: 2, Session: 3, Start: 98765}) {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, bad := range []string{"", "12 (a) S 1 2", "12 a S", "12 (a) S x 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765"} {
		if _, ok := parseStat(bad); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
	self, err := StatProcess(os.Getpid())
	if err != nil || self.Parent != os.Getppid() || self.Start == 0 {
		t.Errorf("%+v, %v", self, err)
	}
}
