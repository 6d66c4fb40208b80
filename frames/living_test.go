// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func init() { roles["forks"] = forksRole }

// forksRole holds a frame, or publishes one, starts a process that keeps all connections, and is killed.
func forksRole(args []string) error {
	c, err := inherited()
	if err != nil {
		return err
	}
	if args[0] == "reader" {
		r, err := NewReader(context.Background(), c, Every, Last())
		if err != nil {
			return err
		}
		if _, err := r.Next(context.Background()); err != nil {
			return err
		}
	} else {
		w, err := NewWriter(small, Slots(3))
		if err != nil {
			return err
		}
		l, err := w.Loan(context.Background())
		if err != nil {
			return err
		}
		fill(l, 1)
		if err := errors.Join(l.Publish(), w.Serve(c)); err != nil {
			return err
		}
		for w.Readers() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	cat := exec.Command("cat")
	cat.Stdin = os.Stdin
	for fd := 3; fd < 3+len(list)+8; fd++ {
		if d, err := syscall.Dup(fd); err == nil { // whatever it is
			cat.ExtraFiles = append(cat.ExtraFiles, os.NewFile(uintptr(d), "any"))
		}
	}
	if err := cat.Start(); err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("forked\n")
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// TestForkedChild: the end of a reader, and of a writer, is seen though a process that it started still has its connections.
func TestForkedChild(t *testing.T) {
	for _, language := range []string{"Go", "Python"} {
		for _, what := range []string{"reader", "writer"} {
			t.Run(language+" "+what, func(t *testing.T) {
				var cmd *exec.Cmd
				if language == "Python" {
					cmd = pythonCommand(t, "forks", what)
				} else {
					cmd = exec.Command(os.Args[0], what)
					cmd.Env = append(os.Environ(), roleVariable+"=forks")
				}
				stdin, err := cmd.StdinPipe() // its child ends with it
				noError(t, err)
				defer stdin.Close()
				out, err := cmd.StdoutPipe()
				noError(t, err)
				c := startWith(t, cmd)
				said := bufio.NewReader(out)
				forked := func() {
					if line, err := said.ReadString('\n'); line != "forked\n" {
						t.Fatalf("%q, %v", line, err)
					}
				}
				if what == "reader" {
					w := newWriter(t, small)
					publish(t, w, 1)
					noError(t, w.Serve(c))
					forked()
					start := time.Now()
					eventually(t, func() bool { return w.Readers() == 0 })
					t.Logf("free after %v", time.Since(start))
				} else {
					r, err := NewReader(testContext(t), c, Every, Last())
					noError(t, err)
					defer r.Close()
					next(t, r).Release()
					forked()
					if _, err := r.Next(testContext(t)); !errors.Is(err, ErrWriterGone) {
						t.Fatal(err)
					}
				}
				stdin.Close()
				_, _ = io.Copy(io.Discard, said)
				_ = cmd.Wait()
			})
		}
	}
}
