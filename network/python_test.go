// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
)

// roleVariable makes this program a broker or a service, for tests that need these as processes of their own.
const roleVariable = "SWITCHBOARD_NETWORK_TEST_ROLE"

// descriptors is the limit that such a process gets.
const descriptors = 1024

// playRole is the process' whole life if it has a role. Its arguments are the broker's folder, and that of networks. It says "ready".
func playRole() {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: descriptors, Max: descriptors})
	dir, ready := os.Args[1], func() { fmt.Println("ready") }
	switch role {
	case "broker":
		var b *broker.Broker
		if b, err = broker.New(broker.Config{RuntimeDir: dir, Ready: ready}); err == nil {
			err = b.Serve(ctx)
		}
	case "service":
		var s *network.Service
		s, err = network.New(network.Config{
			Mach: mach.Options{RuntimeDir: dir, NoAutostart: true}, Folders: os.Args[2:], Ready: ready,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		if err == nil {
			err = s.Serve(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startRole starts a role as a user, and waits until it is ready.
func startRole(t *testing.T, role string, uid int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := asUser(uid, args[0], args[1:]...)
	cmd.Env = []string{roleVariable + "=" + role, "PATH=/usr/bin:/bin", "HOME=/"}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // the service was killed by then
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s said %q, %v", role, line, err)
	}
	return cmd
}

// asUser makes a command of another user, unless it is this one.
func asUser(uid int, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	return cmd
}

// TestPython has a client in Python, which shares no code with this, walk through the protocol.
func TestPython(t *testing.T) {
	t.Parallel()
	users := map[string]int{"own user": os.Geteuid()}
	if os.Geteuid() == 0 {
		users["ordinary user"] = 65534
	} else {
		t.Log("NOT TESTED as user 65534: this test does not run as root")
	}
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPython(t, pythonFor(t, uid), uid)
		})
	}
}

// pythonFor returns an interpreter that a user can run.
func pythonFor(t *testing.T, uid int) string {
	t.Helper()
	var whys []error
	for _, name := range []string{"python3", "/usr/bin/python3", "/usr/local/bin/python3"} {
		path, err := exec.LookPath(name)
		if err == nil {
			if err = asUser(uid, path, "-c", "pass").Run(); err == nil {
				return path
			}
		}
		whys = append(whys, err)
	}
	t.Skip("NOT TESTED, there is no python3 that this user can run:", whys)
	return ""
}

func testPython(t *testing.T, python string, uid int) {
	place, err := os.MkdirTemp("", "switchboard-python")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(place) })
	give := func(path string) {
		t.Helper()
		if err := os.Chown(path, uid, uid); err != nil && uid != os.Geteuid() {
			t.Fatal(err)
		}
	}
	folder := func(name string) string {
		t.Helper()
		path := filepath.Join(place, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		give(path)
		return path
	}
	give(place)
	run, networks, programs := folder("run"), folder("networks"), folder("programs")
	files := map[string]string{
		"one":    "mode = \"shared\"\nsubnet = \"10.98.0.0\"\nmask = \"255.255.255.0\"\n",
		"two":    "mode = \"shared\"\nsubnet = \"10.98.0.0\"\nmask = \"255.255.0.0\"\n",
		"others": fmt.Sprintf("mode = \"shared\"\nallow_uid = [%d]\n", uid+1),
	}
	for i := range 9 {
		files[fmt.Sprint("n", i)] = "mode = \"host\"\n"
	}
	for name, text := range files {
		path := filepath.Join(networks, name+".toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		give(path)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(programs, "program")
	for from, to := range map[string]string{self: program, "testdata/xpc.py": programs, "testdata/exercise.py": programs} {
		// By another process: one that other tests start meanwhile would hold our descriptor for a moment, and the copy could not be
		// executed ("text file busy").
		if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	startRole(t, "broker", uid, program, run)
	service := startRole(t, "service", uid, program, run, networks)
	cmd := asUser(uid, python, "-B", filepath.Join(programs, "exercise.py"), filepath.Join(run, mach.Socket), strconv.Itoa(service.Process.Pid))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	lines := strings.Fields(string(out))
	if n, err := strconv.Atoi(lines[len(lines)-1]); err != nil || n < 80 {
		t.Errorf("only %q things were looked at", out)
	}
}
