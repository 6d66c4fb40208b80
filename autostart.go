// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

const (
	modulePath  = "github.com/switchboard-ipc/switchboard"
	programPath = modulePath + "/cmd/switchboard"

	startLock = "start.lock" // held by who starts a broker, until it is ready
	idleExit  = "5m"         // after this long without a lease, a broker that we started ends
	readyLine = "ready"      // what a broker writes when it can be connected to
	readyFD   = 3            // the number of the pipe on which it does
)

// start is one attempt to start a broker; all calls of a Client that miss it share one.
type start struct {
	done chan struct{}
	err  error
}

// startBroker returns when a broker can be connected to: one that it started, or one that another process did.
func (c *Client) startBroker(ctx context.Context) error {
	if err := c.mayStart(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	s := c.starting
	if s == nil {
		s = &start{done: make(chan struct{})}
		c.starting = s
		c.work.Add(1)
		go func() {
			defer c.work.Done()
			s.err = c.startLocked()
			c.mu.Lock()
			c.starting = nil
			c.mu.Unlock()
			close(s.done)
		}()
	}
	c.mu.Unlock()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return errClosed
	}
}

// mayStart says why no broker is started when none runs.
func (c *Client) mayStart() error {
	if err := checkFolder(c.dir, c.told); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !c.autostart {
		return c.absent(":")
	}
	if why := sys.Sandboxed(); why != "" {
		return c.absent(", and none is started from inside a sandbox (" + why + "); outside of it,")
	}
	return nil
}

// absent is the error for a broker that does not run and is not started.
func (c *Client) absent(why string) error {
	serve := "switchboard serve"
	if c.told {
		serve = "switchboard --runtime-dir " + c.dir + " serve"
	}
	return &Error{Code: CodeUnavailable, Text: fmt.Sprintf("no broker runs in %s%s start one with: %s", c.dir, why, serve)}
}

// startLocked starts a broker while it holds the lock of those who start one. Racers wait for the lock or a broker,
// whichever is there first.
func (c *Client) startLocked() error {
	program, err := c.program()
	if err != nil {
		return err
	}
	if err := makeFolder(c.dir); err != nil {
		return err
	}
	path := filepath.Join(c.dir, startLock)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(c.ctx, c.patience)
	defer cancel()
	r := newRetry(ctx, c.patience)
	for locked := false; ; {
		if c.answers() {
			return nil
		}
		if !locked {
			err = sys.Lock(int(lock.Fd()), false)
			if locked = err == nil; locked {
				continue // the one before may have started a broker
			}
			if errors.Is(err, syscall.EWOULDBLOCK) {
				err = &Error{Code: CodeTryAgain, Op: "start a broker in", Name: c.dir,
					Text: fmt.Sprintf("another process has held %s for %v; end it (fuser %s tells which it is)", path, c.patience, path)}
			}
		} else if err = c.launch(ctx, program); err == nil {
			return nil
		}
		switch {
		case c.ctx.Err() != nil:
			return errClosed
		case !errors.Is(err, ErrTryAgain) || !r.wait(ctx):
			return err
		}
		// Who holds the lock is about to have a broker; or one that is ending still has the folder, and its successor's
		// turn comes in a moment.
	}
}

// answers reports whether a broker accepts connections.
func (c *Client) answers() bool {
	fd, err := sys.Connect(c.brokerPath, sys.Stream, false)
	if err == nil {
		fd.Close()
	}
	return err == nil || errors.Is(err, syscall.EAGAIN)
}

// program returns the path of the program that starts a broker.
func (c *Client) program() (string, error) {
	if c.binary != "" {
		return exec.LookPath(c.binary)
	}
	if path := os.Getenv(EnvBinary); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", &Error{Code: CodeUnavailable, Op: "start a broker with", Name: path, Err: err,
				Text: fmt.Sprintf("%v ($%s names it)", err, EnvBinary)}
		}
		return found, nil
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Path == programPath {
		return os.Executable()
	}
	found, err := exec.LookPath("switchboard")
	if err != nil {
		return "", &Error{Code: CodeUnavailable, Err: err, Text: fmt.Sprintf("no broker runs in %s, and there is no program switchboard "+
			"on PATH to start one: go install %s@latest, or set %s to its path", c.dir, programPath, EnvBinary)}
	}
	return found, nil
}

// launch runs the program's hidden command that leaves a broker behind, and waits until that is ready. The
// broker gets a pipe and an environment from us, nothing else.
func (c *Client) launch(ctx context.Context, program string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(program, "_detach")
	cmd.Dir = "/"
	cmd.Env = append(userEnvironment(),
		EnvRuntimeDir+"="+c.dir, "SWITCHBOARD_IDLE_EXIT="+idleExit, "SWITCHBOARD_READY_FD="+strconv.Itoa(readyFD))
	cmd.ExtraFiles = []*os.File{w} // number 3
	err = cmd.Start()
	w.Close()
	if err != nil {
		return &Error{Code: CodeUnavailable, Op: "start a broker with", Name: program, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err != nil && ctx.Err() != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait() // the pipe says how it went; the program may reap its children by itself
	switch text = strings.TrimSpace(text); {
	case text == readyLine:
		c.log.Debug("broker started", "program", program, "folder", c.dir)
		return nil
	case c.ctx.Err() != nil:
		return errClosed
	case ctx.Err() != nil:
		return &Error{Code: CodeTryAgain, Op: "start a broker with", Name: program,
			Text: fmt.Sprintf("it was not ready within %v", c.patience)}
	case text == "":
		return &Error{Code: CodeUnavailable, Op: "start a broker with", Name: program,
			Text: "it ended without a word; try: switchboard --runtime-dir " + c.dir + " serve"}
	}
	e := &Error{Code: CodeUnavailable, Op: "start a broker with", Name: program, Text: text}
	if digits, rest, ok := strings.Cut(text, " "); ok {
		if code, err := strconv.Atoi(digits); err == nil && Code(code).sentinel() != nil {
			e.Code, e.Text = Code(code), rest
		}
	}
	return e
}

// userEnvironment is what describes the user, of our environment.
func userEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		switch key {
		case "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ", "TMPDIR":
		default:
			if !strings.HasPrefix(key, "LC_") && !strings.HasPrefix(key, "XDG_") {
				continue
			}
		}
		kept = append(kept, variable)
	}
	return kept
}
