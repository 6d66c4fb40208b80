// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
)

// How long a process of the tour has to end after SIGTERM.
const (
	endGrace    = 2 * time.Second
	brokerGrace = 10 * time.Second // it ends first what it launched, which nobody else would
)

// tour is what the steps share: a temporary folder, a client, and the processes that were started.
type tour struct {
	self   string   // this executable, which the processes run
	dir    string   // everything the tour makes is in here
	lock   *os.File // of the folder, held as long as the tour goes on
	client *switchboard.Client

	broker    *process
	processes []*process // in the order they were started
	backends  []int      // pids of what the broker launched
}

// newTour makes the folder, and removes those of tours that were killed. The caller ends the tour.
func newTour() (*tour, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this executable: %w", err)
	}
	sweepTours()
	dir, lock, err := makeTourFolder()
	if err != nil {
		return nil, fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	t := &tour{self: self, dir: dir, lock: lock}
	t.client = t.newClient()
	return t, nil
}

// runtimeDir is the folder of the tour's broker.
func (t *tour) runtimeDir() string { return filepath.Join(t.dir, "run") }

// newClient makes one more client of the tour's broker.
func (t *tour) newClient() *switchboard.Client {
	return switchboard.New(switchboard.Config{RuntimeDir: t.runtimeDir(), NoAutostart: true})
}

// end ends every process, the broker last, and removes the folder.
func (t *tour) end() error {
	t.client.Close()
	for _, p := range slices.Backward(t.processes) {
		grace := endGrace
		if p == t.broker {
			grace = brokerGrace
		}
		p.end(grace)
	}
	defer t.lock.Close()
	left := t.endBackends()
	if err := os.RemoveAll(t.dir); err != nil {
		return errors.Join(left, fmt.Errorf("cannot remove the folder of the tour: %w", err))
	}
	return left
}

// command makes a command that knows only the tour's broker.
func (t *tour) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SWITCHBOARD") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "SWITCHBOARD="+t.self, envRuntimeDir+"="+t.runtimeDir(), "SWITCHBOARD_AUTOSTART=0")
	cmd.Dir = t.dir
	return cmd
}

// start starts a command in a process group of its own, so that a terminal's Ctrl-C is the tour's to handle, and all
// that it started can be ended with it.
func (t *tour) start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	cmd.WaitDelay = endGrace
	p := &process{cmd: cmd, done: make(chan struct{})}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.said
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", cmd.Path, err)
	}
	t.processes = append(t.processes, p)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// output runs a command to its end and returns what it printed, without the last newline.
func (t *tour) output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout = &out
	p, err := t.start(cmd)
	if err != nil {
		return "", err
	}
	if err := p.wait(ctx); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// startBroker starts a broker and waits until it is ready.
func (t *tour) startBroker(ctx context.Context) error {
	cmd := t.command(t.self, "serve", "--runtime-dir", t.runtimeDir(), "--services", t.servicesDir(), "--running-process", "off")
	cmd.Env = append(cmd.Env, envIdleExit+"=1m", // should the tour be killed, it does not stay
		"XDG_CONFIG_HOME="+t.dir, // the user's own definitions are none of the tour's business
		"XDG_RUNTIME_DIR="+t.dir, servedef.EnvFolder+"="+t.definitionsDir())
	// A file, and no pipe to us: should the tour be killed, a broker that has something to say would be ended by SIGPIPE
	// before it has ended what it launched.
	said, err := os.Create(filepath.Join(t.dir, "broker.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	t.broker, err = t.start(cmd)
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		text, _ := os.ReadFile(said.Name())
		return fmt.Errorf("the broker did not become ready: %w: %s", err, strings.TrimSpace(string(text)))
	}
	return nil
}

// owner starts a command that gives itself a name, and returns when it has it.
func (t *tour) owner(ctx context.Context, name string, cmd *exec.Cmd) (*process, error) {
	watcher, err := t.client.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	defer watcher.Close()
	p, err := t.start(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.done:
			cancel(fmt.Errorf("it ended without the name: %w", p.result()))
		case <-stop:
		}
	}()
	if _, err := nextEvent(ctx, watcher, switchboard.Appeared); err != nil {
		return nil, fmt.Errorf("cannot wait for %s: %w", name, errors.Join(err, context.Cause(ctx)))
	}
	return p, nil
}

// nextEvent waits for the next event of a kind.
func nextEvent(ctx context.Context, watcher *switchboard.Watcher, kind switchboard.EventKind) (switchboard.Event, error) {
	for {
		event, err := watcher.Next(ctx)
		if err != nil || event.Kind == kind {
			return event, err
		}
	}
}

// process is one that the tour started.
type process struct {
	cmd  *exec.Cmd
	said lastWords
	done chan struct{} // closed when it has ended
	err  error         // of its end; read after done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// wait waits for the end of the process and reports a failure with what it said.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.result()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// result is how a process that is done has ended.
func (p *process) result() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), p.err, p.said.String())
}

// end ends the process and those that it started.
func (p *process) end(grace time.Duration) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.pid(), syscall.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.done
}

// lastWords keeps the end of what a process said on stderr.
type lastWords struct {
	mu   sync.Mutex // guards text: the process' copier writes while a step reads
	text []byte
}

// Write keeps the last 1,000 bytes.
func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	w.text = w.text[max(0, len(w.text)-1000):]
	return len(b), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.text))
}
