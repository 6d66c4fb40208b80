// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Environment of programs that clients have started: the number of the bootstrap port, and that they are no remains of a backend.
const (
	bootstrapVariable = "SWITCHBOARD_BOOTSTRAP_FD"
	instanceVariable  = "SWITCHBOARD_INSTANCE"
)

// spawn starts a program with a bootstrap port of the client's namespace, beside whoever reads the request. It outlives the client, and the
// broker.
func (c *machCall) spawn() {
	b, l := c.b(), &c.req.Launch
	unnamed := func(v string) bool { return strings.IndexByte(v, '=') < 1 }
	switch why := c.mayNotSpawn(); {
	case why != "":
		c.refuse(mach.NotPrivileged, why)
		return
	case l.Flags != 0 || !filepath.IsAbs(l.Path):
		c.refuse(mach.InvalidArgument, "the path is to be absolute, and the flags 0")
		return
	case len(l.Args) == 0:
		c.refuse(mach.InvalidArgument, "there are no arguments: the first is the program's own name")
		return
	case slices.ContainsFunc(l.Env, unnamed):
		c.refuse(mach.InvalidArgument, "a variable is not KEY=value")
		return
	}
	later, why := c.later()
	if why != "" {
		c.refuse(mach.NoMemory, why)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.besides >= maxBeside {
		later.kept.Close()
		c.refuse(mach.NoMemory, "too much is being done beside the loop: try again later")
		return
	}
	b.besides++
	b.tasks.Go(func() {
		pid, code, err := b.startFor(later.s, &later.req.Launch)
		later.finish(func() {
			if err != nil {
				later.refuse(code, err.Error())
				return
			}
			b.log.Info("program started", "pid", pid, "program", later.req.Launch.Path, "for", later.s.peer.PID, "uid", later.s.peer.UID)
			reply := later.req.Granted()
			reply.Value = int32(pid)
			_ = later.answer(reply)
		})
		b.mu.Lock()
		b.besides--
		b.mu.Unlock()
	})
}

// mayNotSpawn says why no program is started for a client, whatever it asks for, or nothing.
func (c *machCall) mayNotSpawn() string {
	switch b := c.b(); {
	case !slices.Contains(b.config.Allow, AllowLaunch):
		return "this broker starts no programs: it is not allowed to (serve --allow launch)"
	case c.s.sealed():
		return "no program is started from a sealed namespace"
	default:
		return b.foreign(c.s.peer)
	}
}

// startFor forks and executes, which takes as long as the file system does.
func (b *Broker) startFor(s *machSession, l *mach.Launch) (pid int, code mach.Code, err error) {
	b.mu.Lock()
	boot, _, err := b.newWay(way{namespace: s.namespace, path: s.path, chain: s.chain}, 0)
	b.mu.Unlock()
	if err != nil {
		return 0, mach.NoMemory, err
	}
	file := os.NewFile(uintptr(boot.Take()), "bootstrap port")
	defer file.Close()
	handle := -1 // of the process, from the fork on: its number may be another's soon
	cmd := &exec.Cmd{Path: l.Path, Args: l.Args, Dir: "/", ExtraFiles: []*os.File{file}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	sys.AskPIDFD(cmd.SysProcAttr, &handle)
	for _, v := range l.Env {
		if !strings.HasPrefix(v, bootstrapVariable+"=") && !strings.HasPrefix(v, instanceVariable+"=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, bootstrapVariable+"=3", instanceVariable+"=spawned")
	if err := b.launcher.Apart(cmd.Start); err != nil {
		return 0, mach.Failure, fmt.Errorf("cannot start it: %w", err)
	}
	pid = cmd.Process.Pid
	b.mu.Lock()
	err = b.watch(&descriptor{id: b.table.id(), kind: spawnedWatch, fd: sys.NewFD(handle), spawned: cmd})
	b.mu.Unlock()
	if err != nil {
		b.log.Warn("cannot watch a program that was started", "pid", pid, "err", err)
		go reap(cmd) // it may run for ever, and the broker's end does not wait for it
	}
	return pid, mach.OK, nil
}

// spawnedExited reaps a program. The loop's.
func (b *Broker) spawnedExited(d *descriptor) {
	b.mu.Lock()
	b.drop(d.id)
	b.mu.Unlock()
	reap(d.spawned) // it has exited
}

// reap waits for a program, and gives its handle back, also where another part of the broker had reaped it.
func reap(cmd *exec.Cmd) {
	_ = cmd.Wait()
	_ = cmd.Process.Release()
}

// later returns the request as one that is answered when its packet is somebody else's, or why it cannot be.
func (c *machCall) later() (*machCall, string) {
	l := *c
	l.p = &packet{Buffer: &sys.Buffer{}, reply: make([]byte, 0, 256)}
	if c.conn != nil || c.replyTo < 0 {
		return &l, ""
	}
	fd, err := sys.Dup(c.replyTo)
	if err != nil {
		return nil, err.Error()
	}
	if r := c.b().scarce(fd); r.Reason != directory.OK {
		fd.Close()
		return nil, r.Text
	}
	l.replyTo, l.kept = fd.Int(), fd
	return &l, ""
}

// finish answers a request that later returned.
func (c *machCall) finish(answer func()) {
	if c.conn == nil {
		answer()
		c.kept.Close()
		return
	}
	c.conn.read.Lock()
	defer c.conn.read.Unlock()
	if c.conn.closed {
		c.req.Token = 0 // there is nobody to be answered
	}
	answer()
	if len(c.conn.unsent) > 0 && !c.conn.closed {
		_ = c.conn.file.SetReadDeadline(time.Unix(1, 0)) // its goroutine waits for room from now on
	}
}
