// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// machConn is a control connection on which packets are sent as they are.
type machConn struct {
	c     *net.UnixConn
	token uint32
}

// machDial connects to a broker; the connection ends with the test.
func machDial(t *testing.T, socket string) *machConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(machPatience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &machConn{c: c, token: 100}
}

// send sends a packet with descriptors.
func (m *machConn) send(t *testing.T, packet []byte, fds ...*os.File) {
	t.Helper()
	var control []byte
	if len(fds) > 0 {
		numbers := make([]int, len(fds))
		for i, f := range fds {
			numbers[i] = int(f.Fd())
		}
		control = syscall.UnixRights(numbers...)
	}
	if _, _, err := m.c.WriteMsgUnix(packet, control, nil); err != nil {
		t.Fatalf("cannot send: %v", err)
	}
}

// receive reads a packet and what came with it; io.EOF: the other side has hung up.
func (m *machConn) receive(t *testing.T) (packet []byte, fds []*os.File, err error) {
	t.Helper()
	packet, control := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(mach.MaxFds*4))
	n, nc, flags, _, err := m.c.ReadMsgUnix(packet, control)
	if errors.Is(err, syscall.ECONNRESET) || err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, nil, err
	}
	if flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
		t.Fatalf("a packet is cut: flags %#x", flags)
	}
	messages, err := syscall.ParseSocketControlMessage(control[:nc])
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range messages {
		numbers, err := syscall.ParseUnixRights(&one)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range numbers {
			syscall.CloseOnExec(fd)
			f := os.NewFile(uintptr(fd), "right")
			t.Cleanup(func() { f.Close() })
			fds = append(fds, f)
		}
	}
	return packet[:n], fds, nil
}

// reply reads a reply.
func (m *machConn) reply(t *testing.T) (mach.Reply, []*os.File) {
	t.Helper()
	packet, fds, err := m.receive(t)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	reply, err := mach.ParseReply(packet, len(fds))
	if err != nil {
		t.Fatalf("the reply %x with %d descriptors: %v", packet, len(fds), err)
	}
	return reply, fds
}

// call sends a request and returns its reply.
func (m *machConn) call(t *testing.T, req mach.Request, fds ...*os.File) (mach.Reply, []*os.File) {
	t.Helper()
	m.token++
	req.Token = m.token
	packet, err := req.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	m.send(t, packet, fds...)
	reply, got := m.reply(t)
	if reply.Token != req.Token || reply.ID != req.Routine.ID()+100 {
		t.Fatalf("%v with token %d is answered by %+v", req.Routine, req.Token, reply)
	}
	return reply, got
}

// must is call that has to succeed; it returns the right of the reply, if it has one.
func (m *machConn) must(t *testing.T, req mach.Request, fds ...*os.File) *os.File {
	t.Helper()
	reply, got := m.call(t, req, fds...)
	if reply.Code != mach.OK {
		t.Fatalf("%v of %q: code %d, %v", req.Routine, req.Service, reply.Code, reply.Code)
	}
	if len(got) == 0 {
		return nil
	}
	return got[0]
}

// machPort is a fresh port; both ends are closed with the test.
func machPort(t *testing.T) (receive, send *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	receive, send = os.NewFile(uintptr(fds[0]), "receive"), os.NewFile(uintptr(fds[1]), "send")
	t.Cleanup(func() { receive.Close(); send.Close() })
	return receive, send
}

// machHangup waits until nobody holds the other end of a port.
func machHangup(t *testing.T, f *os.File) {
	t.Helper()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(machPatience))
	if n, err := c.Read(make([]byte, 256)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the other end of a right is open: %d bytes, %v", n, err)
	}
}

// machReaches sees that what is sent to one end of a port arrives at the other.
func machReaches(t *testing.T, send, receive *os.File) {
	t.Helper()
	packet := mach.Message{Header: mach.Header{Bits: mach.NewBits(false, mach.CopySend, 0), Remote: 1, ID: 7199}, Body: make([]byte, 12)}.Append(nil)
	if _, err := syscall.SendmsgN(int(send.Fd()), packet, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL); err != nil {
		t.Errorf("cannot send to a port: %v", err)
		return
	}
	got := make([]byte, 256)
	n, _, _, _, err := syscall.Recvmsg(int(receive.Fd()), got, nil, syscall.MSG_DONTWAIT)
	if err != nil || string(got[:n]) != string(packet) {
		t.Errorf("a port received %x, %v, and not %x", got[:max(n, 0)], err, packet)
	}
}

// createPort declares a port that nobody has checked in.
func (m *machSide) createPort(t *testing.T, name string) {
	t.Helper()
	c := machDial(t, m.socket())
	defer c.c.Close()
	c.must(t, mach.Request{Routine: mach.CreateService, Service: name}).Close()
}

// undeclare waits until the name is nobody's and ends it.
func (m *machSide) undeclare(t *testing.T, name string) {
	t.Helper()
	until(t, "the name to be inactive", func() bool { return m.portState(t, name) == 0 })
	c := machDial(t, m.socket())
	defer c.c.Close()
	c.must(t, mach.Request{Routine: mach.Register, Service: name, Right: mach.Right{Disposition: mach.CopySend}})
}

// portState is what status says of a port: 0 inactive, 1 active, 2 on demand.
func (m *machSide) portState(t *testing.T, name string) int32 {
	t.Helper()
	c := machDial(t, m.socket())
	defer c.c.Close()
	reply, _ := c.call(t, mach.Request{Routine: mach.Status, Service: name})
	if reply.Code != mach.OK {
		t.Fatalf("status of %q: code %d", name, reply.Code)
	}
	return reply.Value
}
