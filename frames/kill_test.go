// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
)

func init() {
	roles["reader"], roles["writer"] = readerRole, writerRole
}

// The steps of the protocol at which a process is killed.
var (
	readerPoints = []string{"next.looked", "take.held", "take.checked", "next.advanced", "wait.asleep", "wait.woken", "release.start", "release.cleared"}
	writerPoints = []string{
		"attach.ready", "attach.sent", "loan.retired", "loan.checked", "loan.writing", "publish.header", "publish.ready", "publish.logged",
		"publish.newest", "publish.head", "publish.rung", "reformat.sent", "reformat.rung",
	}
)

// killAt returns a hook that kills this process when it comes to a point for the nth time.
func killAt(point, nth string) func(string) {
	left, _ := strconv.Atoi(nth)
	return func(at string) {
		if at == point {
			if left--; left == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
}

func inherited() (*net.UnixConn, error) { return unixconn.Of(sys.NewFD(3)) }

// readerRole reads until it is killed: the point, the nth time, and the mode.
func readerRole(args []string) error {
	c, err := inherited()
	if err != nil {
		return err
	}
	mode, _ := strconv.Atoi(args[2])
	opts := []OpenOption{Mode(mode), openOption(func(o *openOptions) { o.fault = killAt(args[0], args[1]) })}
	if args[3] == "event" {
		opts = append(opts, ByEvent())
	}
	r, err := NewReader(context.Background(), c, opts...)
	if err != nil {
		return err
	}
	pause := time.Duration(0)
	if len(args) > 4 {
		pause, _ = time.ParseDuration(args[4])
	}
	for last := uint64(0); ; {
		f, err := r.Next(context.Background())
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ErrEvicted):
			os.Exit(evictedCode)
		case err != nil:
			return err
		}
		if last > 0 && f.Sequence != last+1+f.Missed {
			return fmt.Errorf("frame %d, %d missed, after %d", f.Sequence, f.Missed, last)
		}
		last = f.Sequence
		time.Sleep(pause)
		if err := check(f); err != nil {
			return err
		}
		f.Release()
	}
}

// evictedCode is the exit code of a reader that was evicted.
const evictedCode = 3

// writerRole publishes until it is killed: the point, the nth time.
func writerRole(args []string) error {
	c, err := inherited()
	if err != nil {
		return err
	}
	w, err := NewWriter(small, Slots(3), createOption(func(o *createOptions) { o.fault = killAt(args[0], args[1]) }))
	if err != nil {
		return err
	}
	if err := w.Serve(c); err != nil {
		return err
	}
	for i := 0; ; i++ {
		l, err := w.Loan(context.Background())
		if err != nil {
			return err
		}
		fill(l, i)
		if err := l.Publish(); err != nil {
			return err
		}
		if i%16 == 15 {
			if err := w.Reformat(small); err != nil {
				return err
			}
		}
	}
}

// kills is how many processes a test of kills kills.
func kills(t testing.TB, usual int) int {
	if n, err := strconv.Atoi(os.Getenv("SWITCHBOARD_TEST_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		return usual / 4
	}
	return usual
}

func startRole(t testing.TB, role string, args ...string) (*exec.Cmd, *net.UnixConn) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdout = os.Stdout
	return cmd, startWith(t, cmd)
}

// startWith starts a process whose descriptor 3 is connected to what is returned.
func startWith(t testing.TB, cmd *exec.Cmd) *net.UnixConn {
	t.Helper()
	cmd.Stderr = os.Stderr
	return startBy(t, cmd, sys.Seqpacket)
}

func startBy(t testing.TB, cmd *exec.Cmd, kind sys.SocketType) *net.UnixConn {
	t.Helper()
	ours, theirs := pair(t, kind)
	file, err := theirs.File()
	noError(t, err)
	theirs.Close()
	cmd.ExtraFiles = []*os.File{file}
	noError(t, cmd.Start())
	file.Close()
	return ours
}

// killed waits for a process and fails unless it was killed as it should be.
func killed(t *testing.T, cmd *exec.Cmd, what string) {
	t.Helper()
	_ = cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Fatalf("%s ended with %v", what, cmd.ProcessState)
	}
}

// TestReadersKilled kills readers at every step. The writer goes on, and what they held is free.
func TestReadersKilled(t *testing.T) {
	w := newWriter(t, small, Slots(3))
	well := attach(t, w, Every, Depth(1))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			publish(t, w, i)
			next(t, well).Release()
		}
	}()
	for i := range kills(t, 2*3*len(readerPoints)) {
		point := readerPoints[i%len(readerPoints)]
		mode := Mode(i/len(readerPoints)%3 + 1)
		how := "futex"
		if i%2 == 1 {
			how = "event"
		}
		cmd, c := startRole(t, "reader", point, strconv.Itoa(1+i%5), strconv.Itoa(int(mode)), how)
		noError(t, w.Serve(c))
		killed(t, cmd, fmt.Sprintf("a %v reader at %s", mode, point))
	}
	close(stop)
	<-done
	eventually(t, func() bool { return len(w.Stats().Readers) == 1 })
	w.mu.Lock()
	defer w.mu.Unlock()
	var held [maxSlots]bool
	if w.heldLocked(held[:]); held != [maxSlots]bool{} {
		t.Fatal("something is held by nobody")
	}
}

// TestWritersKilled kills writers at every step. The reader gets a run of whole frames without a gap, and then knows.
func TestWritersKilled(t *testing.T) {
	for i := range kills(t, 2*len(writerPoints)) {
		point := writerPoints[i%len(writerPoints)]
		nth := 1 + i%7
		if point == "attach.ready" || point == "attach.sent" {
			nth = 1
		}
		cmd, c := startRole(t, "writer", point, strconv.Itoa(nth))
		opts := []OpenOption{Lossless, Deadline(deadline), Last()}
		if i%2 == 1 {
			opts = append(opts, ByEvent())
		}
		r, err := NewReader(testContext(t), c, opts...)
		if err != nil {
			if !errors.Is(err, ErrWriterGone) { // it may not have come as far as to answer
				t.Fatalf("killed at %s: %v", point, err)
			}
			killed(t, cmd, "a writer at "+point)
			continue
		}
		for last := uint64(0); ; {
			f, err := r.Next(testContext(t))
			if errors.Is(err, ErrWriterGone) {
				break
			}
			noError(t, err)
			noError(t, check(f))
			if last > 0 && f.Sequence != last+1 {
				t.Fatalf("killed at %s: frame %d came after %d", point, f.Sequence, last)
			}
			last = f.Sequence
			f.Release()
		}
		noError(t, r.Close())
		killed(t, cmd, "a writer at "+point)
	}
}

// TestStoppedReader: one that is stopped while it holds frames keeps nobody from anything.
func TestStoppedReader(t *testing.T) {
	w := newWriter(t, small, Slots(3))
	cmd, c := startRole(t, "reader", "never", "0", strconv.Itoa(int(Every)), "futex")
	noError(t, w.Serve(c))
	eventually(t, func() bool { s := w.Stats(); return len(s.Readers) == 1 })
	well := attach(t, w, Every)
	for i := range 200 {
		if i == 50 {
			noError(t, cmd.Process.Signal(syscall.SIGSTOP))
		}
		publish(t, w, i)
		next(t, well).Release()
	}
	noError(t, cmd.Process.Signal(syscall.SIGCONT))
	noError(t, w.Close())
	noError(t, cmd.Wait())
	if _, err := well.Next(testContext(t)); err != io.EOF {
		t.Fatal(err)
	}
}
