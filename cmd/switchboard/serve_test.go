// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestActivation: serve takes over the sockets that systemd bound, serves who connected before it was there, and
// tells systemd when it is ready and when it ends. Units that are older than Mach messages bind no socket for them.
func TestActivation(t *testing.T) {
	t.Parallel()
	for _, bound := range [][]string{{"broker.sock", "session.sock"}, {"broker.sock", "session.sock", "bootstrap.sock"}} {
		t.Run(strconv.Itoa(len(bound)), func(t *testing.T) {
			t.Parallel()
			testActivation(t, bound)
		})
	}
}

func testActivation(t *testing.T, bound []string) {
	dir := testDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var sockets []*os.File
	for i, name := range bound {
		kind := syscall.SOCK_SEQPACKET
		if i == 0 {
			kind = syscall.SOCK_STREAM
		}
		sockets = append(sockets, boundSocket(t, kind, filepath.Join(dir, name)))
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	early, err := net.Dial("unix", filepath.Join(dir, "broker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if _, err := io.WriteString(early, "DIAL com.example.nobody\n"); err != nil {
		t.Fatal(err)
	}

	serve := activated(t, dir, strings.Join(bound, ":"), sockets...)
	serve.Env = append(serve.Env, "NOTIFY_SOCKET="+notify.LocalAddr().String())
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	wantNotice(t, notify, "READY=1")
	verdict, err := bufio.NewReader(early).ReadString('\n')
	if err != nil || !strings.HasPrefix(verdict, "ERR 69 ") {
		t.Errorf("who connected before the broker was there is told %q, %v", verdict, err)
	}
	if err := command(t, dir, "ls", "--no-autostart").Run(); err != nil {
		t.Errorf("ls ended with %v", err)
	}
	asker := command(t, dir, "_demo", "asker", "com.example.nobody", "hello")
	asker.Stderr = nil
	if out, _ := asker.CombinedOutput(); !strings.Contains(string(out), "1102") {
		t.Errorf("Mach messages: %s", out)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wantNotice(t, notify, "STOPPING=1")
	if err := serve.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil || len(left) != len(bound) {
		t.Errorf("systemd's sockets were removed, or others were left: %v, %v", left, err)
	}
}

// TestActivationWantsBoth: sockets by other names, or one alone, are refused.
func TestActivationWantsBoth(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	path := filepath.Join(t.TempDir(), "some.sock")
	serve := activated(t, dir, "some.sock", boundSocket(t, syscall.SOCK_STREAM, path))
	var said strings.Builder
	serve.Stderr = &said
	if err := serve.Run(); exitStatus(err) != exitConfig {
		t.Errorf("serve ended with %v, want exit code %d", err, exitConfig)
	}
	if !strings.Contains(said.String(), "some.sock") {
		t.Errorf("serve said %q", said.String())
	}
}

// activated makes a serve process that is given sockets as systemd does.
func activated(t *testing.T, dir, names string, sockets ...*os.File) *exec.Cmd {
	t.Helper()
	serve := otherCommand(t, dir, "sh", "-c", `LISTEN_PID=$$ exec switchboard serve`)
	serve.Env = append(serve.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+names)
	serve.ExtraFiles = sockets
	return serve
}

// boundSocket makes a listening Unix socket of any type.
func boundSocket(t *testing.T, kind int, path string) *os.File {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 16)); err != nil {
		t.Fatal(err)
	}
	return f
}

// wantNotice reads one message to systemd.
func wantNotice(t *testing.T, notify *net.UnixConn, want string) {
	t.Helper()
	if err := notify.SetReadDeadline(time.Now().Add(scriptTimeout)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := notify.Read(buffer)
	if err != nil || string(buffer[:n]) != want {
		t.Fatalf("systemd was told %q (%v), want %q", buffer[:n], err, want)
	}
}

// TestStarterIsTold: a broker that was started for a program tells it on its pipe what came of it.
func TestStarterIsTold(t *testing.T) {
	t.Parallel()
	refused := t.TempDir()
	if err := os.Chmod(refused, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"ready", testDir(t), "ready\n"},
		{"refused", refused, "77 runtime folder "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			detach := command(t, test.dir, "_detach")
			detach.Env = append(detach.Env, envReadyFD+"=3", envIdleExit+"=5m")
			detach.ExtraFiles = []*os.File{w}
			if err := detach.Run(); err != nil {
				t.Errorf("_detach ended with %v", err)
			}
			w.Close()
			told, err := io.ReadAll(r) // ends when the broker has closed its end, ready or not
			if err != nil || !strings.HasPrefix(string(told), test.want) || strings.Count(string(told), "\n") != 1 {
				t.Errorf("the starter was told %q (%v), want %q", told, err, test.want)
			}
		})
	}
}
