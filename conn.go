// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Conn is a connection between a caller and a service: a stream socket between the two processes. It is a net.Conn.
type Conn struct {
	name   string
	called bool // by us; else it called us

	file *os.File // owns the descriptor
	raw  syscall.RawConn

	// Of a connection that was handed over to who we called: who wrote the verdict.
	cred  sys.Cred
	pidfd *pidfd

	silence *silence // of a connection to a path that was called, else nil

	closed      atomic.Bool
	read, write half
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// half is one direction of a Conn. Its function is bound once, so that reading and writing allocate nothing.
type half struct {
	mu   sync.Mutex // held during the operation
	p    []byte
	n    int
	err  error
	step func(fd uintptr) bool
}

// newConn makes a connection of a descriptor, which it takes over. O_NONBLOCK is only needed here, to be
// admitted to Go's poller: whoever has a duplicate may clear it later, so every call below is MSG_DONTWAIT.
func newConn(fd *sys.FD, name string, called bool) (*Conn, error) {
	if err := sys.SetNonblock(fd.Int(), true); err != nil {
		fd.Close()
		return nil, err
	}
	return wrapConn(os.NewFile(uintptr(fd.Take()), name), name, called)
}

func wrapConn(file *os.File, name string, called bool) (*Conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	c := &Conn{name: name, called: called, file: file, raw: raw}
	c.read.step, c.write.step = c.readStep, c.writeStep
	return c, nil
}

// Name returns the name that was called.
func (c *Conn) Name() string { return c.name }

// Read implements net.Conn. Where the service accepts by itself, and closes the connection before its first byte because it could not be started, the
// error is an [*Error] with the reason, and not io.EOF. Descriptors that come with the bytes are dropped; to receive them use SyscallConn and recvmsg
// with MSG_DONTWAIT.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r := &c.read
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p = p
	err := c.raw.Read(r.step)
	r.p = nil
	if err == nil {
		err = r.err
	}
	switch {
	case err != nil:
		return 0, c.explained(c.failed("read", err))
	case r.n == 0:
		return 0, c.explained(io.EOF)
	case c.silence != nil:
		c.silence.broken.Store(true)
	}
	return r.n, nil
}

func (c *Conn) readStep(fd uintptr) bool {
	r := &c.read
	r.n, r.err = sys.Read(int(fd), r.p)
	return r.err != syscall.EAGAIN
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	w := &c.write
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p, w.n, w.err = p, 0, nil
	err := c.raw.Write(w.step)
	w.p = nil
	if err == nil {
		err = w.err
	}
	if err != nil {
		err = c.explained(c.failed("write", err))
	}
	return w.n, err
}

func (c *Conn) writeStep(fd uintptr) bool {
	w := &c.write
	for w.n < len(w.p) {
		n, err := sys.Send(int(fd), w.p[w.n:])
		if err == syscall.EAGAIN {
			return false
		}
		if w.err = err; err != nil {
			return true
		}
		w.n += n
	}
	return true
}

// failed puts an error into the form that users of net.Conn expect.
func (c *Conn) failed(op string, err error) error {
	if c.closed.Load() || errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: Addr{}.Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close closes the connection. Closing it again does nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.file.Close() // returns when nobody uses the descriptor any more, nor what follows
	_ = c.pidfd.close()
	if err != nil {
		return c.failed("close", err)
	}
	return nil
}

// CloseWrite says to the other side that nothing more comes: it reads end-of-file. Reading goes on.
func (c *Conn) CloseWrite() error {
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { err = sys.ShutdownWrite(int(fd)) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return c.failed("close", err)
	}
	return nil
}

// File returns a blocking duplicate of the descriptor, to be given to a child process. The two share one open socket:
// who makes one of them non-blocking makes both so. The Conn works either way.
func (c *Conn) File() (*os.File, error) {
	var file *os.File
	var err error
	if cerr := c.raw.Control(func(fd uintptr) {
		var dup *sys.FD
		if dup, err = sys.Dup(int(fd)); err != nil {
			return
		}
		if err = sys.SetNonblock(dup.Int(), false); err != nil {
			dup.Close()
			return
		}
		file = os.NewFile(uintptr(dup.Take()), c.name)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, c.failed("file", err)
	}
	return file, nil
}

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// LocalAddr returns an Addr: of the caller its process, of the service its name.
func (c *Conn) LocalAddr() net.Addr {
	if c.called {
		return Addr{PID: os.Getpid()}
	}
	return Addr{Name: c.name}
}

// RemoteAddr returns an Addr: of the caller its process, of the service its name.
func (c *Conn) RemoteAddr() net.Addr {
	if c.called {
		return Addr{Name: c.name}
	}
	var cred sys.Cred
	_ = c.raw.Control(func(fd uintptr) { cred, _ = sys.PeerCred(int(fd)) }) // 0 says that it is not known
	return Addr{PID: cred.PID}
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.set("set deadline", t, c.file.SetDeadline) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.set("set deadline", t, c.file.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.set("set deadline", t, c.file.SetWriteDeadline)
}

func (c *Conn) set(op string, t time.Time, set func(time.Time) error) error {
	if err := set(t); err != nil {
		return c.failed(op, err)
	}
	return nil
}

// identity is what Peer returns for this connection.
func (c *Conn) identity() (Identity, error) {
	if c.cred.PID == 0 && c.pidfd == nil {
		id, err := socketPeer(c.raw)
		if err != nil {
			return Identity{}, c.failed("peer", err)
		}
		return id, nil
	}
	id := Identity{PID: c.cred.PID, UID: c.cred.UID, GID: c.cred.GID}
	if c.pidfd == nil {
		return id, nil
	}
	var dup *sys.FD
	var err error
	// Inside Control the connection isn't closed, nor is this.
	if cerr := c.raw.Control(func(uintptr) { dup, err = c.pidfd.dup() }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return Identity{}, c.failed("peer", err)
	}
	id.pidfd = newPIDFD(dup)
	return id, nil
}
