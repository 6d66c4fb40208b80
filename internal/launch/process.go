// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Process is the main process of one backend: a child of this process, or one that an earlier broker left.
// Its methods may be called from several goroutines; Close comes last.
type Process struct {
	Instance string
	PID      int
	Began    uint64  // its start, in clock ticks after boot (field 22 of its stat)
	Inode    uint64  // of its pidfd; 0 before Linux 6.9
	Cgroup   string  // the folder of its own cgroup, or ""
	PIDFD    *sys.FD // readable once it has exited
	Control  *sys.FD // reports of the shim come here; non-blocking; nil unless it was started by Start

	launcher *Launcher
	child    bool

	mu     sync.Mutex // guards what follows
	reaped bool
	status Status // once known
}

// identify learns what tells the process from every other.
func (p *Process) identify() error {
	st, err := sys.StatProcess(p.PID)
	if err != nil {
		return err
	}
	id, err := sys.ProcessIDOf(p.PIDFD.Int())
	if err != nil {
		return err
	}
	p.Began, p.Inode = st.Start, id.Inode
	return nil
}

// Order tells the shim what to run. It is called once, after the process has been recorded. The error is about an order that is too
// long or cannot be sent; that the process ended meanwhile is not one (its pidfd tells).
func (p *Process) Order(c Command) error {
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	o := order.Order{Accept: c.Accept, Name: c.Name, Argv: c.Argv, Env: c.Env, Dir: dir, UID: c.UID, GID: c.GID, Groups: c.Groups}
	switch c.Accept {
	case Listener:
		o.Backlog = Backlog
	case Connection:
		o.Preamble = []byte(Preamble)
	}
	b := o.Append(nil)
	if len(b) > order.Max {
		return fmt.Errorf("the arguments and the environment of %s are %d bytes: at most %d can be passed", c.Argv[0], len(b), order.Max)
	}
	if _, err := sys.Send(p.Control.Int(), b); err != nil && err != syscall.EPIPE && err != syscall.ECONNRESET {
		return fmt.Errorf("cannot tell process %d what to run: %w", p.PID, err)
	}
	return nil
}

// Signal sends a signal to the main process. That it has exited is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := sys.SignalProcess(p.PIDFD.Int(), sig); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("cannot signal process %d: %w", p.PID, err)
	}
	return nil
}

// Wait tells, without waiting, whether the main process has exited, and how. A child stays a zombie, so that its number is nobody
// else's, until KillTree or Close reaps it. How a process that is not our child ended is known only once its parent has
// reaped it: until then the status is Unknown, and Wait may be asked again.
func (p *Process) Wait() (Status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitLocked(false)
}

// reap gives up the number of a child that has exited.
func (p *Process) reap() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, _ := p.waitLocked(true)
	return s
}

func (p *Process) waitLocked(reap bool) (Status, bool) {
	if p.status.Known && (p.reaped || !reap) {
		return p.status, true
	}
	fd := p.PIDFD.Int()
	if fd < 0 {
		return p.status, true
	}
	if p.child && !p.reaped {
		e, ok, err := sys.WaitChild(fd, reap)
		if err == nil {
			if ok {
				p.status, p.reaped = Status{Known: true, Exit: e}, reap
			}
			return p.status, ok
		}
		p.reaped = true // ECHILD: somebody else has reaped it
	}
	if e, ok := sys.ExitOf(fd); ok {
		p.status = Status{Known: true, Exit: e}
		return p.status, true
	}
	return p.status, sys.Exited(fd)
}

// Close gives back the descriptors and forgets the process, which goes on if it runs.
func (p *Process) Close() error {
	p.reap()
	p.launcher.forget(p)
	err := p.PIDFD.Close()
	if e := p.Control.Close(); err == nil {
		err = e
	}
	return err
}

// Status is how a process ended.
type Status struct {
	Known bool
	sys.Exit
}

// Success reports whether it exited with status 0.
func (s Status) Success() bool { return s.Known && s.Exit == (sys.Exit{}) }

// String goes on after a subject: "exited with status 3", "was killed by SIGSEGV (core dumped)".
func (s Status) String() string {
	switch {
	case !s.Known:
		return "exited with a status that cannot be known"
	case s.Signal != 0:
		name := signalName(s.Signal)
		if s.Core {
			name += " (core dumped)"
		}
		return "was killed by " + name
	}
	return fmt.Sprintf("exited with status %d", s.Code)
}

func signalName(sig syscall.Signal) string {
	for _, s := range []struct {
		sig  syscall.Signal
		name string
	}{
		{syscall.SIGHUP, "SIGHUP"}, {syscall.SIGINT, "SIGINT"}, {syscall.SIGQUIT, "SIGQUIT"}, {syscall.SIGILL, "SIGILL"},
		{syscall.SIGTRAP, "SIGTRAP"}, {syscall.SIGABRT, "SIGABRT"}, {syscall.SIGBUS, "SIGBUS"}, {syscall.SIGFPE, "SIGFPE"},
		{syscall.SIGKILL, "SIGKILL"}, {syscall.SIGUSR1, "SIGUSR1"}, {syscall.SIGSEGV, "SIGSEGV"}, {syscall.SIGUSR2, "SIGUSR2"},
		{syscall.SIGPIPE, "SIGPIPE"}, {syscall.SIGALRM, "SIGALRM"}, {syscall.SIGTERM, "SIGTERM"}, {syscall.SIGXCPU, "SIGXCPU"},
		{syscall.SIGXFSZ, "SIGXFSZ"}, {syscall.SIGSYS, "SIGSYS"}, {syscall.SIGPROF, "SIGPROF"}, {syscall.SIGVTALRM, "SIGVTALRM"},
	} {
		if s.sig == sig {
			return s.name
		}
	}
	return fmt.Sprintf("signal %d", int(sig))
}
