// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Identity is a process at the other end of a connection, as the kernel vouches for it. The ids are as seen from here: PID 0 is a
// process that this pid namespace does not show. Close it when it is no longer needed.
type Identity struct {
	PID, UID, GID int

	pidfd *pidfd // nil: the process is gone, or the kernel has no pidfds for sockets (before Linux 6.5)
}

// pidfd is a descriptor of a process that is closed also if who had it drops it.
type pidfd struct{ fd *sys.FD }

// newPIDFD takes fd over; of nil it makes nil.
func newPIDFD(fd *sys.FD) *pidfd {
	if fd == nil {
		return nil
	}
	p := &pidfd{fd}
	runtime.AddCleanup(p, func(fd *sys.FD) { fd.Close() }, fd)
	return p
}

func (p *pidfd) open() bool { return p != nil && p.fd.Int() >= 0 }

func (p *pidfd) dup() (*sys.FD, error) {
	defer runtime.KeepAlive(p)
	return sys.Dup(p.fd.Int())
}

func (p *pidfd) close() error {
	if p == nil {
		return nil
	}
	return p.fd.Close()
}

// PIDFD returns a new descriptor of the process (pidfd), the caller's to close: it becomes readable when the process exits, and
// names no other process ever. The error is os.ErrProcessDone if it is not to be had.
func (i Identity) PIDFD() (*os.File, error) {
	if !i.pidfd.open() {
		return nil, fmt.Errorf("cannot open process %d: %w", i.PID, os.ErrProcessDone)
	}
	fd, err := i.pidfd.dup()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd.Take()), fmt.Sprintf("pidfd of %d", i.PID)), nil
}

// Executable returns the path of the program that the process runs now. It may refuse a peer, never admit one: the process can execute
// another program right after it connected. The error is os.ErrProcessDone if the process has exited.
func (i Identity) Executable() (string, error) {
	defer runtime.KeepAlive(i.pidfd)
	if !i.pidfd.open() || i.PID == 0 {
		return "", fmt.Errorf("cannot tell the program of process %d: %w", i.PID, os.ErrProcessDone)
	}
	return sys.Executable(i.PID, i.pidfd.fd.Int())
}

// Close gives up the Identity's hold on the process. The ids stay.
func (i Identity) Close() error {
	return i.pidfd.close()
}

// Peer says who is at the other end of a connection: of a service that was called, the process that accepted
// it; of a caller, the process that called. Connections of this package will do, Unix sockets, and what wraps one of them and
// has a method NetConn, as *tls.Conn has.
func Peer(c net.Conn) (Identity, error) {
	for {
		switch v := c.(type) {
		case *Conn:
			return v.identity()
		case interface{ NetConn() net.Conn }:
			c = v.NetConn()
		case syscall.Conn:
			if a := c.LocalAddr(); a == nil || a.Network() != "unix" {
				return Identity{}, fmt.Errorf("cannot tell the peer of a %T, which is no Unix socket: %w", c, errors.ErrUnsupported)
			}
			raw, err := v.SyscallConn()
			if err != nil {
				return Identity{}, fmt.Errorf("cannot tell the peer: %w", err)
			}
			return socketPeer(raw)
		default:
			return Identity{}, fmt.Errorf("cannot tell the peer of a %T: %w", c, errors.ErrUnsupported)
		}
	}
}

// socketPeer asks the kernel who connected a socket, or listened on it. It keeps hold of that process itself, whatever number the
// process had, so it is not too late to ask.
func socketPeer(raw syscall.RawConn) (id Identity, err error) {
	if cerr := raw.Control(func(fd uintptr) {
		var cred sys.Cred
		if cred, err = sys.PeerCred(int(fd)); err != nil {
			return
		}
		id.PID, id.UID, id.GID = cred.PID, cred.UID, cred.GID
		if fd, err := sys.PeerPIDFD(int(fd)); err == nil {
			id.pidfd = newPIDFD(fd)
		}
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return Identity{}, fmt.Errorf("cannot tell the peer: %w", err)
	}
	return id, nil
}
