// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestRunningProcessEnvironment: a backend finds the environment of section 8, nothing of the broker's besides, and no descriptors but its own.
func TestRunningProcessEnvironment(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt", func(d *envelope.ServiceDefinition) {
		d.Isolation, d.ExplicitInstance = envelope.ExplicitInstance, "ci"
	})
	o.define(t, "plain", "adopt", func(d *envelope.ServiceDefinition) { d.Isolation = envelope.PrivateBroker })
	o.env = []string{"SECRET=1", "LANG=C.UTF-8", "LC_TIME=C", "TZ=UTC"}
	o.serve(t)
	socket := o.socket(t)
	got := o.client(t, "hello", socket, "tool", goodVersion, "--traceparent", "00-4bf92f3577b34da6-00f067aa0ba902b7-01", "--tracestate", "vendor=value", "--request", "env")
	env := strings.Split(strings.TrimSpace(got.Backend.Reply), "\n")
	slices.Sort(env)
	for _, want := range []string{
		"RUNNING_PROCESS_BROKER_V1_SERVICE_NAME=tool", "RUNNING_PROCESS_BROKER_V1_SERVICE_VERSION=" + goodVersion,
		"RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE=" + got.BackendPipe, "RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE=explicit:ci",
		"RUNNING_PROCESS_BROKER_V1_INSTANCE=explicit:ci", "RUNNING_PROCESS_IS_DAEMON=1", "RUNNING_PROCESS_BROKER_LISTENER_FD=3",
		"RUNNING_PROCESS_BROKER_V1_TRACEPARENT=00-4bf92f3577b34da6-00f067aa0ba902b7-01", "RUNNING_PROCESS_BROKER_V1_TRACESTATE=vendor=value",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR=" + o.xdg, "LANG=C.UTF-8", "LC_TIME=C", "TZ=UTC",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	for _, name := range []string{"USER", "LOGNAME", "HOME", "SHELL"} {
		if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") && len(kv) > len(name)+1 }) {
			t.Errorf("the environment lacks %s", name)
		}
	}
	for _, kv := range env {
		if strings.HasPrefix(kv, "SECRET=") || strings.HasPrefix(kv, "RUNNING_PROCESS_SERVICE_DEF_DIR=") {
			t.Errorf("the environment has %s", kv)
		}
	}
	if t.Failed() {
		t.Logf("the environment:\n%s", strings.Join(env, "\n"))
	}

	pipe := o.hello(t, "plain", goodVersion).BackendPipe
	text, err := askAt(pipe, "env")
	if err != nil || !strings.Contains(text, "RUNNING_PROCESS_BROKER_V1_INSTANCE=private:plain\n") || strings.Contains(text, "_TRACE") {
		t.Errorf("the environment of a private service is %v\n%s", err, text)
	}
	fds, err := askAt(pipe, "fds")
	if err != nil {
		t.Fatal(err)
	}
	// Standard streams, the listeners for clients and handoffs, and the connections: this one, and those of the broker.
	for line := range strings.Lines(fds) {
		number, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case number == "0" && target == "/dev/null", number == "1", number == "2", strings.HasPrefix(target, "socket:["):
		default:
			t.Errorf("the backend has descriptor %s: %s", number, target)
		}
	}
	if n := strings.Count(fds, "socket:["); n > 6 {
		t.Errorf("the backend has %d sockets:\n%s", n, fds)
	}
}

// TestRunningProcessLies: who answers its probe as somebody else is refused, and ends. What it started ends with it, which the
// original's goes on.
func TestRunningProcessLies(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	lies := []string{"pid", "hash", "nonce", "id", "kind", "path", "boot", "endpoint", "namespace", "algorithm", "size", "missing", "short"}
	for _, lie := range lies {
		o.define(t, lie, "helper-wrong-"+lie)
	}
	o.define(t, "good", "helper-plain")
	o.serve(t)
	o.socket(t)
	for _, lie := range lies {
		t.Run(lie, func(t *testing.T) {
			r := o.refused(t, lie, goodVersion)
			if r.Code != envelope.CodeBackendSpawnFailed || !strings.HasPrefix(r.Reason, "backend spawn failed: ") || r.RetryAfterMS != 1000 {
				t.Errorf("refused with %+v", r)
			}
			t.Log(r.Reason)
		})
	}
	o.until(t, "liars and what they started to end", func() bool { return len(o.children(t)) == 0 })
	if identity, _ := ping(t, o.hello(t, "good", goodVersion).BackendPipe); number(t, identity, "helper") == 0 {
		t.Errorf("the backend says %q", identity)
	}
}

// TestRunningProcessBudget: three failed starts of a version use its budget up, others are not concerned.
func TestRunningProcessBudget(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "broken", "crash-starts-100")
	o.serve(t)
	for try := range 3 {
		r := o.refused(t, "broken", goodVersion)
		if r.Code != envelope.CodeBackendSpawnFailed || !strings.HasPrefix(r.Reason, "backend spawn failed: ") || r.RetryAfterMS < 1 {
			t.Errorf("try %d: refused with %+v", try, r)
		}
		if try == 0 { // the reason is told again without a try
			again := o.refused(t, "broken", goodVersion)
			if again.Code != envelope.CodeBackendSpawnFailed || again.RetryAfterMS < 1 || again.RetryAfterMS > 1000 {
				t.Errorf("at once after a failure: refused with %+v", again)
			}
		}
		if try < 2 {
			time.Sleep(1050 * time.Millisecond)
		}
	}
	time.Sleep(1050 * time.Millisecond)
	r := o.refused(t, "broken", goodVersion)
	if r.Code != envelope.CodeRateLimited || r.Reason != "backend spawn budget exhausted" || r.RetryAfterMS < 1 || r.RetryAfterMS > 30_000 {
		t.Errorf("refused with %+v", r)
	}
	starts, err := os.ReadFile(filepath.Join(o.programs(), "backend-crash-starts-100.starts"))
	if err != nil || len(starts) != 3 {
		t.Errorf("it was started %d times, %v", len(starts), err)
	}
	if r := o.refused(t, "broken", "1.2.4"); r.Code != envelope.CodeBackendSpawnFailed {
		t.Errorf("another version is refused with %+v", r)
	}
	o.noZombies(t)
}

// TestRunningProcessCrash: what was ready and crashed is launched again after 250 ms, and after a second crash not before the window
// is over. The original's success makes it forget.
func TestRunningProcessCrash(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "frail", "adopt")
	o.serve(t)
	crash := func() (asked time.Time, reply envelope.HelloReply) {
		pipe := o.hello(t, "frail", goodVersion).BackendPipe
		asked = time.Now()
		_, _ = askAt(pipe, "exit 9")
		return asked, o.after(t, pipe, "frail")
	}
	began, reply := crash()
	if r := reply.Refused; r == nil {
		if time.Since(began) < 200*time.Millisecond {
			t.Errorf("at once after the crash: %s", outcome(reply, nil))
		}
	} else if r.Code != envelope.CodeBackendSpawnFailed || r.RetryAfterMS < 1 || r.RetryAfterMS > 250 {
		t.Errorf("at once after the crash: %s", outcome(reply, nil))
	}
	time.Sleep(300 * time.Millisecond)
	_, reply = crash()
	if reply.Refused == nil {
		t.Fatalf("at once after the second crash: %s", outcome(reply, nil))
	}
	time.Sleep(300 * time.Millisecond)
	r := o.refused(t, "frail", goodVersion)
	if r.RetryAfterMS < 1000 || r.RetryAfterMS > 30_000 {
		t.Errorf("after the second crash: refused with %+v", r)
	}
	o.noZombies(t)
}

// TestRunningProcessNoProgram: what cannot be started says why.
func TestRunningProcessNoProgram(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "gone", "adopt", func(d *envelope.ServiceDefinition) { d.BinaryPath = filepath.Join(o.home, "nothing") })
	o.define(t, "outside", "adopt", func(d *envelope.ServiceDefinition) { d.PerVersionBinaryDir = o.defs })
	o.define(t, "inside", "adopt", func(d *envelope.ServiceDefinition) { d.PerVersionBinaryDir = o.programs() })
	o.serve(t)
	for service, part := range map[string]string{"gone": "nothing", "outside": "not below"} {
		r := o.refused(t, service, goodVersion)
		if r.Code != envelope.CodeBackendSpawnFailed || !strings.HasPrefix(r.Reason, "backend spawn failed: ") || !strings.Contains(r.Reason, part) {
			t.Errorf("%s: refused with %+v", service, r)
		}
	}
	if got := fmt.Sprint(o.hello(t, "inside", goodVersion).DaemonVersion); got != goodVersion {
		t.Errorf("daemon_version %q", got)
	}
}
