// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestRunningProcessCommands: the commands act on a backend of the original's as on any other.
func TestRunningProcessCommands(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	if err := os.WriteFile(o.program(t, "adopt")+".log", nil, 0o600); err != nil { // it tells there what it does
		t.Fatal(err)
	}
	o.serve(t)
	must := func(args ...string) string {
		t.Helper()
		out, err := o.run(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}

	// A call by name launches the version that is asked for, and is the same backend's as a Hello's.
	request := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: testLane, Payload: []byte("ping"), RequestID: 1}.AppendFramed(nil)
	dial := o.command(t, "switchboard", "dial", "tool", "--version", goodVersion)
	dial.Stdin = strings.NewReader(string(request))
	out, err := dial.Output()
	if err != nil || len(out) <= envelope.HeaderSize {
		t.Fatalf("dial printed %q, %v", out, err)
	}
	f, err := envelope.ParseFrame(out[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	pid := number(t, string(f.Payload), "pid")
	if identity, same := ping(t, o.hello(t, "tool", goodVersion).BackendPipe); same != pid {
		t.Errorf("dial called process %d, a Hello %s", pid, identity)
	}

	if ls := must("ls"); !strings.Contains(ls, "tool") || !strings.Contains(ls, fmt.Sprint(pid)) || !strings.Contains(ls, goodVersion) {
		t.Errorf("ls prints\n%s", ls)
	}
	logs := must("logs", "tool")
	if !strings.Contains(logs, "listening adopted") {
		t.Errorf("logs prints %q", logs)
	}

	if said := must("restart", "tool"); said != "restarted tool: 1\n" {
		t.Errorf("restart prints %q", said)
	}
	_, second := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
	if second == pid {
		t.Errorf("after restart, process %d answers still", pid)
	}
	o.until(t, "the old process to end", func() bool { return !isRunning(pid) })

	if said := must("stop", "tool"); said != "stopped tool: 1\n" {
		t.Errorf("stop prints %q", said)
	}
	if isRunning(second) {
		t.Errorf("stop left process %d", second)
	}
	if _, third := ping(t, o.hello(t, "tool", goodVersion).BackendPipe); third == second {
		t.Error("what was stopped answers")
	}
}

// toml writes one of our definitions of a name, whose program is backend.c, at a path of its own.
func (o *original) toml(t *testing.T, name, version string) {
	t.Helper()
	dir := filepath.Join(o.home, ".config", "switchboard", "services")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("name = %q\nversion = %q\naccept = \"path\"\nexec = [\"/bin/sh\", \"-c\", %q]\n", name, version,
		`RUNNING_PROCESS_BROKER_V1_SERVICE_NAME=toml RUNNING_PROCESS_BROKER_V1_SERVICE_VERSION=`+version+
			` RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE=$SWITCHBOARD_SOCKET exec `+o.program(t, "bind"))
	if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRunningProcessOwnDefinitions: a Hello is answered by a definition of ours with the very version; one of the original's goes before.
func TestRunningProcessOwnDefinitions(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.toml(t, "ours", goodVersion)
	o.toml(t, "both", goodVersion)
	o.define(t, "both", "adopt")
	o.serve(t)
	identity, _ := ping(t, o.hello(t, "ours", goodVersion).BackendPipe)
	if !strings.Contains(identity, "service=toml ") || !strings.Contains(identity, "probes=0 ") {
		t.Errorf("the backend says %q", identity)
	}
	for _, version := range []string{"1.2.4", "1.2.2", "1.2.3-rc.1"} {
		if r := o.refused(t, "ours", version); r.Code != envelope.CodeVersionBlocked || r.Reason != "wanted_version is not in version_allow_list" {
			t.Errorf("version %s is refused with %+v", version, r)
		}
	}
	if identity, _ := ping(t, o.hello(t, "both", goodVersion).BackendPipe); !strings.Contains(identity, "service=both ") {
		t.Errorf("where both define it, the backend says %q", identity)
	}
	if got := o.client(t, "hello", o.socket(t), "ours", goodVersion, "--adopt"); got.Way != "reconnect" || got.Backend.PID == 0 {
		t.Errorf("the foreign client: %+v", got)
	}
}

// TestRunningProcessOff: nobody listens for the original's clients, and frames at the broker's own socket work all the same.
func TestRunningProcessOff(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.flags = []string{"--running-process", "off"}
	o.serve(t)
	if found, _ := filepath.Glob(filepath.Join(o.xdg, "running-process", "broker", "*shared*")); len(found) > 0 {
		t.Errorf("there is %q", found)
	}
	o.address = filepath.Join(o.runtime, "broker.sock")
	if got := o.client(t, "hello", o.address, "tool", goodVersion); got.Outcome != "negotiated" || got.Backend.PID == 0 {
		t.Errorf("at the broker's own socket: %+v", got)
	}
}

// TestRunningProcessAddresses: the addresses of private and explicit instances are served by one broker with one set of backends.
func TestRunningProcessAddresses(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt", func(d *envelope.ServiceDefinition) { d.Isolation = envelope.PrivateBroker })
	var addresses []string
	for _, flags := range [][]string{{"--service", "tool"}, {"--instance", "ci"}, {}} {
		out, err := o.command(t, peerTool(t, "python3"), append([]string{filepath.Join(peersFolder, "client.py"), "address", "--runtime-dir", o.xdg}, flags...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, strings.TrimSpace(string(out)))
	}
	o.flags = []string{"--running-process", addresses[0], "--running-process", addresses[1], "--running-process", "auto"}
	o.serve(t)
	pids := make(map[int]bool)
	for _, address := range addresses {
		got := o.client(t, "hello", address, "tool", goodVersion)
		if got.Outcome != "negotiated" || got.Backend.PID == 0 {
			t.Errorf("at %s: %+v", address, got)
		}
		pids[got.Backend.PID] = true
		if st, err := os.Lstat(address); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", address, st.Mode(), err)
		}
	}
	if len(pids) != 1 {
		t.Errorf("backends %v, want one", pids)
	}
	for _, dir := range []string{filepath.Dir(addresses[0]), filepath.Dir(filepath.Dir(addresses[0]))} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, %v", dir, st.Mode(), err)
		}
	}
}

// TestRunningProcessLongFolder: with a long XDG_RUNTIME_DIR any client can connect to the backends. The original launches none beyond
// 19 bytes.
func TestRunningProcessLongFolder(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 44, 64, 150} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			o := newOriginal(t)
			o.xdg += "/" + strings.Repeat("x", max(1, size-len(o.xdg)-1))
			if err := os.MkdirAll(o.xdg, 0o700); err != nil {
				t.Fatal(err)
			}
			o.define(t, "adopts", "adopt")
			o.define(t, "binds", "strict")
			// A plain client cannot connect to the shared address beyond 107 bytes of that, and asks at another one.
			o.address = filepath.Join(o.home, "a", "s")
			o.flags = []string{"--running-process", "auto", "--running-process", o.address}
			o.serve(t)
			if size <= 44 {
				o.address = ""
			}
			for _, service := range []string{"adopts", "binds"} {
				pipe := o.hello(t, service, goodVersion).BackendPipe
				if len(pipe) > 107 {
					t.Errorf("the pipe has %d bytes: %s", len(pipe), pipe)
				}
				c, err := net.Dial("unix", pipe)
				if err != nil {
					t.Fatalf("a plain client cannot connect: %v", err)
				}
				defer c.Close()
				if _, err := askOn(c, "ping"); err != nil {
					t.Error(err)
				}
				handed, _ := o.adopted(t, service)
				if _, err := askOn(handed, "ping"); err != nil {
					t.Errorf("on a connection that was handed over: %v", err)
				}
			}
		})
	}
}
