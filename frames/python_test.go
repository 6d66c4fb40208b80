// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

const pythonRole = "../python/tests/role.py"

// python starts the Python side of a channel, on descriptor 3.
func python(t testing.TB, args ...string) (*exec.Cmd, *strings.Builder, io.Closer, func() error) {
	t.Helper()
	cmd := pythonCommand(t, args...)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	stdin, err := cmd.StdinPipe()
	noError(t, err)
	return cmd, out, stdin, cmd.Wait
}

func pythonCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIP: no python3")
	}
	return exec.Command(program, append([]string{pythonRole}, args...)...)
}

func TestPythonReads(t *testing.T) {
	for _, mode := range []Mode{Latest, Every, Lossless} {
		for _, wake := range []string{"event", "futex"} {
			for _, kind := range []sys.SocketType{sys.Seqpacket, sys.Stream} {
				t.Run(fmt.Sprintf("%v %s %v", mode, wake, kind), func(t *testing.T) {
					w := newWriter(t, Format{FourCC: NV12, Width: 33, Height: 17}, Slots(3))
					cmd, out, _, wait := python(t, "reader", "never", "0", mode.String(), wake)
					noError(t, w.Serve(startBy(t, cmd, kind)))
					eventually(t, func() bool { return len(w.Stats().Readers) == 1 })
					const frames = 100
					for i := range frames {
						publish(t, w, i)
						if i%16 == 15 {
							noError(t, w.Reformat([]Format{small, {Type: Float32, Shape: []int{i, 3}}}[i%2]))
						}
					}
					if mode == Lossless { // so that it need not be quicker than the end
						eventually(t, func() bool { return w.Stats().Readers[0].Received == frames })
					}
					noError(t, w.Close())
					if err := wait(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					if mode == Lossless && out.String() != fmt.Sprintf("saw %d\n", frames) {
						t.Fatalf("it %s", out)
					}
				})
			}
		}
	}
}

func TestPythonWrites(t *testing.T) {
	for _, mode := range []Mode{Latest, Every, Lossless} {
		t.Run(mode.String(), func(t *testing.T) {
			const frames = 100
			cmd, out, stdin, wait := python(t, "writer", "never", "0", strconv.Itoa(frames))
			r, err := NewReader(testContext(t), startBy(t, cmd, sys.Seqpacket), mode, Last(), Deadline(deadline))
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			received, seen := 0, uint64(0)
			for seen < frames {
				f, err := r.Next(testContext(t))
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				noError(t, check(f))
				if received == 0 {
					seen = f.Sequence - 1 - f.Missed // it may have begun before
				}
				if seen += 1 + f.Missed; seen != f.Sequence || mode == Lossless && f.Missed > 0 {
					t.Fatalf("frame %d, %d missed, after %d", f.Sequence, f.Missed, seen)
				}
				received++
				f.Release()
			}
			stdin.Close()
			if _, err := r.Next(testContext(t)); err != io.EOF {
				t.Fatal(err)
			}
			noError(t, r.Close())
			if err := wait(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		})
	}
}

// TestPythonKilled kills Python readers and writers at steps of the protocol.
func TestPythonKilled(t *testing.T) {
	w := newWriter(t, small, Slots(3))
	well := attach(t, w, Every)
	points := []string{"next.looked", "take.held", "take.checked", "next.advanced", "wait.asleep", "wait.woken", "release.start", "release.cleared"}
	for i := range kills(t, len(points)) {
		mode := Mode(i%3 + 1)
		cmd := pythonCommand(t, "reader", points[i%len(points)], strconv.Itoa(1+i%3), mode.String(), []string{"event", "futex"}[i%2])
		c := startWith(t, cmd)
		noError(t, w.Serve(c))
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(exited)
		}()
		for n, over := 0, false; !over; n++ {
			select {
			case <-exited:
				over = true
			default:
				publish(t, w, n)
				next(t, well).Release()
				time.Sleep(time.Millisecond) // Python needs the processor, too
			}
		}
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() {
			t.Fatalf("a %v reader at %s: %v", mode, points[i%len(points)], cmd.ProcessState)
		}
	}
	eventually(t, func() bool { return len(w.Stats().Readers) == 1 })
	for i := range kills(t, len(writerPoints)) {
		point := writerPoints[i%len(writerPoints)]
		cmd := pythonCommand(t, "writer", point, "1")
		r, err := NewReader(testContext(t), startWith(t, cmd), Lossless, Last(), Deadline(deadline))
		for last := uint64(0); err == nil; {
			var f *Frame
			if f, err = r.Next(testContext(t)); err != nil {
				noError(t, r.Close())
				break
			}
			noError(t, check(f))
			if last > 0 && f.Sequence != last+1 {
				t.Fatalf("killed at %s: frame %d came after %d", point, f.Sequence, last)
			}
			last = f.Sequence
			f.Release()
		}
		if !errors.Is(err, ErrWriterGone) {
			t.Fatalf("killed at %s: %v", point, err)
		}
		killed(t, cmd, "a writer at "+point)
	}
}

func TestPythonFilter(t *testing.T) {
	p, err := Child(pythonCommand(t, "filter"))
	noError(t, err)
	defer p.Close()
	w, err := p.Create(ToChild, small)
	noError(t, err)
	r, err := p.Open(testContext(t), FromChild, Every, Last())
	noError(t, err)
	defer r.Close()
	for i := range 50 {
		id := publish(t, w, i)
		f, err := r.Next(testContext(t))
		if err != nil {
			t.Fatalf("%v: %v", err, p.Wait())
		}
		noError(t, inverted(f, id))
		f.Release()
	}
}
