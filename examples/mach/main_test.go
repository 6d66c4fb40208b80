// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestTwoPrograms(t *testing.T) {
	t.Parallel()
	dir := exampletest.Broker(t)
	if out, err := exampletest.Command(t, dir, "ask", "hello").Output(); err == nil {
		t.Errorf("answered without a server: %s", out)
	}
	server := exampletest.Command(t, dir, "serve")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if lines.Scan(); lines.Text() != "serving "+service {
		t.Fatalf("the server says %q", lines.Text())
	}
	for range 2 {
		answer, err := exampletest.Command(t, dir, "ask", "hello", "port").Output()
		if want := "HELLO PORT\n10000 bytes of memory\n"; err != nil || string(answer) != want {
			t.Errorf("%q, %v; want %q", answer, err, want)
		}
	}
	second := exampletest.Command(t, dir, "serve")
	var refused strings.Builder
	second.Stderr = &refused
	if err := second.Run(); err == nil || !strings.Contains(refused.String(), "service active (1103)") {
		t.Errorf("a second server: %v, %q", err, refused.String())
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
}
