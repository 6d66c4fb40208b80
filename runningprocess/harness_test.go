// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	lane     = 0xF415 // of the test requests
	patient  = 20 * time.Second
	envRole  = "RUNNING_PROCESS_TEST_ROLE"
	envFiles = "RUNNING_PROCESS_TEST_FILES"  // limit on descriptors
	envUseUp = "RUNNING_PROCESS_TEST_USE_UP" // all of them, until the program has looked for one
	space    = "explicit:test"
)

// TestMain makes the test binary a backend where start runs it.
func TestMain(m *testing.M) {
	if os.Getenv(envRole) == "" {
		os.Exit(m.Run())
	}
	if text := os.Getenv(envFiles); text != "" {
		var n uint64
		fmt.Sscan(text, &n)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	l, err := Listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	if os.Getenv(envUseUp) != "" {
		useUp(l)
	}
	serve(l)
}

// useUp takes all descriptors, and gives them back.
func useUp(l *Listener) {
	var all []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		all = append(all, f)
	}
	select {
	case <-l.identity.done:
	case <-time.After(2 * acceptPause):
	}
	for _, f := range all {
		f.Close()
	}
}

// serve answers until the Listener ends: a frame on the lane with how it came and what this process is; other bytes with "legacy:" and them.
func serve(l *Listener) {
	for {
		c, err := l.AcceptConn()
		if err != nil {
			return
		}
		go answer(c)
	}
}

func answer(c *Conn) {
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	if first[0] != envelope.Version {
		rest := make([]byte, 64)
		n, _ := c.Read(rest)
		fmt.Fprintf(c, "legacy:%s%s", first, rest[:n])
		return
	}
	r := io.MultiReader(bytes.NewReader(first), c)
	for {
		f, err := ReadFrame(r, 0)
		if err != nil || f.PayloadProtocol != lane {
			return
		}
		text := fmt.Sprintf("pid=%d handed=%v bytes=%d", os.Getpid(), c.HandedOff(), len(f.Payload))
		if string(f.Payload) == "state" {
			_, set := os.LookupEnv(envListener)
			text = fmt.Sprintf("set=%v inheritable=%d", set, inheritable())
		}
		if WriteFrame(c, f.Reply(lane, []byte(text))) != nil {
			return
		}
	}
}

// inheritable counts the sockets that a child would get.
func inheritable() (n int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue // it has been closed
		}
		flags := syscall.O_CLOEXEC
		for line := range strings.Lines(string(info)) {
			fmt.Sscanf(line, "flags: %o", &flags)
		}
		if strings.HasPrefix(target, "socket:") && flags&syscall.O_CLOEXEC == 0 {
			n++
		}
	}
	return n
}

// paths are the paths that a backend is told.
type paths struct{ folder, backend, handoff string }

func newPaths(t *testing.T) paths {
	t.Helper()
	dir := t.TempDir()
	return paths{dir, filepath.Join(dir, "be.sock"), filepath.Join(dir, "ho.sock")}
}

func (p paths) environment() []string {
	return []string{envPath + "=" + p.backend, envNamespace + "=" + space, envHandoff + "=" + p.handoff}
}

// listen is Listen in this process. It ends with the test.
func (p paths) listen(t *testing.T) *Listener {
	t.Helper()
	for _, kv := range p.environment() {
		key, value, _ := strings.Cut(kv, "=")
		t.Setenv(key, value)
	}
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// start runs a backend as a process of its own, with a listener to adopt if there is one.
func (p paths) start(t *testing.T, listener *os.File, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(p.environment(), envRole+"=backend", "GORACE=atexit_sleep_ms=10")
	cmd.Env = append(cmd.Env, env...)
	if listener != nil {
		cmd.ExtraFiles = []*os.File{listener}
		cmd.Env = append(cmd.Env, envListener+"=3")
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// listenerAt binds a listener as a broker does that gives it away.
func listenerAt(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// dialTest connects, once somebody listens.
func dialTest(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	for end := time.Now().Add(patient); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			t.Cleanup(func() { c.Close() })
			_ = c.SetDeadline(time.Now().Add(patient))
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// exchange sends a request on the lane and returns the answer's text.
func exchange(t *testing.T, c io.ReadWriter, text string) string {
	t.Helper()
	if err := WriteFrame(c, envelope.Frame{PayloadProtocol: lane, Payload: []byte(text), RequestID: 7}); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFrame(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind != envelope.Response || f.RequestID != 7 {
		t.Errorf("the answer is %+v", f)
	}
	return string(f.Payload)
}

// probeOn sends a probe and returns its answer.
func probeOn(t *testing.T, c io.ReadWriter) (envelope.Frame, [32]byte) {
	t.Helper()
	var nonce [32]byte
	rand.Read(nonce[:])
	if err := WriteFrame(c, envelope.ProbeRequest(nonce)); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFrame(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f, nonce
}

// closedBy checks that the other end closes a connection without a word.
func closedBy(t *testing.T, c net.Conn) {
	t.Helper()
	var b [64]byte
	n, err := c.Read(b[:])
	if n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// descriptorCount is how many are open here.
func descriptorCount(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// noLeak checks at the end of a test that no more descriptors are open than now.
func noLeak(t *testing.T) func() {
	t.Helper()
	before := descriptorCount(t)
	return func() {
		t.Helper()
		for end := time.Now().Add(patient); descriptorCount(t) > before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%d descriptors are open, %d were", descriptorCount(t), before)
				return
			}
		}
	}
}
