// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard"
)

// testDir makes a runtime folder whose broker, if one is started, ends with the test.
func testDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { endBroker(dir) })
	return dir
}

// command makes a switchboard process that knows only the broker in dir. It ends with the test at the latest.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	return otherCommand(t, dir, "switchboard", args...)
}

// otherCommand makes any process that knows only the broker in dir.
func otherCommand(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*scriptTimeout) // a tour takes its time on a busy machine
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), envRuntimeDir+"="+dir, "XDG_RUNTIME_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestDialEndsWithOtherSide: dial exits 0 when the other side closes, even while stdin is open.
func TestDialEndsWithOtherSide(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	startOwner(t, dir, "com.example.brief", command(t, dir, "listen", "com.example.brief", "--", "sh", "-c", "read line; echo $line"))
	dial := command(t, dir, "dial", "com.example.brief")
	var out bytes.Buffer
	dial.Stdout = &out
	stdin, err := dial.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	// The pipe stays open until Wait has seen the end of the process.
	if err := dial.Wait(); err != nil {
		t.Fatalf("dial ended with %v", err)
	}
	if out.String() != "hello\n" {
		t.Errorf("dial printed %q", out.String())
	}
}

// TestDialGoesOnSending: a service that has closed only its sending half still gets everything.
func TestDialGoesOnSending(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: "switchboard"})
	defer client.Close()
	l, err := client.Listen(t.Context(), "com.example.sink")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan int64, 1)
	go func() {
		defer close(received)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if err := c.(*switchboard.Conn).CloseWrite(); err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		received <- n
	}()
	dial := command(t, dir, "dial", "com.example.sink")
	dial.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
	if err := dial.Run(); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 1<<20 {
		t.Errorf("the service received %d bytes", n)
	}
}

// TestRace: whatever needs a broker starts one, and many at once start exactly one.
func TestRace(t *testing.T) {
	t.Parallel()
	const racers = 32
	dir := testDir(t)
	var wait sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		cmd := command(t, dir, "ls", "--json")
		wait.Go(func() { errs[i] = cmd.Run() })
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "log", "broker.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(log, []byte(`"msg":"ready"`)); n != 1 {
		t.Errorf("%d brokers became ready:\n%s", n, log)
	}
}

// TestListJSON: the fields of ls --json, no more and no less.
func TestListJSON(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	service := command(t, dir, "listen", "com.example.a", "--version", "1.2.3", "--scope", "/srv", "--", "cat")
	startOwner(t, dir, "com.example.a", service)

	dial := command(t, dir, "dial", "com.example.a", "--scope", "/srv")
	stdin, err := dial.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := dial.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // the connection is made
		t.Fatal(err)
	}

	out, err := command(t, dir, "ls", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []map[string]any
	if err := json.Unmarshal(out, &names); err != nil || len(names) != 1 {
		t.Fatalf("ls --json printed %s (%v)", out, err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := dial.Wait(); err != nil {
		t.Errorf("dial ended with %v", err)
	}
	exe, err := exec.LookPath("switchboard")
	if err != nil {
		t.Fatal(err)
	}
	since, _ := names[0]["since"].(string)
	want := map[string]any{
		"name": "com.example.a", "namespace": "/", "kind": "service", "state": "active",
		"owner":   map[string]any{"pid": float64(service.Process.Pid), "uid": float64(os.Getuid()), "exe": exe},
		"version": "1.2.3", "scope": "/srv", "connections": float64(1), "since": since, "instance": "", "command": "",
	}
	if diff := cmp.Diff(want, names[0]); diff != "" {
		t.Errorf("ls --json (-want +got):\n%s", diff)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", since); err != nil {
		t.Errorf("since: %v", err)
	}
}

// TestRunForwardsSignals: a signal to run is one to its command.
func TestRunForwardsSignals(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	run := command(t, dir, "run", "--", "sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")
	stdout, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := run.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); exitStatus(err) != 7 {
		t.Errorf("run ended with %v, want exit code 7", err)
	}
}

// exitStatus is the exit code in the error of a command; -1 for another error.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// startOwner starts a command and returns when it has its name. The command is killed at the end of the test.
func startOwner(t *testing.T, dir, name string, cmd *exec.Cmd) {
	t.Helper()
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, Binary: "switchboard"})
	defer client.Close()
	watcher, err := client.Watch(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := nextEvent(t.Context(), watcher, switchboard.Appeared); err != nil {
		t.Fatalf("waiting for %s: %v", name, err)
	}
}

// TestForwardCarriesMuch: both directions at once, through all relays there are, to the last byte.
func TestForwardCarriesMuch(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	front := filepath.Join(t.TempDir(), "front.sock")
	startOwner(t, dir, "com.example.cat", command(t, dir, "listen", "com.example.cat", "--", "cat"))
	forward := command(t, dir, "forward", "com.example.cat", "unix:"+front)
	forward.Stderr = nil
	stderr, err := forward.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil {
		t.Fatalf("forward said %q, %v", line, err)
	}
	c, err := net.Dial("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(i * 31 >> 7)
	}
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		written <- errors.Join(err, c.(*net.UnixConn).CloseWrite())
	}()
	received, err := io.ReadAll(c)
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(received, sent) {
		t.Errorf("%d bytes came back of %d, or other ones", len(received), len(sent))
	}
	if err := forward.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := forward.Wait(); err != nil {
		t.Errorf("forward ended with %v", err)
	}
}
