// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	originalPatience = 60 * time.Second // bounds every wait
	goodVersion      = "1.2.3"
)

// original is a user with definitions, programs and a broker for clients of running-process. Its paths are short: the protocol allows
// 19 bytes of XDG_RUNTIME_DIR.
type original struct {
	home    string
	runtime string   // the broker's own folder
	xdg     string   // XDG_RUNTIME_DIR
	defs    string   // RUNNING_PROCESS_SERVICE_DEF_DIR
	log     string   // the broker's
	env     []string // more for the broker
	limit   string   // a shell command in front of the broker, for its limits
	flags   []string // of serve
	address string   // "": the shared one
	shared  string   // where the first broker had it
	broker  *exec.Cmd
}

// newOriginal makes the folders; nothing runs yet. It skips the test where the peers cannot be built or run.
func newOriginal(t *testing.T) *original {
	t.Helper()
	peerTool(t, "python3")
	home, err := os.MkdirTemp("", "rp")
	if err != nil {
		t.Fatal(err)
	}
	o := &original{home: home, runtime: filepath.Join(home, "r"), xdg: filepath.Join(home, "x"), defs: filepath.Join(home, "d"), log: filepath.Join(home, "log")}
	t.Cleanup(func() {
		o.endLeft(t)
		os.RemoveAll(home)
	})
	for _, dir := range []string{o.xdg, o.defs, o.programs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := os.ReadFile(o.log)
			t.Logf("the broker's log:\n%s", said[max(0, len(said)-16<<10):])
		}
	})
	return o
}

func (o *original) programs() string { return filepath.Join(o.home, "b") }

// sharedBackend is backend.c, compiled once for the tests that run at the same time.
var sharedBackend struct {
	sync.Mutex
	users int
	dir   string
}

// program returns a backend that behaves by a mode (mode.h): it finds that in its name.
func (o *original) program(t *testing.T, mode string) string {
	t.Helper()
	s := &sharedBackend
	s.Lock()
	defer s.Unlock()
	path := filepath.Join(o.programs(), "backend-"+mode)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if s.users == 0 {
		dir, err := os.MkdirTemp("", "rpc")
		if err != nil {
			t.Fatal(err)
		}
		s.dir = dir
		cc := peerTool(t, "cc")
		runPeer(t, cc, "-std=c11", "-O2", "-pthread", "backend.c", "-o", filepath.Join(dir, "backend"))
	}
	s.users++
	t.Cleanup(func() {
		s.Lock()
		defer s.Unlock()
		if s.users--; s.users == 0 {
			os.RemoveAll(s.dir)
		}
	})
	// A link: a copy could still be open for writing in a process that is being forked, and be "text file busy".
	if err := os.Link(filepath.Join(s.dir, "backend"), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// define writes the definition of a service whose program behaves by a mode.
func (o *original) define(t *testing.T, service, mode string, change ...func(*envelope.ServiceDefinition)) {
	t.Helper()
	d := envelope.ServiceDefinition{ServiceName: service, BinaryPath: o.program(t, mode), Isolation: envelope.SharedBroker}
	for _, f := range change {
		f(&d)
	}
	o.write(t, service+".servicedef", d.Append(nil))
}

func (o *original) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.defs, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// command makes a process that knows only this user's folders.
func (o *original) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*originalPatience)
	t.Cleanup(cancel)
	return o.commandContext(ctx, program, args...)
}

func (o *original) commandContext(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "RUNNING_PROCESS_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, envRuntimeDir+"="+o.runtime, "XDG_RUNTIME_DIR="+o.xdg, "RUNNING_PROCESS_SERVICE_DEF_DIR="+o.defs, "HOME="+o.home,
		"XDG_CONFIG_HOME="+filepath.Join(o.home, ".config"), switchboard.EnvAutostart+"=0", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Env = append(cmd.Env, o.env...)
	cmd.WaitDelay = time.Second
	return cmd
}

// serve starts the broker and returns when it serves. It ends with the test, and what it launched with it.
func (o *original) serve(t *testing.T) {
	t.Helper()
	line := "exec switchboard serve \"$@\""
	if o.limit != "" {
		line = o.limit + " && " + line
	}
	// Without a deadline: parallel subtests may wait long for their turn.
	cmd := o.commandContext(context.Background(), "sh", append([]string{"-c", line, "sh"}, o.flags...)...)
	log, err := os.OpenFile(o.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o.broker = cmd
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			o.end(t, cmd, syscall.SIGTERM)
		}
	})
	ready := make([]byte, 256)
	if n, err := out.Read(ready); !bytes.Contains(ready[:n], []byte("switchboard: ready")) {
		t.Fatalf("serve said %q, %v", ready[:n], err)
	}
	if o.shared == "" { // now, for parallel subtests
		if found, _ := filepath.Glob(filepath.Join(o.xdg, "running-process", "broker", "rpb-v1-*-shared.sock")); len(found) == 1 {
			o.shared = found[0]
		}
	}
}

// end sends the broker a signal and waits for its end.
func (o *original) end(t *testing.T, cmd *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	_ = cmd.Process.Signal(signal)
	kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !kill.Stop() {
		t.Error("the broker did not end within 30 s")
	} else if signal == syscall.SIGTERM && err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}

// socket is where clients find the broker.
func (o *original) socket(t *testing.T) string {
	t.Helper()
	switch {
	case o.address != "":
		return o.address
	case o.shared == "":
		t.Fatal("the broker had no shared address when it was ready")
	}
	return o.shared
}

// foreign is what the foreign client prints.
type foreign struct {
	Outcome     string
	Reason      string
	Error       string
	Code        uint32
	Way         string
	Then        string
	BackendPipe string `json:"backend_pipe"`
	NotAdopted  string `json:"not_adopted"`
	Closed      string
	ReplyHex    string `json:"reply_hex"`
	Backend     struct {
		Reply   string
		PID     int
		Version string
	}
	ExitCode int `json:"exit_code"`
	Body     string

	Outcomes, Errors, Ways map[string]int
	Pipes                  map[string]int `json:"backend_pipes"`
	PIDs                   map[string]int `json:"backend_pids"`
	ConnectionIDs          int            `json:"connection_ids"`
	Answered               int
}

// client runs the foreign client, which may fail.
func (o *original) client(t *testing.T, args ...string) (all foreign) {
	t.Helper()
	cmd := o.command(t, peerTool(t, "python3"), append([]string{filepath.Join(peersFolder, "client.py")}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if decodeErr := json.Unmarshal(out, &all); decodeErr != nil {
		t.Fatalf("client.py %q: %v (%v)\n%s%s", args, err, decodeErr, out, &stderr)
	}
	return all
}

// run runs a switchboard command to its end and returns what it printed.
func (o *original) run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := o.command(t, "switchboard", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("switchboard %s: %w\n%s", strings.Join(args, " "), err, &said)
	}
	return out.String(), err
}

// until waits for a condition.
func (o *original) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(originalPatience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}

// children are the processes below the broker, or that were.
func (o *original) children(t *testing.T) map[int]stat {
	t.Helper()
	return (&desk{broker: o.broker}).launched(t)
}

// noZombies waits until nothing below the broker has ended and was not waited for.
func (o *original) noZombies(t *testing.T) {
	t.Helper()
	o.until(t, "zombies to be buried", func() bool {
		for _, s := range o.children(t) {
			if s.state == "Z" {
				return false
			}
		}
		return true
	})
}

func isRunning(pid int) bool {
	s, err := readStat(pid)
	return !errors.Is(err, fs.ErrNotExist) && err == nil && s.state != "Z"
}
