// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// TestMain makes the test binary the processes that measure.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleArgument {
		os.Exit(rows.Role(context.Background(), os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// It sets TMPDIR, to see what is left behind.
func TestShmsinks(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it measures for seconds, and -short was asked for")
	}
	dir, err := os.MkdirTemp("", "b") // short enough for the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &peers{folder: t.TempDir(), self: self}
	_, missing := p.shmsink(t.Context())
	t.Setenv("TMPDIR", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each process otherwise
	var out bytes.Buffer
	err = rows.Run(t.Context(), &out, rows.Options{
		Binary: self, Self: p.role(), Quick: true, JSON: true, Only: "shmsink", Extra: []rows.Group{{Name: "shmsink", Measure: p.shmsinks}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var report rows.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	for _, r := range report.Rows {
		switch {
		case missing != nil && r.Skipped == missing.Error():
		case r.Skipped != "" || r.Ours <= 0 || missing == nil && r.Peer <= 0:
			t.Errorf("a row without a figure: %+v", r)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if missing != nil {
		t.Skip("SKIPPED: the half with GStreamer: ", missing)
	}
}
