// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/companion"
)

// demoProcess makes a demo process whose temporary files are all in the returned folder.
func demoProcess(t *testing.T, args ...string) (cmd *exec.Cmd, temporary string) {
	t.Helper()
	temporary = t.TempDir()
	return demoIn(t, temporary, args...), temporary
}

// demoIn makes a demo process with its temporary files in a folder. It has more time than others: it starts some eighty
// processes, each of which needs its time with the race detector on a busy machine.
func demoIn(t *testing.T, temporary string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*scriptTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "switchboard", append([]string{"demo"}, args...)...)
	services, err := networkFolder()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary, "PATH="+services+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Stderr = os.Stderr
	return cmd
}

// TestDemo: the tour passes and says so in JSON, and leaves nothing.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo, temporary := demoProcess(t, "--json")
	out, err := demo.Output()
	if err != nil {
		t.Fatalf("demo ended with %v:\n%s", err, out)
	}
	type jsonStep struct {
		Name   *string
		OK     *bool
		Detail *string
		Millis *float64
	}
	var report struct {
		Steps []jsonStep
		OK    bool
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if !report.OK || len(report.Steps) != len(demoSteps()) {
		t.Errorf("ok is %v, with %d of %d steps:\n%s", report.OK, len(report.Steps), len(demoSteps()), out)
	}
	for i, s := range report.Steps {
		if s.Name == nil || s.OK == nil || s.Detail == nil || s.Millis == nil {
			t.Errorf("step %d lacks a field:\n%s", i, out)
		}
	}
	for name, says := range map[string]string{
		"launch":     `nobody had the name: .*\(pid \d+\).* first byte after [\d.]+ ms`,
		"one launch": `^64 callers .* one launch, all answered by pid \d+`,
		"failure":    `exited with status 3, last output "cannot find .*code 69.* not tried again for [\d.]+ m?s \(code 75\)`,
		"daemon":     `^a client of running-process had builder 1\.0\.0 launched \(pid \d+\) .*; 2\.0\.0 runs beside it \(pid \d+\); then a connection was handed over`,
		"mach":       `^by Mach messages: "hello" → "HELLO" from pid \d+; killed with -9, .* pid \d+ has the port [\d.]+ ms later, and read all 3`,
		"network":    `^"hello" → "HELLO" in Ethernet frames, from [0-9a-f:]{17} to [0-9a-f:]{17} on network "host"`,
		"frames":     `^300 pictures of 3840x2160 to a child in Python, and as many back: \d+ µs|^skipped`,
		"versions":   `^2\.0\.0 is added while 1\.4\.0 \(pid \d+\) .* gets 2\.0\.0 \(pid \d+\), \^1 still 1\.4\.0`,
		"shutdown":   `ended the 7 that it had launched`,
	} {
		i := slices.IndexFunc(report.Steps, func(s jsonStep) bool { return s.Name != nil && *s.Name == name })
		if i < 0 || report.Steps[i].Detail == nil || !regexp.MustCompile(says).MatchString(*report.Steps[i].Detail) {
			t.Errorf("the step %q does not say %s:\n%s", name, says, out)
		}
	}
	nothingLeft(t, temporary)
}

// TestDemoFails: where a step fails the tour says so, goes on, and ends with 1.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	demo, temporary := demoProcess(t, "--json")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\necho broken >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	demo.Env = append(demo.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := demo.Output()
	if exitStatus(err) != 1 {
		t.Errorf("demo ended with %v, want exit code 1", err)
	}
	var report demoReport
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, s := range report.Steps {
		if python := s.Name == "python" || s.Name == "frames"; s.OK == python || python && !strings.Contains(s.Detail, "broken") {
			t.Errorf("step %s: ok is %v: %s", s.Name, s.OK, s.Detail)
		}
	}
	if report.OK || len(report.Steps) != len(demoSteps()) {
		t.Errorf("ok is %v, with %d steps", report.OK, len(report.Steps))
	}
	nothingLeft(t, temporary)
}

// TestDemoEndedEarly: a tour that is interrupted, or whose broker is killed, fails, and leaves no process and no file.
func TestDemoEndedEarly(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name, row string // that is done; the next step runs
		kill      func(demo, broker int) error
	}{
		{"interrupted", "shell", func(demo, _ int) error { return syscall.Kill(demo, syscall.SIGINT) }},
		{"interrupted with backends", "versions", func(demo, _ int) error { return syscall.Kill(demo, syscall.SIGINT) }},
		{"without its broker", "versions", func(_, broker int) error { return syscall.Kill(broker, syscall.SIGKILL) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			demo, temporary := demoProcess(t)
			out, err := demo.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			demo.Stderr = nil
			if err := demo.Start(); err != nil {
				t.Fatal(err)
			}
			broker := 0
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.Contains(lines.Text(), end.row) {
				if _, after, ok := strings.Cut(lines.Text(), "ms   pid "); ok && broker == 0 {
					_, _ = fmt.Sscan(after, &broker)
				}
			}
			if broker == 0 {
				t.Fatal("the tour did not tell the pid of its broker")
			}
			if err := end.kill(demo.Process.Pid, broker); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() {
			}
			if err := demo.Wait(); exitStatus(err) != 1 {
				t.Errorf("demo ended with %v, want exit code 1", err)
			}
			nothingLeft(t, temporary)
		})
	}
}

// TestDemoKilled: a tour leaves another one alone that is on, and removes what is left of one that was killed.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	first, temporary := demoProcess(t)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "versions") { // there are processes that its broker launched
	}
	for _, end := range []struct {
		signal syscall.Signal
		left   int
	}{{syscall.SIGSTOP, 1}, {syscall.SIGKILL, 0}} {
		if err := first.Process.Signal(end.signal); err != nil {
			t.Fatal(err)
		}
		if end.signal == syscall.SIGKILL {
			_ = first.Wait()
			waitNoProcess(t, temporary) // the kernel ends what it had started
		}
		if out, err := demoIn(t, temporary).Output(); err != nil {
			t.Errorf("the tour after %v ended with %v:\n%s", end.signal, err, out)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) != end.left {
			t.Errorf("after %v there are left: %v (%v)", end.signal, left, err)
		}
	}
	nothingLeft(t, temporary)
}

// TestDemoUnprivileged: the tour passes for an ordinary user with the usual limit of descriptors, too. (Run by one, all
// tests of this package are that.)
func TestDemoUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "switchboard-nobody-") // which others may enter, as they may not t.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	temporary := filepath.Join(dir, "tmp")
	binary := filepath.Join(dir, "switchboard")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(temporary, 0o700), os.Chown(temporary, nobody, nobody),
		copyExecutable(binary)); err != nil {
		t.Fatal(err)
	}
	services, err := networkFolder()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", filepath.Join(services, companion.Network), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	demo := otherCommand(t, "unused", "sh", "-c", `ulimit -Sn 1024; exec "$0" demo --json`, binary)
	demo.Env = append(demo.Env, "TMPDIR="+temporary, "HOME=/")
	demo.Dir = "/"
	demo.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := demo.Output(); err != nil || !bytes.Contains(out, []byte("in Ethernet frames")) {
		t.Errorf("demo ended with %v:\n%s", err, out)
	}
	nothingLeft(t, temporary)
}

// copyExecutable copies this test binary, which is the command too. Another process does it: one that other tests start
// meanwhile would hold our descriptor for a moment, and the copy could not be executed ("text file busy").
func copyExecutable(to string) error {
	from, err := os.Executable()
	if err != nil {
		return err
	}
	return exec.Command("cp", from, to).Run()
}

// nothingLeft sees that a folder is empty, and that no process has it in its command line or environment.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		t.Errorf("files are left: %v (%v)", files, err)
	}
	for _, process := range processesOf(t, dir) {
		t.Errorf("a process is left: %s", process)
	}
}

// processesOf finds the processes that have a folder in their command line or environment.
func processesOf(t *testing.T, dir string) (found []string) {
	t.Helper()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		for _, of := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile("/proc/" + p.Name() + "/" + of) // it may be no process, or end now
			if err == nil && strings.Contains(string(text), dir) {
				found = append(found, p.Name()+": "+strings.ReplaceAll(string(text), "\x00", " "))
			}
		}
	}
	return found
}

// waitNoProcess waits until no process has a folder in its command line or environment.
func waitNoProcess(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	for {
		left := processesOf(t, dir)
		if len(left) == 0 {
			return
		}
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("processes go on: %v", left)
		}
	}
}
