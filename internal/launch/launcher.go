// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Config is what a Launcher is made from. The zero value launches by this program's own file.
type Config struct {
	Shim      string // a program whose main calls execshim.Run; "" is this one
	Subreaper bool   // this process belongs to the broker alone: orphans of backends become its children, and it reaps every child
	NoCgroup  bool   // do not make cgroups even where it is possible
}

// Launcher starts backends and knows those that live. Its methods may be called from several goroutines.
type Launcher struct {
	shim      string
	subreaper bool
	groups    *cgroups
	null      *os.File

	// forking is held for reading from before a fork until its child is known, and for writing while unknown children are reaped or killed.
	forking sync.RWMutex

	mu   sync.Mutex // guards what follows
	live map[*Process]bool
}

// New prepares launching. With Subreaper it makes this process a subreaper, and moves it out of the cgroup of the backend that
// started it, if there is one.
func New(c Config) (*Launcher, error) {
	if c.Shim == "" {
		c.Shim = "/proc/self/exe" // also after an upgrade replaced the file: the shim is always of this version
	}
	if c.Subreaper {
		if err := sys.SetSubreaper(true); err != nil {
			return nil, err
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	l := &Launcher{shim: c.Shim, subreaper: c.Subreaper, null: null, groups: new(cgroups), live: make(map[*Process]bool)}
	if !c.NoCgroup {
		l.groups = findCgroups(c.Subreaper)
	}
	return l, nil
}

// Close gives back what New took. Processes are left as they are.
func (l *Launcher) Close() error { return l.null.Close() }

// Start forks the exec shim for c, which then waits for its order. socket is the listening socket (Accept Listener) or the caller's
// connection (Connection), else nil; it and log stay the caller's, also after success. Start takes about as long as a fork and an
// exec; it must not be called under a lock that others wait for.
func (l *Launcher) Start(c Command, socket *sys.FD, log *os.File) (*Process, error) {
	if needs := c.Accept == Listener || c.Accept == Connection; needs != (socket.Int() >= 0) {
		return nil, fmt.Errorf("launch: accept %s with the socket %d", c.Accept, socket.Int())
	}
	if log == nil {
		log = l.null
	}
	control, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := sys.SetNonblock(theirs.Int(), false); err != nil {
		control.Close()
		return nil, err
	}
	output := log.Fd()
	files := []uintptr{l.null.Fd(), output, output, uintptr(theirs.Int())}
	switch c.Accept {
	case Listener:
		files = append(files, uintptr(socket.Int()))
	case Connection:
		files[0], files[1] = uintptr(socket.Int()), uintptr(socket.Int())
	}
	p := &Process{Instance: c.Instance, Control: control, launcher: l, child: true}
	group, err := l.groups.make(c.Instance)
	if err != nil {
		control.Close()
		return nil, err
	}
	err = l.fork(p, files, group)
	if p.Cgroup == "" {
		group.remove()
	}
	group.close()
	if err != nil {
		control.Close()
		return nil, fmt.Errorf("cannot start %s: %w", l.shim, err)
	}
	if err := p.identify(); err != nil {
		return nil, errors.Join(err, p.KillTree(), p.Close())
	}
	return p, nil
}

// fork starts the shim in its cgroup; where that is refused, in none, then and (unless that was for the moment) for all later ones.
func (l *Launcher) fork(p *Process, files []uintptr, group *cgroup) error {
	argv, env := []string{order.ShimName}, []string{order.ShimMark + "=" + order.ShimValue}
	l.forking.RLock()
	defer l.forking.RUnlock()
	pid, pidfd, err := fork(l.shim, argv, env, files, group.fd())
	if err != nil && group != nil {
		var refused error
		refused, group = err, nil
		if pid, pidfd, err = fork(l.shim, argv, env, files, -1); err == nil {
			l.groups.refused(refused)
		}
	}
	if err != nil {
		return err
	}
	p.PID, p.PIDFD = pid, pidfd
	if group != nil {
		p.Cgroup = group.path
	}
	l.mu.Lock()
	l.live[p] = true
	l.mu.Unlock()
	return nil
}

// Apart runs start, which forks and executes a program that is no backend. Unless that has SWITCHBOARD_INSTANCE in its environment, it may be
// taken for what a backend left behind. A nil Launcher runs it, too.
func (l *Launcher) Apart(start func() error) error {
	if l != nil {
		l.forking.RLock()
		defer l.forking.RUnlock()
	}
	return start()
}

// Reap reaps the exited children that are no backends: orphans that came to this process as the subreaper. It returns how many.
// Call it on SIGCHLD. Without Config.Subreaper it does nothing, since children may be somebody else's.
func (l *Launcher) Reap() int {
	if !l.subreaper {
		return 0
	}
	l.forking.Lock()
	defer l.forking.Unlock()
	n := 0
	for _, pid := range children() {
		if l.knows(pid) {
			continue
		}
		if _, ok, _ := sys.ReapChild(pid); ok {
			n++
		}
	}
	return n
}

// knows reports whether a child is a backend.
func (l *Launcher) knows(pid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.live {
		if p.child && p.PID == pid {
			return true
		}
	}
	return false
}

// onlyOne reports whether no other backend than p lives without a cgroup.
func (l *Launcher) onlyOne(p *Process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := range l.live {
		if q != p && q.Cgroup == "" {
			return false
		}
	}
	return true
}

func (l *Launcher) forget(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, p)
}
