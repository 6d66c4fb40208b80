// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// portRole is a process that has to do with ports. Its arguments are what it does, the path of bootstrap.sock ("": as its environment
// says), names, and gate=FIFO (a byte from there must come first).
//
//	serve   checks its names in and answers each message with its process id
//	return  likewise one name, again and again, also at the next broker
//	read    checks a name in, and for each N that it is told reads N messages and says the number in each
//	write   checks a name in and appends the number in each message to the file to=
//	hold    looks a name up, and holds the right
//	fail    exits with status 3
//	orphan  leads a process group, checks a name in, and leaves its receive right to a child of the group; holds=no: to nobody
//	close   checks a name in, and closes its connection when it is told, and the right when it is told again
//	destroy checks the first name in, and wants it to go to the second, a port to be told, when it is destroyed
func portRole(args []string) {
	mode, path, names, with := args[0], args[1], []string{}, map[string]string{}
	for _, a := range args[2:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			with[k] = v
		} else {
			names = append(names, a)
		}
	}
	waitAt(with["gate"])
	if mode == "fail" {
		os.Exit(3)
	}
	if path == "" {
		path = os.Getenv("SWITCHBOARD_BOOTSTRAP")
	}
	for mode == "return" {
		checkInUntilEnd(path, names[0])
		time.Sleep(time.Millisecond)
	}
	fd, err := sys.Connect(path, sys.Seqpacket, false)
	if err != nil {
		panic(err)
	}
	c := newMach(panicker{}, fd)
	switch in := bufio.NewScanner(os.Stdin); mode {
	case "serve":
		done := make(chan bool)
		for _, n := range names {
			port := c.checkInSoon(n)
			go func() { servePort(port); done <- true }()
		}
		fmt.Println("checked in")
		for range names {
			<-done
		}
		os.Exit(0)
	case "read":
		port := c.checkInSoon(names[0])
		fmt.Println("checked in")
		for in.Scan() {
			n, _ := strconv.Atoi(in.Text())
			for range n {
				fmt.Println("read", number(port.next()))
			}
		}
	case "write":
		port := c.checkInSoon(names[0])
		out, err := os.OpenFile(with["to"], os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			panic(err)
		}
		for {
			fmt.Fprint(out, number(port.next()), " ")
		}
	case "hold":
		port := c.lookUp(names[0])
		fmt.Println("looked up")
		in.Scan()
		port.close()
		fmt.Println("closed")
	case "orphan":
		if err := syscall.Setpgid(0, 0); err != nil {
			panic(err)
		}
		port := c.checkInSoon(names[0])
		child := exec.Command("sleep", "1000")
		if with["holds"] != "no" {
			child.ExtraFiles = []*os.File{os.NewFile(uintptr(port.fd.Int()), "port")}
		}
		if err := child.Start(); err != nil {
			panic(err)
		}
		fmt.Println("checked in", child.Process.Pid)
	case "close":
		port := c.checkInSoon(names[0])
		fmt.Println("checked in")
		in.Scan()
		c.close()
		fmt.Println("closed")
		in.Scan()
		port.close()
		fmt.Println("closed")
	case "destroy":
		port, to := c.checkInSoon(names[0]), c.lookUp(names[1])
		c.want(mach.OK, notifyRequest(mach.PortDestroyed, mach.MoveReceive), port, to)
		fmt.Println("checked in")
	}
	select {}
}

// checkInUntilEnd checks a name in and answers, until the broker is gone. That may be at any moment.
func checkInUntilEnd(path, name string) {
	fd, err := sys.Connect(path, sys.Seqpacket, false)
	if err != nil {
		return
	}
	c := newMach(panicker{}, fd)
	defer c.close()
	defer func() {
		if !sys.HungUp(fd.Int()) {
			return
		}
		_ = recover()
	}()
	port := c.checkInSoon(name)
	go servePort(port)
	for !sys.HungUp(fd.Int()) {
		time.Sleep(time.Millisecond)
	}
	_ = sys.Shutdown(port.fd.Int())
}

// checkInSoon checks a name in as soon as it is nobody else's.
func (c *machConn) checkInSoon(name string) *machConn {
	c.t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		reply, fds := c.call(mach.Request{Routine: mach.CheckIn, Service: name})
		if reply.Code == mach.OK {
			return fds[0]
		}
		if reply.Code != mach.ServiceActive || time.Now().After(end) {
			c.t.Fatalf("check_in of %s: %v", name, reply.Code)
		}
	}
}

// servePort answers each message that wants it with this process' id.
func servePort(port *machConn) {
	for {
		p, err := port.receive()
		if err != nil {
			if err.Error() == "nothing came" {
				continue
			}
			return
		}
		if local := binary.LittleEndian.Uint32(p.data[12:]); local != 0 {
			h := mach.Header{Bits: mach.NewBits(false, mach.MoveSendOnce, 0), Remote: local, ID: 600}
			_ = p.fds[0].send(mach.Message{Header: h, Body: []byte(strconv.Itoa(os.Getpid()))}.Append(nil))
		}
		for _, fd := range p.fds {
			fd.close()
		}
	}
}

// numbered is a message with a number.
func numbered(n int) []byte {
	return mach.Message{Header: mach.Header{Bits: mach.NewBits(false, mach.CopySend, 0), ID: 500}, Body: binary.LittleEndian.AppendUint64(nil, uint64(n))}.Append(nil)
}

func number(p machPacket) int { return int(binary.LittleEndian.Uint64(p.data[mach.HeaderSize:])) }

// post sends a message as soon as there is room.
func (c *machConn) post(packet []byte, with ...*machConn) {
	c.t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(100 * time.Microsecond) {
		err := c.send(packet, with...)
		if err == nil {
			return
		}
		if err != syscall.EAGAIN || time.Now().After(end) {
			c.t.Fatal(err)
		}
	}
}

// question sends what wants a reply, and returns where that will come.
func (c *machConn) question() *machConn {
	c.t.Helper()
	receive, send := portPair(c.t)
	h := mach.Header{Bits: mach.NewBits(false, mach.CopySend, mach.MakeSendOnce), Local: 9, ID: 500}
	c.post(mach.Message{Header: h}.Append(nil), send)
	send.close()
	return receive
}

// answered returns the process that answered a question.
func (c *machConn) answered() (pid int) {
	c.t.Helper()
	p := c.next()
	m, err := mach.ParseMessage(p.data, len(p.fds), mach.OnPort)
	if err == nil && m.Header.Remote == 9 {
		pid, err = strconv.Atoi(string(m.Body))
	}
	if err != nil || pid == 0 {
		c.t.Fatalf("the answer is %x: %v", p.data, err)
	}
	return pid
}

// told reads a notification.
func (c *machConn) told(want mach.Notification) []*machConn {
	c.t.Helper()
	p := c.next()
	got, err := mach.ParseNotification(p.data, len(p.fds))
	if err != nil || got != want {
		c.t.Fatalf("%+v (%v) came, not %+v", got, err, want)
	}
	return p.fds
}

// died is told for a reply port that gets no reply.
func (c *machConn) died() {
	c.t.Helper()
	c.told(mach.Notification{Event: mach.SendOnceDied, Port: 9})
}

func notifyRequest(e mach.Event, right mach.Disposition) mach.Request {
	return mach.Request{Routine: mach.Notify, Event: e, Right: mach.Right{Fd: 1, Disposition: right}, To: mach.Right{Fd: 2, Disposition: mach.MakeSendOnce}}
}

// porter starts a process of portRole.
func porter(t *testing.T, b *testBroker, mode string, args ...string) *process {
	t.Helper()
	return start(t, "port", 0, append([]string{mode, b.dir + "/bootstrap.sock"}, args...)...)
}

// undeclares has a created service taken back at the end of the test, when what the test begins after this is over.
func (b *testBroker) undeclares(name string) {
	b.t.Cleanup(func() {
		if b.t.Failed() {
			return
		}
		c := bootstrap(b.t, b.dir)
		defer c.close()
		eventually(b.t, func() string {
			if code := c.code(mach.Request{Routine: mach.Register, Service: name, Right: mach.Right{Disposition: mach.CopySend}}); code != mach.OK {
				return name + " cannot be undeclared: " + code.String()
			}
			return ""
		})
	})
}

// kill ends a process and waits for it.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.exited()
}

// devNull is no right at all.
func devNull(t *testing.T) *sys.FD {
	t.Helper()
	n, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return sys.NewFD(n)
}
