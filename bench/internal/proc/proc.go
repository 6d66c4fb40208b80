// SPDX-License-Identifier: Apache-2.0

// Package proc starts the processes of a benchmark and ends them.
//
// A process that is started here speaks in lines: it prints "ready", or any
// other first line, when it can be used, then answers each line of its stdin
// with a line of its stdout. Our own end at the end of their stdin, so they are
// not left behind when the benchmark itself is killed; others get SIGTERM.
package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Grace is how long a process has to end by itself before it is killed.
const Grace = 5 * time.Second

// Process is a process that was started here.
type Process struct {
	First string // the line that it printed first

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string
	tail   *tail
	ended  chan struct{} // closed when it has been waited for
	err    error         // its end; to be read after ended
	byTERM bool          // SIGTERM asks it to end, not the end of its stdin

	stopOnce sync.Once
}

// Options are the rare wishes for a process.
type Options struct {
	EndsByTERM bool            // SIGTERM asks it to end, not the end of its stdin
	Session    bool            // it gets a session of its own
	Setup      func(*exec.Cmd) // changes the command before it starts; may be nil
}

// Start starts a program and waits for its first line. The process is asked to
// end when ctx ends; Stop must be called in any case.
func Start(ctx context.Context, argv []string, o Options) (*Process, error) {
	if len(argv) == 0 {
		return nil, errors.New("cannot start a process: no program given")
	}
	p := &Process{
		cmd:    exec.CommandContext(ctx, argv[0], argv[1:]...),
		lines:  make(chan string, 16),
		tail:   &tail{},
		ended:  make(chan struct{}),
		byTERM: o.EndsByTERM,
	}
	p.cmd.Env = environment()
	p.cmd.Stderr = p.tail
	p.cmd.WaitDelay = Grace
	p.cmd.Cancel = p.ask
	if o.Session {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if o.Setup != nil {
		o.Setup(p.cmd)
	}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", argv[0], err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", argv[0], err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", argv[0], err)
	}
	go p.read(stdout)
	if p.First, err = p.Line(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// environment is ours without what would lead a child to another broker.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SWITCHBOARD") {
			env = append(env, v)
		}
	}
	return env
}

// read passes the lines on until the output ends, then waits for the process.
// What nobody asks for is dropped, so that the process is never held up by it.
func (p *Process) read(stdout io.Reader) {
	s := bufio.NewScanner(stdout)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		select {
		case p.lines <- s.Text():
		default:
		}
	}
	p.err = p.cmd.Wait()
	close(p.lines)
	close(p.ended)
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line waits for the next line that the process prints.
func (p *Process) Line(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		if ok {
			return line, nil
		}
		<-p.ended
		return "", fmt.Errorf("process %q ended (%v): %s", p.name(), p.cmd.ProcessState, p.tail)
	case <-ctx.Done():
		return "", fmt.Errorf("cannot read from process %q: %w: %s", p.name(), ctx.Err(), p.tail)
	}
}

// Tell sends the process a line.
func (p *Process) Tell(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.stdin, format+"\n", args...); err != nil {
		return fmt.Errorf("cannot write to process %q: %w: %s", p.name(), err, p.tail)
	}
	return nil
}

// Result waits for the next line and decodes it, which is JSON, into v.
func (p *Process) Result(ctx context.Context, v any) error {
	line, err := p.Line(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), v); err != nil {
		return fmt.Errorf("cannot read the result %q of process %q: %w", line, p.name(), err)
	}
	return nil
}

// Kill ends the process with SIGKILL, at once, and does not wait.
func (p *Process) Kill() error {
	return p.cmd.Process.Signal(syscall.SIGKILL)
}

// Stop asks the process to end, kills it if it has not after Grace, and waits.
func (p *Process) Stop() {
	p.stopOnce.Do(func() {
		_ = p.ask() // it may have ended already
		patience := time.NewTimer(Grace)
		defer patience.Stop()
		select {
		case <-p.ended:
			return
		case <-patience.C:
		}
		_ = p.cmd.Process.Kill()
	})
	<-p.ended
}

// ask asks the process to end.
func (p *Process) ask() error {
	if p.byTERM {
		return p.cmd.Process.Signal(syscall.SIGTERM)
	}
	return p.stdin.Close()
}

// name is the program and its first arguments, for messages.
func (p *Process) name() string {
	return strings.Join(p.cmd.Args[:min(len(p.cmd.Args), 4)], " ")
}

// Run runs a program to its end and decodes its output, which is JSON, into v.
func Run(ctx context.Context, v any, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment()
	cmd.WaitDelay = Grace
	var errors tail
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("cannot run %q: %w: %s", strings.Join(argv, " "), err, &errors)
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("cannot read the result %q of %q: %w", out, argv[0], err)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(b []byte) (int, error) {
	const most = 2048
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - most; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// String is what was kept, in one piece.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
