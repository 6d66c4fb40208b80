// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// What a broker that works never does, done by one that is made for it.

// fakeVerdicts answers the nth call on broker.sock with the nth row of strings, written one by one.
func fakeVerdicts(t *testing.T, dir string, answers ...[]string) {
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	n := 0
	serve(t, l, func(c net.Conn) {
		defer c.Close()
		line := make([]byte, 100)
		if n == len(answers) {
			return
		}
		c.Read(line)
		for _, part := range answers[n] {
			io.WriteString(c, part)
			waitRead(t, c)
		}
		n++
	})
}

// waitRead waits until all that was written has been read, or never will be.
func waitRead(t *testing.T, c net.Conn) {
	raw := must[syscall.RawConn](t)(c.(*net.UnixConn).SyscallConn())
	for n := 1; n > 0; {
		noError(t, raw.Control(func(fd uintptr) {
			n, _ = sys.Unread(int(fd))
		}))
		runtime.Gosched()
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	served := must[net.Listener](t)(net.Listen("unix", path))
	serve(t, served, func(c net.Conn) {
		io.WriteString(c, "there")
		c.Close()
	})
	for name, test := range map[string]struct {
		answers [][]string
		want    string
		err     error
	}{
		"at once":       {[][]string{{"OK\n"}}, "", nil},
		"with bytes":    {[][]string{{"OK\nhello"}}, "hello", nil},
		"with lines":    {[][]string{{"OK\nERR 75 x\n"}}, "ERR 75 x\n", nil},
		"in pieces":     {[][]string{{"O", "K", "\n", "h", "i"}}, "hi", nil},
		"refused":       {[][]string{{"ERR 75 it is busy\n"}}, "it is busy", switchboard.ErrTryAgain},
		"refused, slow": {[][]string{{"E", "RR 77 no", "t you\n"}}, "not you", switchboard.ErrNotAllowed},
		"third time":    {[][]string{{}, {"O"}, {"OK\nyes"}}, "yes", nil},
		"at a path":     {[][]string{{"AT " + path + "\n"}}, "there", nil},
		"nonsense":      {[][]string{{"HTTP/1.1 400 Bad Request\r\n"}}, "verdict", switchboard.ErrUnavailable},
		"endless":       {[][]string{{"ERR 69 " + strings.Repeat("x", 5000)}}, "verdict", switchboard.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := runtimeDir(t)
			fakeVerdicts(t, dir, test.answers...)
			c, err := client(t, dir).Dial(testContext(t), "com.example.a")
			if test.err != nil {
				wantError(t, err, test.err, test.want)
				return
			}
			noError(t, err)
			defer c.Close()
			if text := must[[]byte](t)(io.ReadAll(c)); string(text) != test.want {
				t.Errorf("read %q, not %q", text, test.want)
			}
			id := must[switchboard.Identity](t)(switchboard.Peer(c))
			defer id.Close()
			if id.PID != os.Getpid() {
				t.Errorf("the peer is %d, not this process", id.PID)
			}
		})
	}
}

// TestNoVerdict: attempts end with the context, with the patience, and with the Client.
func TestNoVerdict(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	ctx, cancel := context.WithCancel(testContext(t))
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "broker.sock")))
	defer l.Close()
	calls, held := 0, make(chan net.Conn)
	serve(t, l, func(c net.Conn) {
		switch calls++; calls {
		case 3:
			cancel()
		case 4:
			held <- c
			return
		}
		c.Close()
	})
	_, err := client(t, dir).Dial(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "closed the connection")

	c := client(t, dir)
	failed := dialing(testContext(t), c, "com.example.a")
	conn := <-held
	defer conn.Close()
	noError(t, c.Close())
	wantError(t, <-failed, net.ErrClosed)

	c = client(t, dir)
	c.SetPatience(short)
	_, err = c.Dial(forever(t), "com.example.a")
	wantError(t, err, switchboard.ErrTryAgain, "com.example.a", "closed the connection")
}

func TestFolder(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	above := t.TempDir()
	open, other := filepath.Join(above, "switchboard-open"), filepath.Join(above, "other")
	noError(t, os.Mkdir(open, 0o755))
	noError(t, os.Mkdir(other, 0o755))
	link := filepath.Join(above, "link")
	noError(t, os.Mkdir(filepath.Join(above, "good"), 0o700))
	noError(t, os.Symlink("good", link))
	file := filepath.Join(above, "file")
	noError(t, os.WriteFile(file, nil, 0o700))
	for dir, word := range map[string]string{open: "chmod 700 " + open, other: "must be 0700; choose another", link: "symbolic link", file: "not a folder"} {
		for _, auto := range []bool{false, true} {
			c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: !auto, Binary: os.Args[0]})
			_, err := c.Dial(ctx, "com.example.a")
			wantError(t, err, switchboard.ErrNotAllowed, dir, word)
			_, err = c.LookUp(ctx, "com.example.a")
			wantError(t, err, switchboard.ErrNotAllowed, dir, word)
			noError(t, c.Close())
		}
	}
	missing := filepath.Join(above, "missing")
	c := client(t, missing)
	_, err := c.Dial(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs in "+missing, "serve")
	_, err = c.Listen(ctx, "com.example.a")
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs in "+missing, "serve")
	if _, err := os.Stat(missing); err == nil {
		t.Error("the folder was made for nothing")
	}
	err = c.Shutdown(ctx)
	wantError(t, err, switchboard.ErrUnavailable, "no broker runs")
}
