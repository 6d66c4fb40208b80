// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
	"github.com/switchboard-ipc/switchboard/execshim"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func TestMain(m *testing.M) {
	execshim.Run()
	playRole()
	goleak.VerifyTestMain(m)
}

// deadline bounds every wait of a test: far above what is needed, for slow machines.
const deadline = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// startBroker runs a broker until stop is called, or the test is over.
func startBroker(t testing.TB, dir string) (stop func()) {
	t.Helper()
	_, stop = brokertest.Start(t, broker.Config{RuntimeDir: dir})
	return stop
}

func runtimeDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// service is a network service with a broker of its own.
type service struct {
	dir        string // the broker's
	networks   string // folder of files
	stopBroker func()
	stop       func() // ends the service and waits for it
	ended      chan struct{}
	ready      chan struct{} // gets one each time that the name is checked in
}

// newService runs a service, and a broker for it, until the test is over.
func newService(t testing.TB, change func(*network.Config)) *service {
	t.Helper()
	s := &service{dir: runtimeDir(t), networks: t.TempDir(), ended: make(chan struct{}), ready: make(chan struct{}, 16)}
	s.stopBroker = startBroker(t, s.dir)
	c := network.Config{
		Mach: mach.Options{RuntimeDir: s.dir, NoAutostart: true}, Folders: []string{s.networks},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Ready:  func() { s.ready <- struct{}{} },
	}
	if change != nil {
		change(&c)
	}
	n, err := network.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(s.ended)
		if err := n.Serve(ctx); err != nil {
			t.Error("service:", err)
		}
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-s.ended
	})
	t.Cleanup(s.stop)
	s.await(t, s.ready)
	return s
}

func (s *service) await(t testing.TB, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(deadline):
		t.Fatal("it takes too long")
	}
}

// client is a connection of XPC messages made of raw sockets.
type client struct {
	t       testing.TB
	in, out *sys.FD // in: what the service sends
	token   uint32
}

// lookUp looks the service's port up.
func (s *service) lookUp(t testing.TB) *mach.SendRight {
	t.Helper()
	b, err := mach.Connect(testContext(t), mach.Options{RuntimeDir: s.dir, NoAutostart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	port, err := b.LookUp(testContext(t), vmnet.Service)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (s *service) connect(t testing.TB) *client {
	t.Helper()
	port := s.lookUp(t)
	defer port.Close()
	return connectTo(t, port)
}

// connectTo makes the handshake of a connection at a port.
func connectTo(t testing.TB, port *mach.SendRight) *client {
	t.Helper()
	f, err := port.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	theirs1, ours1, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	ours2, theirs2, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, in: ours2, out: ours1}
	t.Cleanup(c.close)
	defer theirs1.Close()
	defer theirs2.Close()
	packet, _, err := xpc.Message{Kind: xpc.KindHandshake, Rights: []wire.Right{{Fd: 1}, {Fd: 2}}}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) { // the port may be full
		_, err := sys.Send(int(f.Fd()), packet, theirs1.Int(), theirs2.Int())
		if err == nil {
			return c
		}
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (c *client) close() {
	c.in.Close()
	c.out.Close()
}

// send sends a request that wants a reply.
func (c *client) send(root xpc.Dict) {
	c.t.Helper()
	c.token++
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: c.token, Root: root}.Append(nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := sys.Send(c.out.Int(), packet); err != nil {
		c.t.Fatal(err)
	}
}

var errHungUp = errors.New("the service has hung up")

// receive waits for one message.
func (c *client) receive() (xpc.Message, []*sys.FD, error) {
	c.t.Helper()
	b := sys.NewBuffer(128 << 10)
	poller, err := sys.NewPoller()
	if err != nil {
		c.t.Fatal(err)
	}
	defer poller.Close()
	if err := poller.Add(c.in.Int(), sys.Readable, 1); err != nil {
		c.t.Fatal(err)
	}
	end := time.Now().Add(deadline)
	for time.Now().Before(end) {
		n, err := b.Recv(c.in.Int())
		if err == nil && n == 0 {
			return xpc.Message{}, nil, errHungUp
		}
		if err == nil {
			m, err := xpc.ParseMessage(b.Data[:n], len(b.FDs), nil)
			if err != nil {
				c.t.Fatal(err)
			}
			var fds []*sys.FD
			for _, fd := range b.FDs {
				fds = append(fds, sys.NewFD(fd))
			}
			return m, fds, nil
		}
		if _, err := poller.Wait(end, nil); err != nil {
			c.t.Fatal(err)
		}
	}
	c.t.Fatal("there is no message")
	return xpc.Message{}, nil, nil
}

// call sends a request and returns its reply.
func (c *client) call(root xpc.Dict) (xpc.Dict, []*sys.FD) {
	c.t.Helper()
	c.send(root)
	m, fds, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	if m.Kind != xpc.KindReply || m.Token != c.token {
		c.t.Fatalf("got %+v, want the reply to %d", m, c.token)
	}
	return m.Root, fds
}

// acquired is a lease as a client sees it.
type acquired struct {
	vmnet.Details
	fd *sys.FD
}

// acquire acquires a network; the error is a code.
func (c *client) acquire(r vmnet.Request) (acquired, error) {
	c.t.Helper()
	r.Command = vmnet.Acquire
	root, fds := c.call(r.Dict())
	d, err := vmnet.ParseDetails(root)
	if err != nil {
		return acquired{}, err
	}
	if len(fds) != 1 {
		c.t.Fatalf("there are %d descriptors in the reply, want 1", len(fds))
	}
	c.t.Cleanup(func() { fds[0].Close() })
	return acquired{d, fds[0]}, nil
}

func (c *client) mustAcquire(name string) acquired {
	c.t.Helper()
	a, err := c.acquire(vmnet.Request{Network: name})
	if err != nil {
		c.t.Fatalf("acquire %s: %v", name, err)
	}
	return a
}
