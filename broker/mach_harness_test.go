// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// machConn is a control connection, or a port of which a test reads or writes an end. What it receives is closed at the end of the test.
type machConn struct {
	t   fataler
	fd  *sys.FD
	buf *sys.Buffer
}

// machPacket is what one receive brought.
type machPacket struct {
	data []byte
	fds  []*machConn // each of them a right
}

func newMach(t fataler, fd *sys.FD) *machConn {
	c := &machConn{t: t, fd: fd, buf: sys.NewBuffer(64 << 10)}
	t.Cleanup(func() { c.close() })
	return c
}

// bootstrap connects to bootstrap.sock.
func bootstrap(t fataler, dir string) *machConn {
	t.Helper()
	fd, err := sys.Connect(filepath.Join(dir, "bootstrap.sock"), sys.Seqpacket, false)
	if err != nil {
		t.Fatal(err)
	}
	return newMach(t, fd)
}

// portPair makes a port of the test's own.
func portPair(t fataler) (receive, send *machConn) {
	t.Helper()
	r, s, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	return newMach(t, r), newMach(t, s)
}

func (c *machConn) close() { c.fd.Close() }

// send sends a packet, with the descriptors of others.
func (c *machConn) send(packet []byte, with ...*machConn) error {
	var fds []int
	for _, w := range with {
		fds = append(fds, w.fd.Int())
	}
	_, err := sys.Send(c.fd.Int(), packet, fds...)
	return err
}

func (c *machConn) mustSend(packet []byte, with ...*machConn) {
	c.t.Helper()
	if err := c.send(packet, with...); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for a packet; io.EOF: the other side is gone.
func (c *machConn) receive() (machPacket, error) {
	end := time.Now().Add(deadline)
	for {
		n, err := c.buf.Recv(c.fd.Int())
		if err == syscall.EAGAIN {
			if time.Now().After(end) {
				return machPacket{}, errors.New("nothing came")
			}
			time.Sleep(200 * time.Microsecond)
			continue
		}
		if err != nil {
			return machPacket{}, err
		}
		if n == 0 {
			return machPacket{}, io.EOF
		}
		p := machPacket{data: bytes.Clone(c.buf.Data[:n])}
		for _, fd := range c.buf.FDs {
			p.fds = append(p.fds, newMach(c.t, sys.NewFD(fd)))
		}
		if c.buf.PIDFD >= 0 {
			syscall.Close(c.buf.PIDFD)
		}
		return p, nil
	}
}

// next is receive for what must come.
func (c *machConn) next() machPacket {
	c.t.Helper()
	p, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// silent fails if something can be read.
func (c *machConn) silent() {
	c.t.Helper()
	if n, err := c.buf.Recv(c.fd.Int()); err != syscall.EAGAIN {
		c.t.Fatalf("%d bytes came (%v) where nothing should", n, err)
	}
}

// closed fails unless the other side closes.
func (c *machConn) closed() {
	c.t.Helper()
	if p, err := c.receive(); err == nil {
		c.t.Fatalf("%x came; the connection was to be closed", p.data)
	}
}

// call sends a request and returns its reply.
func (c *machConn) call(r mach.Request, with ...*machConn) (mach.Reply, []*machConn) {
	c.t.Helper()
	r.Token = 7
	packet, err := r.Append(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mustSend(packet, with...)
	return c.reply(r)
}

// reply reads the reply to a request.
func (c *machConn) reply(r mach.Request) (mach.Reply, []*machConn) {
	c.t.Helper()
	p := c.next()
	reply, err := mach.ParseReply(p.data, len(p.fds))
	if err != nil {
		c.t.Fatalf("%v: %v", r.Routine, err)
	}
	if reply.ID != r.Routine.ID()+100 || reply.Token != r.Token {
		c.t.Fatalf("%v: the reply has id %d and token %d", r.Routine, reply.ID, reply.Token)
	}
	return reply, p.fds
}

// code is call for what has no rights in its reply.
func (c *machConn) code(r mach.Request, with ...*machConn) mach.Code {
	c.t.Helper()
	reply, _ := c.call(r, with...)
	return reply.Code
}

// want fails unless the request is answered with the code, in 36 bytes if that is not OK.
func (c *machConn) want(code mach.Code, r mach.Request, with ...*machConn) {
	c.t.Helper()
	reply, _ := c.call(r, with...)
	if reply.Code != code || code != mach.OK && reply.Shape != mach.StatusReply {
		c.t.Fatalf("%v %q: %v (%d) and shape %d, not %v", r.Routine, r.Service, reply.Code, reply.Code, reply.Shape, code)
	}
}

// right is call for what grants a right with a disposition.
func (c *machConn) right(d mach.Disposition, r mach.Request, with ...*machConn) *machConn {
	c.t.Helper()
	reply, fds := c.call(r, with...)
	if len(fds) != 1 || reply.Right != (mach.Right{Fd: 1, Disposition: d}) {
		c.t.Fatalf("%v %q: code %v, right %v, %d descriptors", r.Routine, r.Service, reply.Code, reply.Right, len(fds))
	}
	return fds[0]
}

func (c *machConn) checkIn(name string) *machConn {
	c.t.Helper()
	return c.right(mach.MoveReceive, mach.Request{Routine: mach.CheckIn, Service: name})
}

func (c *machConn) lookUp(name string) *machConn {
	c.t.Helper()
	return c.right(mach.CopySend, mach.Request{Routine: mach.LookUp, Service: name})
}

func (c *machConn) createService(name string) *machConn {
	c.t.Helper()
	return c.right(mach.CopySend, mach.Request{Routine: mach.CreateService, Service: name})
}

func (c *machConn) unknown(name string) {
	c.t.Helper()
	c.want(mach.UnknownService, mach.Request{Routine: mach.LookUp, Service: name})
}

// register registers a send right under a name.
func (c *machConn) register(name string, send *machConn) {
	c.t.Helper()
	c.want(mach.OK, registerRequest(name), send)
}

func registerRequest(name string) mach.Request {
	return mach.Request{Routine: mach.Register, Service: name, Right: mach.Right{Fd: 1, Disposition: mach.CopySend}}
}

// undeclare takes a created service back, as soon as its last owner's processes are gone.
func (c *machConn) undeclare(name string) {
	c.t.Helper()
	eventually(c.t.(*testing.T), func() string {
		r := mach.Request{Routine: mach.Register, Service: name, Right: mach.Right{Disposition: mach.CopySend}}
		if code := c.code(r); code != mach.OK {
			return name + " cannot be taken back: " + code.String()
		}
		return ""
	})
}

// status returns what the status routine says of a name.
func (c *machConn) status(name string) int32 {
	c.t.Helper()
	reply, _ := c.call(mach.Request{Routine: mach.Status, Service: name})
	if reply.Code != mach.OK {
		return -int32(reply.Code)
	}
	return reply.Value
}

// becomes waits until a look-up of a name is answered with a code.
func (c *machConn) becomes(name string, code mach.Code) {
	c.t.Helper()
	t := c.t.(*testing.T)
	eventually(t, func() string {
		if got := c.code(mach.Request{Routine: mach.LookUp, Service: name}); got != code {
			return "look_up of " + name + " says " + got.String()
		}
		return ""
	})
}

// passes fails unless what is sent to one end comes out of the other.
func passes(send, receive *machConn) {
	send.t.Helper()
	m := mach.Message{Header: mach.Header{Bits: mach.NewBits(false, mach.CopySend, 0), ID: 1234}, Body: []byte("payload")}
	packet := m.Append(nil)
	send.mustSend(packet)
	if got := receive.next(); !bytes.Equal(got.data, packet) {
		send.t.Fatalf("%x came, not %x", got.data, packet)
	}
}
