// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDisabled(t *testing.T) {
	if off, err := DisabledByEnv(); off || err != nil {
		t.Errorf("not set: %v, %v", off, err)
	}
	t.Setenv("RUNNING_PROCESS_DISABLE", "1")
	if off, err := DisabledByEnv(); !off || err != nil {
		t.Errorf("1: %v, %v", off, err)
	}
	if _, _, err := Dial(t.Context(), Request{}); !errors.Is(err, ErrDisabled) {
		t.Error(err)
	}
	for _, text := range []string{"", "0", "true"} {
		t.Setenv("RUNNING_PROCESS_DISABLE", text)
		if _, err := DisabledByEnv(); err == nil {
			t.Errorf("%q is no error", text)
		}
		if _, _, err := Dial(t.Context(), Request{}); err == nil || errors.Is(err, ErrDisabled) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDefaultBroker(t *testing.T) {
	for _, dir := range []string{"/run/user/1000", "", "relative", "/run/" + strings.Repeat("long/", 30)} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		path, err := DefaultBroker()
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("/tmp/running-process-%d/broker/rpb-v1-", os.Getuid())
		if filepath.IsAbs(dir) {
			want = filepath.Join(dir, "running-process/broker") + "/rpb-v1-"
		}
		if !strings.HasPrefix(path, want) || !strings.HasSuffix(path, "-shared.sock") {
			t.Errorf("%q: %s", dir, path)
		}
	}
}

// TestDialDefault finds a broker at the address that all clients know, also where that is too long for a socket's.
func TestDialDefault(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	runtimeDir := filepath.Join(p.folder, strings.Repeat("x", 120))
	t.Setenv("XDG_RUNTIME_DIR", runtimeDir)
	path, err := DefaultBroker()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	b := granting(p, 1)
	b.path = filepath.Join(p.folder, "short")
	b.serve(t)
	if err := os.Rename(b.path, path); err != nil {
		t.Fatal(err)
	}
	b.path = ""
	c, _, err := b.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, c, "ping")
}

// python runs a command of the client that shares no code with this project.
func python(t *testing.T, args ...string) (map[string]any, string) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"-B", filepath.Join("..", "cmd", "switchboard", "testdata", "running-process", "client.py")}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	var result map[string]any
	_ = json.Unmarshal(out, &result)
	return result, strings.TrimSpace(string(out))
}

// TestForeignClient has another implementation ask a backend of ours, probe it, and be handed over to it.
func TestForeignClient(t *testing.T) {
	p := newPaths(t)
	cmd := p.start(t, listenerAt(t, p.backend))
	if got, _ := python(t, "backend", p.backend); got["pid"] != float64(cmd.Process.Pid) {
		t.Errorf("backend: %v", got)
	}
	want, _ := p.expected(t, cmd.Process.Pid)
	if _, text := python(t, "probe", p.backend); !strings.Contains(text, want.ExePath) || !strings.Contains(text, fmt.Sprintf("%x", want.ExeHash)) {
		t.Errorf("probe: %s", text)
	}
	dialTest(t, p.handoff).Close()
	b := granting(p, 1).handing(t, p, 1)
	b.serve(t)
	// Its pid is not this one, which the broker above would find out.
	got, text := python(t, "hello", b.path, "builder", "1.2.0", "--adopt", "--pid", "0")
	if got["way"] != "handoff" || !strings.Contains(text, "handed=true") {
		t.Errorf("hello: %s", text)
	}
	if got, text = python(t, "hello", b.path, "builder", "1.2.0", "--capabilities", "0", "--pid", "0"); got["way"] != "reconnect" || !strings.Contains(text, "handed=false") {
		t.Errorf("hello: %s", text)
	}
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	path, err := DefaultBroker()
	if _, text := python(t, "address"); err != nil || text != path {
		t.Errorf("address: %s, %s (%v)", text, path, err)
	}
}
