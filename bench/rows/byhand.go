// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// byHand does what a caller would without a broker.
func byHand(path string, program []string) (first, error) {
	_ = os.Remove(path)
	start := sys.Monotonic()
	l, err := sys.Listen(path, sys.Stream, launch.Backlog)
	if err != nil {
		return first{}, err
	}
	defer l.Close()
	if err := sys.SetNonblock(l.Int(), false); err != nil {
		return first{}, err
	}
	forked := sys.Monotonic()
	files := []uintptr{0, 1, 2, uintptr(l.Int())}
	pid, err := syscall.ForkExec(program[0], program, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return first{}, os.NewSyscallError("fork", err)
	}
	defer ended(pid)
	a, err := callAt(path)
	if err != nil {
		return first{}, err
	}
	defer syscall.Close(a.fd)
	if err := a.more(); err != nil {
		return first{}, err
	}
	return since(start, forked, a)
}

// byHandConnected is byHand for a program that has a connection.
func byHandConnected(program []string) (first, error) {
	start := sys.Monotonic()
	ours, theirs, err := sys.Pair(sys.Stream)
	if err != nil {
		return first{}, err
	}
	defer ours.Close()
	for _, s := range []*sys.FD{ours, theirs} {
		if err := sys.SetNonblock(s.Int(), false); err != nil {
			return first{}, err
		}
	}
	forked := sys.Monotonic()
	files := []uintptr{uintptr(theirs.Int()), uintptr(theirs.Int()), 2}
	pid, err := syscall.ForkExec(program[0], program, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	_ = theirs.Close()
	if err != nil {
		return first{}, os.NewSyscallError("fork", err)
	}
	defer ended(pid)
	a := &answered{fd: ours.Int()}
	if err := a.more(); err != nil {
		return first{}, err
	}
	return since(start, forked, a)
}

func ended(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// byShim is byHand with the broker's own way to start a program.
func byShim(l *launch.Launcher, path string, program []string) (f first, err error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	c := launch.Command{
		Instance: hex.EncodeToString(id[:]), Name: "bench", Argv: program, Accept: launch.Listener, UID: -1, GID: -1, Env: os.Environ(),
	}
	_ = os.Remove(path)
	start := sys.Monotonic()
	socket, err := sys.Listen(path, sys.Stream, launch.Backlog)
	if err != nil {
		return first{}, err
	}
	defer socket.Close()
	forked := sys.Monotonic()
	p, err := l.Start(c, socket, os.Stderr)
	if err != nil {
		return first{}, err
	}
	defer func() { err = errors.Join(err, p.KillTree(), p.Close()) }()
	if err := p.Order(c); err != nil {
		return first{}, err
	}
	a, err := callAt(path)
	if err != nil {
		return first{}, err
	}
	defer syscall.Close(a.fd)
	if err := a.more(); err != nil {
		return first{}, err
	}
	return since(start, forked, a)
}
