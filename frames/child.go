// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
)

// ChildOption adds to how a child is run.
type ChildOption func(*Process)

// Restart starts the child again whenever it ends, after least, and twice as long each time up to most; one that ran for longer
// than most begins anew.
func Restart(least, most time.Duration) ChildOption {
	return func(p *Process) { p.least, p.most = max(least, time.Millisecond), max(most, least) }
}

// Output is called with each line that the child writes to stdout or stderr, where the command does not say where these go.
func Output(line func(string)) ChildOption { return func(p *Process) { p.output = line } }

// Process is a child with a link to it. Channels that are created on it stay when the child is started again.
type Process struct {
	*Link
	template    *exec.Cmd
	least, most time.Duration // 0: it is not started again
	output      func(string)

	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	starts int
	last   []string // lines
	err    error
	ended  bool
}

// keptLines is how many lines of output an error quotes.
const keptLines = 10

// grace is how long a child has to end after SIGTERM.
const grace = 2 * time.Second

// Child starts a command with a link to it: in Go the child calls [Parent], in Python switchboard.parent().
func Child(cmd *exec.Cmd, opts ...ChildOption) (*Process, error) {
	p := &Process{Link: newLink(), template: cmd, stop: make(chan struct{}), done: make(chan struct{})}
	for _, opt := range opts {
		opt(p)
	}
	p.again = p.least > 0
	over, err := p.start()
	if err != nil {
		return nil, err
	}
	go p.supervise(over)
	return p, nil
}

// start starts the command once.
func (p *Process) start() (<-chan struct{}, error) {
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, fmt.Errorf("cannot start a child: %w", err)
	}
	c, err := unixconn.Of(ours)
	if err != nil {
		theirs.Close()
		return nil, fmt.Errorf("cannot start a child: %w", err)
	}
	_ = sys.SetNonblock(theirs.Int(), false) // what it runs may not expect anything else
	file := os.NewFile(uintptr(theirs.Take()), "link")
	defer file.Close()
	t := p.template
	number := 3 + len(t.ExtraFiles)
	env := t.Env
	if env == nil {
		env = os.Environ()
	}
	cmd := &exec.Cmd{
		Path: t.Path, Args: t.Args, Dir: t.Dir, Stdin: t.Stdin, Stdout: t.Stdout, Stderr: t.Stderr, SysProcAttr: t.SysProcAttr, Err: t.Err,
		Env:        append(env[:len(env):len(env)], fmt.Sprintf("%s=%d", EnvSocketFD, number), fmt.Sprintf("%s=%d", envSocketFDToo, number)),
		ExtraFiles: append(t.ExtraFiles[:len(t.ExtraFiles):len(t.ExtraFiles)], file),
		WaitDelay:  time.Second, // for what it started and left behind with its output
	}
	lines := &lineWriter{line: p.heard}
	if cmd.Stdout == nil {
		cmd.Stdout = lines
	}
	if cmd.Stderr == nil {
		cmd.Stderr = lines
	}
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot start a child: %w", err)
	}
	over, err := p.connect(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = cmd
	p.starts++
	if err != nil { // it was closed meanwhile
		over = closedChannel
	}
	return over, nil
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// supervise waits for the child, and starts it again if that is wanted.
func (p *Process) supervise(over <-chan struct{}) {
	defer close(p.done)
	pause := p.least
	for {
		started := time.Now()
		exited := make(chan error, 1)
		cmd := p.command()
		go func() { exited <- cmd.Wait() }()
		var err error
		select {
		case err = <-exited:
		case <-p.stop:
			err = end(cmd, exited)
		}
		p.drop()
		<-over
		p.mu.Lock()
		p.err = p.explainLocked(err)
		p.mu.Unlock()
		if time.Since(started) > p.most {
			pause = p.least
		}
		for p.least > 0 {
			select {
			case <-p.stop:
			case <-time.After(pause):
			}
			pause = min(2*pause, p.most)
			if p.stopped() {
				break
			}
			if over, err = p.start(); err == nil {
				break
			}
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
		}
		if p.least == 0 || p.stopped() {
			if p.command() != cmd { // one more, of just now
				_ = end(p.command(), nil)
			}
			return
		}
	}
}

func (p *Process) command() *exec.Cmd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd
}

func (p *Process) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// end ends the child: SIGTERM, then SIGKILL.
func end(cmd *exec.Cmd, exited chan error) error {
	if exited == nil {
		exited = make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-exited:
		return err
	case <-time.After(grace):
		_ = cmd.Process.Kill()
		return <-exited
	}
}

// drop hangs up on a child that has ended: what it left behind may still have its end of the link.
func (p *Process) drop() {
	p.Link.mu.Lock()
	defer p.Link.mu.Unlock()
	if p.line != nil {
		p.line.close()
	}
}

func (p *Process) explainLocked(err error) error {
	if err == nil || len(p.last) == 0 {
		return err
	}
	return fmt.Errorf("%w; its last output:\n%s", err, strings.Join(p.last, "\n"))
}

// heard takes a line of output.
func (p *Process) heard(line string) {
	p.mu.Lock()
	if len(p.last) == keptLines {
		p.last = append(p.last[:0:0], p.last[1:]...)
	}
	p.last = append(p.last, line)
	p.mu.Unlock()
	if p.output != nil {
		p.output(line)
	}
}

// Starts returns how often the command was started.
func (p *Process) Starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// PID returns the process id of the child that runs, or ran last.
func (p *Process) PID() int { return p.command().Process.Pid }

// Wait waits for the child to end, for good, and returns what [exec.Cmd.Wait] does, with the last lines of its output.
func (p *Process) Wait() error {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close ends the channels of this side, the link and the child: it is given two seconds after SIGTERM.
func (p *Process) Close() error {
	p.mu.Lock()
	if !p.ended {
		p.ended = true
		close(p.stop)
	}
	p.mu.Unlock()
	err := p.Link.Close()
	<-p.done
	return errors.Join(err)
}

// lineWriter calls a function with each line.
type lineWriter struct {
	mu   sync.Mutex
	rest []byte
	line func(string)
}

// maxLine is where a line without an end is cut.
const maxLine = 64 << 10

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 && len(w.rest) < maxLine {
			return len(b), nil
		}
		if i < 0 {
			i = maxLine - 1
		}
		w.line(strings.TrimSuffix(string(w.rest[:i]), "\r"))
		w.rest = w.rest[i+1:]
	}
}
