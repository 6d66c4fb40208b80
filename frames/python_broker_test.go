// SPDX-License-Identifier: Apache-2.0

package frames_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/frames"
)

// runPython runs a script of python/tests to its end.
func runPython(t *testing.T, env []string, args ...string) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIP: no python3")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func TestPythonPackage(t *testing.T) {
	runPython(t, nil, "../python/tests/test_frames.py")
}

func TestPythonNames(t *testing.T) {
	dir, _ := withBroker(t)
	runPython(t, []string{"SWITCHBOARD_RUNTIME_DIR=" + dir, "SWITCHBOARD_AUTOSTART=0"}, "../python/tests/names.py")
}

// TestPythonByName: a channel of Go, by its name, to Python and back.
func TestPythonByName(t *testing.T) {
	dir, via := withBroker(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w, err := frames.Create(ctx, "com.example.there", frames.Bytes(100), via)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := frames.Open(ctx, "com.example.back", via, frames.Rejoin(), frames.Lossless, frames.Last())
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		for i := range 20 {
			l, err := w.Loan(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			l.Plane(0)[99] = byte(i)
			id, err := l.PublishID()
			if err != nil {
				t.Error(err)
				return
			}
			f, err := r.Next(ctx)
			if err != nil || f.Plane(0)[99] != byte(i)+1 || f.Answers != id {
				t.Errorf("frame %d came back as %+v, %v", i, f, err)
				return
			}
			f.Release()
		}
		w.Close()
	}()
	const script = `
import sys; sys.path.insert(0, "../python")
from switchboard import frames
with frames.open("com.example.there", lossless=True, last=True) as source, frames.create("com.example.back", source.format) as out:
    for f in source:
        with f, out.loan() as answer:
            answer.planes[0][99] = f.planes[0][99] + 1
            answer.answers = f.id
`
	runPython(t, []string{"SWITCHBOARD_RUNTIME_DIR=" + dir, "SWITCHBOARD_AUTOSTART=0"}, "-c", script)
	<-done
}
