// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/execshim"
)

// TestMain makes the test binary the broker that is measured, and the
// processes that measure it.
func TestMain(m *testing.M) {
	execshim.Run()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve": // serve --runtime-dir FOLDER [--services FOLDER] --running-process off|PATH
			os.Exit(serveTest(os.Args[3], os.Args[4:]))
		case "bench-role":
			os.Exit(Role(context.Background(), os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

func serveTest(folder string, rest []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := broker.Config{RuntimeDir: folder, Subreaper: true, Ready: func() { fmt.Println("ready") }}
	for ; len(rest) > 1; rest = rest[2:] {
		switch {
		case rest[0] == "--services":
			c.Services = rest[1:2]
		case rest[0] == "--running-process" && rest[1] != "off":
			c.RunningProcess = rest[1:2]
		}
	}
	b, err := broker.New(c)
	if err == nil {
		err = b.Serve(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testOptions measure quickly, with the test binary as every process.
func testOptions(t *testing.T, only string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Binary: self, Self: []string{self, "bench-role"}, Quick: true, JSON: true, Only: only}
}

// One test at a time: they set TMPDIR, to see what is left behind.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it measures for seconds, and -short was asked for")
	}
	for _, group := range []string{"connect", "killed", "idle", "launch", "backends", "hostile", "mach"} {
		t.Run(group, func(t *testing.T) { runGroup(t, testOptions(t, group)) })
	}
}

// runGroup wants figures in all rows of a run, and nothing left behind.
func runGroup(t *testing.T, o Options) {
	t.Helper()
	t.Setenv("TMPDIR", shortDir(t))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each process otherwise
	var out bytes.Buffer
	if err := Run(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if len(report.Rows) == 0 {
		t.Fatalf("no rows: %s", &out)
	}
	for _, r := range report.Rows {
		if r.Skipped != "" || r.Ours <= 0 {
			t.Errorf("a row without a figure: %+v", r)
		}
	}
	nothingLeft(t)
}

func TestFrameFeed(t *testing.T) {
	o := testOptions(t, "feed")
	o.Extra = []Group{{Name: "feed", Measure: func(ctx context.Context, e *Env) ([]Row, error) {
		var table []Row
		for _, how := range []string{"placed", "copied"} {
			feed, err := e.StartFrameFeed(ctx, how, 2)
			if err != nil {
				return nil, err
			}
			for _, perSecond := range []int{0, 60} {
				fed, err := feed.Feed(ctx, e.Slice(), perSecond)
				if err != nil {
					return nil, err
				}
				table = append(table, Alone(how+" rate", "/s", []float64{fed.Rate}, Limit{}), Alone(how+" time", "µs", []float64{fed.Writer + fed.Reader}, Limit{}))
			}
		}
		return table, nil
	}}}
	runGroup(t, o)
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	ctx, cancel := context.WithCancel(t.Context())
	o := testOptions(t, "ended")
	o.Extra = []Group{{Name: "ended", Measure: func(ctx context.Context, e *Env) ([]Row, error) {
		if _, err := e.StartBroker(ctx); err != nil {
			return nil, err
		}
		cancel()
		return nil, pause(ctx, e.Slice())
	}}}
	if err := Run(ctx, &bytes.Buffer{}, o); err == nil {
		t.Error("a run that was interrupted has no error")
	}
	nothingLeft(t)
}

func TestRunSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	if err := Run(t.Context(), &bytes.Buffer{}, Options{}); err == nil {
		t.Error("a run without a binary has no error")
	}
}

// shortDir is a temporary folder whose path leaves room for a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
