// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// TestDroppedPIDFD: a pidfd that nobody closes is closed when nobody has it. A pipe stands in for the process.
func TestDroppedPIDFD(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := sys.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	newPIDFD(fd)
	w.Close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		io.Copy(io.Discard, r)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); ; {
		select {
		case <-closed:
			return
		case <-tick.C:
			runtime.GC()
		case <-end:
			t.Fatal("it is still open")
		}
	}
}
