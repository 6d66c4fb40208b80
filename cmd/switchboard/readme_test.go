// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme follows the README to the letter in a fresh copy of this repository: it builds the command, gives each line
// of the two tours a terminal of its own, and runs the other examples in sh, Python and JavaScript. Only its ports, and the
// home folder, are others.
func TestReadme(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the command")
	}
	lacks := func(program string) bool {
		_, err := exec.LookPath(program)
		if err != nil {
			t.Logf("SKIPPED: %s is not installed (make deps)", program)
		}
		return err != nil
	}
	if lacks("make") {
		return
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	server, front := freeAddress(t), freeAddress(t)
	readme := strings.NewReplacer("127.0.0.1:8000", server, "--bind 127.0.0.1 8000", "--bind 127.0.0.1 "+port(server),
		"127.0.0.1:9000", front).Replace(string(text))

	r := reader{dir: testDir(t), clone: t.TempDir(), path: os.Getenv("PATH")}
	copyRepository(t, r.clone)
	out, err := r.shell(t, block(t, readme, "Switchboard", "sh")+`printf %s "$PATH"`).Output()
	if err != nil {
		t.Fatalf("the command cannot be built: %v\n%s", err, out)
	}
	r.path = string(out[strings.LastIndexByte(string(out), '\n')+1:])
	r.home = t.TempDir() // from here on, as the build needs the real one

	if !lacks("python3") && !lacks("curl") {
		lines := strings.Split(block(t, readme, "Put a name on a server that exists", "sh"), "\n")
		r.terminal(t, lines[0], "")
		waitListening(t, server)
		r.terminal(t, lines[1], "listening as")
		r.terminal(t, lines[2], "forwarding")
		if out, err := r.shell(t, lines[3]).Output(); err != nil || !strings.Contains(string(out), "README.md") {
			t.Errorf("%s printed %q (%v)", lines[3], out, err)
		}
	}
	lines := strings.Split(block(t, readme, "From a shell", "sh"), "\n")
	r.terminal(t, lines[0], "listening as")
	if out, err := r.shell(t, lines[1]).Output(); err != nil || string(out) != "HELLO\n" {
		t.Errorf("%s printed %q (%v)", lines[1], out, err)
	}
	code := block(t, readme, "Start it when it is called", "sh")
	if out, err := r.shell(t, code).Output(); err != nil || string(out) != "6\nHELLO\n" {
		t.Errorf("%s printed %q (%v)", code, out, err)
	}
	if !lacks("redis-server") {
		code := block(t, readme, "A tool with a background daemon", "sh")
		if out, err := r.shell(t, code).Output(); err != nil || string(out) != "+OK\r\n$-1\r\n$5\r\nfirst\r\n" {
			t.Errorf("%s printed %q (%v)", code, out, err)
		}
	}
	lines = strings.Split(block(t, readme, "Video frames and tensors", "sh"), "\n")
	r.terminal(t, lines[0], "publishing")
	if out, err := r.shell(t, lines[1]).Output(); err != nil || !strings.Contains(string(out), "com.example.camera  1920x1080 BGRA") {
		t.Errorf("%s printed %q (%v)", lines[1], out, err)
	}
	if !lacks("python3") {
		code := block(t, readme, "Video frames and tensors", "python")
		if out, err := r.command(t, "python3", "-c", code).Output(); err != nil || !strings.Contains(string(out), " 1920x1080 BGRA b'") {
			t.Errorf("the example in Python printed %q (%v)", out, err)
		}
	}
	for _, language := range []struct{ name, needs, interpreter, flag string }{
		{"sh", "nc", "sh", "-c"},
		{"python", "python3", "python3", "-c"},
		{"js", "node", "node", "-e"},
	} {
		if lacks(language.needs) {
			continue
		}
		code := block(t, readme, "From any other language", language.name)
		out, err := r.command(t, language.interpreter, language.flag, code).Output()
		if err != nil || !strings.Contains(string(out), "HELLO\n") {
			t.Errorf("the example in %s printed %q (%v)", language.name, out, err)
		}
	}
}

// block returns the first block of code of a kind in a section of the README.
func block(t *testing.T, readme, section, kind string) string {
	t.Helper()
	_, text, found := strings.Cut("\n"+readme, "# "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	_, code, begun := strings.Cut(text, "```"+kind+"\n")
	code, _, closed := strings.Cut(code, "```\n")
	if !found || !begun || !closed {
		t.Fatalf("the README has no block of %s in its section %q", kind, section)
	}
	return code
}

// reader is somebody who follows the README: a copy of the repository, a PATH, a broker, and a home if it is not ours.
type reader struct{ dir, clone, path, home string }

// command makes a process that ends with the test, as do those that it starts.
func (r reader) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*scriptTimeout) // it may build everything, with nothing in the cache, beside all other tests
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stderr = r.clone, os.Stderr
	cmd.Env = append(os.Environ(), envRuntimeDir+"="+r.dir, "XDG_RUNTIME_DIR="+r.dir, "PATH="+r.path)
	if r.home != "" {
		cmd.Env = append(cmd.Env, "HOME="+r.home, "XDG_CONFIG_HOME=")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

func (r reader) shell(t *testing.T, lines string) *exec.Cmd {
	t.Helper()
	return r.command(t, "sh", "-c", lines)
}

// terminal starts a line that goes on until the end of the test, and returns when it has said something on stderr.
func (r reader) terminal(t *testing.T, line, says string) {
	t.Helper()
	cmd := r.shell(t, line)
	cmd.Stderr = nil
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Cancel()
		<-drained
		_ = cmd.Wait()
	})
	said := bufio.NewReader(stderr)
	var first string
	if says != "" {
		first, err = said.ReadString('\n')
	}
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, said)
	}()
	if err != nil || !strings.Contains(first, says) {
		t.Fatalf("%s said %q (%v)", line, first, err)
	}
}

// copyRepository copies what a fresh clone has.
func copyRepository(t *testing.T, to string) {
	t.Helper()
	const root = "../.."
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == ".git" || e.Name() == "bin" || e.Name() == "dist" {
			continue
		}
		if out, err := exec.Command("cp", "-R", filepath.Join(root, e.Name()), to).CombinedOutput(); err != nil {
			t.Fatalf("cannot copy %s: %v\n%s", e.Name(), err, out)
		}
	}
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// waitListening waits until an address answers.
func waitListening(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("nobody listens on %s: %v", address, err)
		}
	}
}
