// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/switchboard-ipc/switchboard"
)

// step is one row of the tour. Run returns what there is to say, or why it failed.
type step struct {
	name string
	run  func(ctx context.Context, t *tour) (detail string, err error)
}

// demoSteps is the tour, in order. Each step may use the names that earlier ones gave.
func demoSteps() []step {
	return []step{
		{"broker", stepBroker},
		{"go", stepGo},
		{"python", stepPython},
		{"shell", stepShell},
		{"64 callers", stepTogether},
		{"kill -9", stepDeath},
		{"launch", stepLaunch},
		{"one launch", stepOnce},
		{"failure", stepFailure},
		{"versions", stepVersions},
		{"daemon", stepDaemon},
		{"mach", stepPort},
		{"network", stepNetwork},
		{"frames", stepFrames},
		{"look-ups", stepLookUps},
		{"dial", stepDial},
		{"shutdown", stepShutdown},
	}
}

// The names of the tour.
const (
	demoGo     = "com.example.demo.go"
	demoPython = "com.example.demo.python"
	demoShell  = "com.example.demo.shell"
	demoDoomed = "com.example.demo.doomed"

	demoCalled   = "com.example.demo.called"
	demoOnce     = "com.example.demo.once"
	demoBroken   = "com.example.demo.broken"
	demoVersions = "com.example.demo.versions"
)

// plainSocket is where the Go service of the tour can be reached without a broker, to compare.
func (t *tour) plainSocket() string { return filepath.Join(t.dir, "plain.sock") }

// stepBroker starts the tour's own broker.
func stepBroker(ctx context.Context, t *tour) (string, error) {
	if err := os.Mkdir(t.servicesDir(), 0o700); err != nil {
		return "", err
	}
	if err := t.startBroker(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("pid %d is ready: no root, no configuration, no other daemon", t.broker.pid()), nil
}

// stepGo gives a name from a Go program, calls it from this one, and checks who answered.
func stepGo(ctx context.Context, t *tour) (string, error) {
	p, err := t.owner(ctx, demoGo, t.command(t.self, "_demo", "owner", demoGo, t.plainSocket()))
	if err != nil {
		return "", err
	}
	c, err := t.client.Dial(ctx, demoGo)
	if err != nil {
		return "", err
	}
	defer c.Close()
	who, err := switchboard.Peer(c)
	if err != nil {
		return "", err
	}
	defer who.Close()
	if who.PID != p.pid() {
		return "", fmt.Errorf("the kernel says that pid %d answered, and the owner is %d", who.PID, p.pid())
	}
	answer, err := ask(c, "hello")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q → %q from pid %d, uid %d: the kernel says so", "hello", answer, who.PID, who.UID), nil
}

// ask sends a word to a service of the tour and returns its answer, which is as long.
func ask(c io.ReadWriter, word string) (string, error) {
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	answer := make([]byte, len(word))
	if _, err := io.ReadFull(c, answer); err != nil {
		return "", fmt.Errorf("cannot read the answer: %w", err)
	}
	if string(answer) != strings.ToUpper(word) {
		return "", fmt.Errorf("%q was answered with %q", word, answer)
	}
	return string(answer), nil
}

// pythonService answers its caller on stdin and stdout.
const pythonService = `import sys
for line in sys.stdin:
    print("python heard " + line.strip(), flush=True)
`

// pythonCaller calls a name with nothing but a socket. It runs in the broker's folder, as paths may be too long for a
// socket address.
const pythonCaller = `import socket, sys
c = socket.socket(socket.AF_UNIX)
c.connect("broker.sock")
c.sendall(b"DIAL " + sys.argv[1].encode() + b"\nhello\n")
c.shutdown(socket.SHUT_WR)
verdict, _, answer = b"".join(iter(lambda: c.recv(4096), b"")).partition(b"\n")
if verdict != b"OK":
    sys.exit(verdict.decode())
print(answer.decode().strip())
`

// stepPython gives a name to a Python program and calls it from another, without a library.
func stepPython(ctx context.Context, t *tour) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", skipped("there is no python3 here")
	}
	if _, err := t.owner(ctx, demoPython, t.command(t.self, "listen", demoPython, "--", python, "-c", pythonService)); err != nil {
		return "", err
	}
	caller := t.command(python, "-c", pythonCaller, demoPython)
	caller.Dir = t.runtimeDir()
	answer, err := t.output(ctx, caller)
	if err != nil {
		return "", err
	}
	if answer != "python heard hello" {
		return "", fmt.Errorf("the answer was %q", answer)
	}
	return fmt.Sprintf("%q: no library, one line of text on a socket", answer), nil
}

// stepShell does both with the commands that a user would type.
func stepShell(ctx context.Context, t *tour) (string, error) {
	if _, err := exec.LookPath("sh"); err != nil {
		return "", skipped("there is no sh here")
	}
	service := t.command("sh", "-c", `exec "$SWITCHBOARD" listen "$0" -- tr a-z A-Z`, demoShell)
	if _, err := t.owner(ctx, demoShell, service); err != nil {
		return "", err
	}
	answer, err := t.output(ctx, t.command("sh", "-c", `echo hello | "$SWITCHBOARD" dial "$0"`, demoShell))
	if err != nil {
		return "", err
	}
	if answer != "HELLO" {
		return "", fmt.Errorf("the answer was %q", answer)
	}
	return fmt.Sprintf("echo hello | switchboard dial %s → %s", demoShell, answer), nil
}

// stepShutdown ends the broker politely and sees that it leaves no socket, and nothing of what it launched.
func stepShutdown(ctx context.Context, t *tour) (string, error) {
	if err := t.client.Shutdown(ctx); err != nil {
		return "", err
	}
	if t.broker == nil {
		return "", errors.New("there is no broker")
	}
	if err := t.broker.wait(ctx); err != nil {
		return "", err
	}
	if err := t.noBackends(); err != nil {
		return "", err
	}
	left, err := filepath.Glob(filepath.Join(t.runtimeDir(), "*.sock"))
	if err != nil || len(left) > 0 {
		return "", fmt.Errorf("sockets were left behind: %v", errors.Join(err, errors.New(strings.Join(left, ", "))))
	}
	if _, err := os.Stat(t.runtimeDir()); err != nil {
		return "", err
	}
	return fmt.Sprintf("the broker said bye to all, ended the %d that it had launched, and left no socket", len(t.backends)), nil
}
