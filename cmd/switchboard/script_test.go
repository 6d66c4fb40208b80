// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/switchboard-ipc/switchboard"
)

// TestScripts runs testdata/script with real processes, each script with a runtime folder of its own ($RUN).
//
// Beside testscript's own commands:
//
//	exits CODE switchboard …   runs a command that must end with this exit code
//	appeared PATTERN           waits until a name of the pattern exists
//	gone NAME                  waits until the name does not exist
//	signal SIGNAL INDEX        sends TERM, HUP, INT … to a background command; they count from 0, without those waited for
//	said FILE TEXT             waits until a file that a background command writes has the text
//	sockets DIR                sees that no socket is left in a folder
func TestScripts(t *testing.T) {
	t.Parallel()
	services, err := networkFolder()
	if err != nil {
		t.Fatal(err)
	}
	packages, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	if more := os.Getenv("PYTHONPATH"); more != "" {
		packages += ":" + more
	}
	python := withNumpy()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			dir := filepath.Join(env.WorkDir, "run")
			env.Setenv("RUN", dir)
			env.Setenv(envRuntimeDir, dir)
			env.Setenv("XDG_RUNTIME_DIR", filepath.Join(env.WorkDir, "user"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("NETBIN", services) // a folder with the network service's program
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("LD_LIBRARY_PATH", os.Getenv("LD_LIBRARY_PATH"))
			env.Setenv("PYTHON3", python)
			env.Setenv("PYTHONPATH", packages)
			env.Defer(func() { endBroker(dir) })
			return nil
		},
		Condition: func(name string) (bool, error) {
			return name == "root" && os.Geteuid() == 0 || name == "numpy" && python != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    scriptExits,
			"appeared": scriptAppeared,
			"gone":     scriptGone,
			"signal":   scriptSignal,
			"said":     scriptSaid,
			"sockets":  scriptSockets,
		},
	})
}

// withNumpy finds a Python that has numpy, or returns "".
func withNumpy() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import numpy").Run() == nil {
			return python
		}
	}
	return ""
}

// scriptTimeout bounds every wait of a script.
const scriptTimeout = time.Minute

// endBroker ends the broker of a folder, if one runs, and waits until it has.
func endBroker(dir string) {
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	if status, err := client.Status(ctx); err == nil {
		client.Close()
		_ = syscall.Kill(status.PID, syscall.SIGTERM)
		waitGone(ctx, status.PID)
	}
}

// waitGone waits until a process that is no child of ours has ended. Its parent may be slow to take note of that.
func waitGone(ctx context.Context, pid int) {
	for ctx.Err() == nil {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		pause(ctx, 5*time.Millisecond)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command [args...]")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with exit code %d, not %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// scriptWatch watches a pattern until an event is what is waited for.
func scriptWatch(ts *testscript.TestScript, pattern string, done func(switchboard.Event) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	client := switchboard.New(switchboard.Config{RuntimeDir: ts.Getenv(envRuntimeDir), NoAutostart: true})
	defer client.Close()
	var watcher *switchboard.Watcher
	for { // a broker may be about to start
		var err error
		if watcher, err = client.Watch(ctx, pattern); err == nil {
			break
		}
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			ts.Fatalf("cannot watch %q: %v", pattern, err)
		}
	}
	defer watcher.Close()
	for {
		event, err := watcher.Next(ctx)
		if err != nil {
			ts.Fatalf("watching %q: %v", pattern, err)
		}
		if done(event) {
			return
		}
	}
}

func scriptAppeared(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appeared PATTERN")
	}
	scriptWatch(ts, args[0], func(e switchboard.Event) bool { return e.Kind == switchboard.Appeared })
}

func scriptGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone NAME")
	}
	exists := false
	scriptWatch(ts, args[0], func(e switchboard.Event) bool {
		switch e.Kind {
		case switchboard.Appeared:
			exists = true
		case switchboard.Gone:
			return true
		}
		return e.Kind == switchboard.Synced && !exists
	})
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT,
		"KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal SIGNAL INDEX")
	}
	running := ts.BackgroundCmds()
	index, err := strconv.Atoi(args[1])
	if err != nil || index < 0 || index >= len(running) {
		ts.Fatalf("there is no background command %s of %d", args[1], len(running))
	}
	ts.Check(running[index].Process.Signal(signals[args[0]]))
}

func scriptSaid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: said FILE TEXT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	for {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(text), args[1]) {
			return
		}
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			ts.Fatalf("%s never had %q: %v\n%s", args[0], args[1], err, text)
		}
	}
}

func scriptSockets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sockets DIR")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type() == os.ModeSocket {
			ts.Fatalf("a socket was left behind: %s", path)
		}
		return err
	}))
}
