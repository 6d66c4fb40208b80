// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection between a client and its backend, at either end. It is a
// net.Conn.
type Conn struct {
	socket *net.UnixConn
	handed bool

	mu  sync.Mutex
	put []byte // back: what was read to see who calls; mu guards it
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// HandedOff reports whether the broker handed this connection over (section 10),
// instead of the client's connecting to the backend's path.
func (c *Conn) HandedOff() bool { return c.handed }

// Read reads from the connection.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if len(c.put) > 0 {
		n := copy(b, c.put)
		if c.put = c.put[n:]; len(c.put) == 0 {
			c.put = nil // the memory
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.socket.Read(b)
}

// Write writes to the connection.
func (c *Conn) Write(b []byte) (int, error) { return c.socket.Write(b) }

// Close closes the connection.
func (c *Conn) Close() error { return c.socket.Close() }

// CloseRead ends what is read. The client is not told.
func (c *Conn) CloseRead() error { return c.socket.CloseRead() }

// CloseWrite ends what is written: the other side reads the end.
func (c *Conn) CloseWrite() error { return c.socket.CloseWrite() }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// SetDeadline sets the time from which on Read and Write fail.
func (c *Conn) SetDeadline(t time.Time) error { return c.socket.SetDeadline(t) }

// SetReadDeadline sets the time from which on Read fails.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.socket.SetReadDeadline(t) }

// SetWriteDeadline sets the time from which on Write fails.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// SyscallConn returns the socket, for options of it and to ask who is at the other
// end. A backend has read the first bytes of it already: they come from Read only.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }
