// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// say sends a message of XPC, with the descriptors of others.
func (c *machConn) say(m xpc.Message, with ...*machConn) {
	c.t.Helper()
	packet, _, err := m.Append(nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mustSend(packet, with...)
}

// hear reads a message of XPC, with its rights.
func (c *machConn) hear() (xpc.Message, []*machConn) {
	c.t.Helper()
	p := c.next()
	m, err := xpc.ParseMessage(p.data, len(p.fds), nil)
	if err != nil {
		c.t.Fatalf("%x came: %v", p.data, err)
	}
	return m, p.fds
}

// pipe calls a pipe routine and returns its answer.
func (c *machConn) pipe(r xpc.Request, with ...*machConn) (xpc.Answer, []*machConn) {
	c.t.Helper()
	r.Token = 7
	c.say(r.Message(), with...)
	m, fds := c.hear()
	if m.Kind != xpc.KindReply || m.Token != r.Token {
		c.t.Fatalf("%v: the reply is %+v", r.Routine, m)
	}
	a, err := xpc.ParseAnswer(r.Routine, m)
	if err != nil {
		c.t.Fatal(err)
	}
	return a, fds
}

// pipeRight calls what grants a right.
func (c *machConn) pipeRight(r xpc.Request, d mach.Disposition) *machConn {
	c.t.Helper()
	a, fds := c.pipe(r)
	if a.Error != xpc.OK || len(fds) != 1 || a.Port != (mach.Right{Fd: 1, Disposition: d}) {
		c.t.Fatalf("%v %q: %+v and %d descriptors", r.Routine, r.Name, a, len(fds))
	}
	if (r.Routine == xpc.CheckIn2 || r.Routine == xpc.LookUp2) && a.ReqPID != int64(os.Getpid()) {
		c.t.Fatalf("%v: req_pid is %d", r.Routine, a.ReqPID)
	}
	return fds[0]
}

func (c *machConn) pipeCheckIn(r xpc.Routine, name string) *machConn {
	c.t.Helper()
	return c.pipeRight(xpc.Request{Routine: r, Name: name, Type: xpc.RequestorDomain}, mach.MoveReceive)
}

func (c *machConn) pipeLookUp(r xpc.Routine, name string) *machConn {
	c.t.Helper()
	return c.pipeRight(xpc.Request{Routine: r, Name: name, Type: xpc.RequestorDomain}, mach.CopySend)
}

// wantPipe fails unless a routine is answered with an error.
func (c *machConn) wantPipe(code xpc.Code, r xpc.Request, with ...*machConn) {
	c.t.Helper()
	if a, fds := c.pipe(r, with...); a.Error != code || len(fds) > 0 {
		c.t.Fatalf("%v %q: %v (%d) and %d descriptors, not %v", r.Routine, r.Name, a.Error, a.Error, len(fds), code)
	}
}

// wantError fails unless a message is answered with an error.
func (c *machConn) wantError(code xpc.Code, m xpc.Message) {
	c.t.Helper()
	m.Token = 9
	c.say(m)
	c.errorIs(code, 9)
}

func (c *machConn) errorIs(code xpc.Code, token uint32) {
	c.t.Helper()
	m, fds := c.hear()
	got, err := m.Root.Int("error")
	if m.Kind != xpc.KindReply || m.Token != token || len(fds) > 0 || err != nil || xpc.Code(got) != code {
		c.t.Fatalf("the reply is %+v (%v), not error %d", m, err, code)
	}
}

// pair makes any pair of sockets.
func pair(t *testing.T) (a, b *machConn) {
	t.Helper()
	x, y, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	return newMach(t, x), newMach(t, y)
}

// xpcVector is one example of XPC.
type xpcVector struct {
	Name, Direction, Frame, Hex string
	Fds                         []string
	Expect                      struct{ Result, Action string }
}

func xpcVectors(t *testing.T) []xpcVector {
	t.Helper()
	return vectortest.Vectors[xpcVector](t, "../protocol/xpc/testdata", "xpc-vectors/1")
}
