// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
	"github.com/switchboard-ipc/switchboard/execshim"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

func TestMain(m *testing.M) {
	execshim.Run()
	os.Exit(m.Run())
}

// output collects what a command says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir, _ := brokertest.Start(t, broker.Config{})
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "bad.toml"), []byte("mode = \"host\"\nspeed = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out output
	ended := make(chan int, 1)
	args := []string{"serve", "--runtime-dir", dir, "--no-autostart", "--networks", folder, "--idle-exit", "0"}
	go func() { ended <- run(ctx, args, &out, &out) }()
	wait := func(what string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), what); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it does not say %q:\n%s", what, &out)
			}
		}
	}
	wait(`"msg":"checked in"`)
	wait("bad.toml:2: ")
	wait(`"name":"user","why":"`)
	b, err := mach.Connect(ctx, mach.Options{RuntimeDir: dir, NoAutostart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	port, err := b.LookUp(ctx, vmnet.Service)
	if err != nil {
		t.Fatal(err)
	}
	port.Close()

	var second output
	if code := run(ctx, args, &second, &second); code != exitTryAgain || !strings.Contains(second.String(), "switchboard ls") {
		t.Errorf("a second service: exit %d:\n%s", code, &second)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d:\n%s", code, &out)
	}
	wait(`"msg":"ended"`)
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"serve", "--driver", "warp"}, exitUsage, "there are user, and auto"},
		{[]string{"serve", "--networks", filepath.Join(folder, "none")}, exitUsage, "no such file or directory"},
		{[]string{"serve", "--idle-exit", "-1s"}, exitUsage, "negative"},
		{[]string{"serve", "--max-networks", "0"}, exitUsage, "1 at least"},
		{[]string{"serve", "--log-format", "xml"}, exitUsage, "auto, text or json"},
		{[]string{"serve", "more"}, exitUsage, "unknown command"},
		{[]string{"wrong"}, exitUsage, "unknown command"},
		{[]string{"serve", "--no-autostart", "--runtime-dir", folder}, exitUnavailable, "bootstrap"},
	} {
		var out output
		if code := run(t.Context(), c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%q: exit %d, want %d; %s", c.args, code, c.code, &out)
		}
	}
}
