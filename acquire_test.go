// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
)

// networkRole is a network service at the broker of its first argument, with the networks of its second.
func networkRole(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := network.New(network.Config{Mach: mach.Options{RuntimeDir: args[0]}, Folders: []string{args[1]}, Ready: func() { fmt.Println("ready") }})
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// serveNetworks starts a network service, with a network "closed" that is for nobody here.
func serveNetworks(t *testing.T, dir string) *process {
	t.Helper()
	folder := t.TempDir()
	noError(t, os.Chmod(folder, 0o755))
	noError(t, os.WriteFile(filepath.Join(folder, "closed.toml"), []byte("mode = \"shared\"\nallow_uid = [4242]\n"), 0o600))
	noError(t, os.WriteFile(filepath.Join(folder, "faulty.toml"), []byte("mode = \"shared\"\nspeed = 1\n"), 0o600))
	p := start(t, "network", dir, folder)
	p.expect("ready")
	return p
}

func acquire(t *testing.T, c *switchboard.Client, network string, opts ...switchboard.AcquireOption) *switchboard.Lease {
	t.Helper()
	lease, err := c.Acquire(testContext(t), network, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lease.Close() })
	return lease
}

// sameDescriptors waits until there are no more descriptors than before: the broker here closes its own a moment later.
func sameDescriptors(t *testing.T, before int) {
	t.Helper()
	eventually(t, func() error {
		if after := leaktest.Descriptors(); after > before {
			return fmt.Errorf("there are %d descriptors, and were %d", after, before)
		}
		return nil
	})
}

// frame is an Ethernet frame of an experimental type.
func frame(to, from net.HardwareAddr, text string) []byte {
	return bytes.Join([][]byte{to, from, {0x88, 0xb5}, []byte(text), make([]byte, 46)}, nil)
}

// TestAcquire has two guests on one network talk in frames, and gives their interfaces back.
func TestAcquire(t *testing.T) {
	dir := runtimeDir(t)
	embed(t, dir)
	serveNetworks(t, dir)
	c := newClient(dir)
	defer c.Close()
	before := leaktest.Descriptors()
	one := acquire(t, c, "shared", switchboard.AcquireID("one"), switchboard.AcquireKind(switchboard.DatagramInterface))
	two := acquire(t, c, "shared", switchboard.AcquireID("two"), switchboard.AcquireKind(switchboard.DatagramInterface), switchboard.AcquireDriver("user"))
	for _, l := range []*switchboard.Lease{one, two} {
		if l.Network != "shared" || l.Mode != "shared" || l.Kind != switchboard.DatagramInterface || l.Driver != "user" || l.ID == 0 || l.MTU != 1500 {
			t.Errorf("the lease is %+v", l)
		}
		if !l.Subnet.Contains(l.IP) || !l.Subnet.Contains(l.Gateway) || l.DNS != l.Gateway || l.Mask.String() != "ffffff00" || len(l.MAC) != 6 || l.Err() != nil {
			t.Errorf("the lease is %+v, and its error %v", l, l.Err())
		}
	}
	if one.Name != "one" || two.Name != "two" || one.IP == two.IP || one.MAC.String() == two.MAC.String() || one.Subnet != two.Subnet {
		t.Errorf("the leases are %+v and %+v", one, two)
	}
	if _, err := one.Interface.Write(frame(two.MAC, one.MAC, "hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2000)
	n, err := two.Interface.Read(got)
	if err != nil || !bytes.HasPrefix(got[:n], frame(two.MAC, one.MAC, "hello")) {
		t.Errorf("read %q (%v)", got[:n], err)
	}
	service, err := c.Networks(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	leases, err := service.Leases(testContext(t), "shared")
	if err != nil || len(leases) != 2 || leases[0].Identity != "one" || leases[1].Identity != "two" {
		t.Errorf("the leases are %+v (%v)", leases, err)
	}
	one.Close()
	two.Close()
	select {
	case <-one.Done():
	default:
		t.Error("a closed lease is not done")
	}
	if err := one.Err(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error of a closed lease is %v", err)
	}
	if holders, err := one.Holders(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the holders of a closed lease are %v (%v)", holders, err)
	}
	if leases, err := service.Leases(testContext(t), ""); err != nil || len(leases) != 0 {
		t.Errorf("after the end there are %+v (%v)", leases, err)
	}
	again := acquire(t, c, "shared", switchboard.AcquireID("two"))
	if again.IP != two.IP || again.MAC.String() != two.MAC.String() || again.Kind != switchboard.StreamInterface {
		t.Errorf("the same id has %+v, and had %+v", again, two)
	}
	again.Close()
	service.Close()
	sameDescriptors(t, before)
}

// TestAcquireRefused: each refusal has its code, and says what to do.
func TestAcquireRefused(t *testing.T) {
	dir := runtimeDir(t)
	embed(t, dir)
	serveNetworks(t, dir)
	c := newClient(dir)
	defer c.Close()
	before := leaktest.Descriptors()
	for _, test := range []struct {
		network string
		opts    []switchboard.AcquireOption
		code    switchboard.NetworkCode
		is      error
		says    string
	}{
		{"com.example.none", nil, switchboard.NetworkNotFound, switchboard.ErrUnavailable, "switchboard network check"},
		{"faulty", nil, switchboard.NetworkNotFound, switchboard.ErrUnavailable, "faulty.toml:2"},
		{"closed", nil, switchboard.NetworkNotAllowed, switchboard.ErrNotAllowed, "allow_uid"},
		{"shared", []switchboard.AcquireOption{switchboard.AcquireKind("tap")}, switchboard.NetworkInvalidRequest, switchboard.ErrUsage, "kind"},
		{"shared", []switchboard.AcquireOption{switchboard.AcquireDriver("kernel")}, switchboard.NetworkInvalidRequest, switchboard.ErrUsage, "driver"},
		{"", nil, 0, switchboard.ErrUsage, "the name of a network is wanted"},
	} {
		lease, err := c.Acquire(testContext(t), test.network, test.opts...)
		var code switchboard.NetworkCode
		errors.As(err, &code)
		if lease != nil || code != test.code || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: lease %v, code %d, %v", test.network, lease, code, err)
		}
	}
	sameDescriptors(t, before)
}

// TestAcquireDeath: who holds a lease is told when the service dies, and has the same addresses from the next.
func TestAcquireDeath(t *testing.T) {
	dir := runtimeDir(t)
	embed(t, dir)
	service := serveNetworks(t, dir)
	c := newClient(dir)
	defer c.Close()
	lease := acquire(t, c, "shared", switchboard.AcquireID("one"))
	service.kill()
	select {
	case <-lease.Done():
	case <-time.After(deadline):
		t.Fatal("nobody told of the service's death")
	}
	var code switchboard.NetworkCode
	if err := lease.Err(); errors.Is(err, switchboard.ErrNetworkStopped) || strings.Contains(err.Error(), "the broker") {
		t.Errorf("one that was killed: %v", err)
	}
	if err := lease.Err(); !errors.As(err, &code) || code != switchboard.NetworkFailure || !errors.Is(err, switchboard.ErrTryAgain) {
		t.Errorf("the error is %v", err)
	}
	if n, err := lease.Interface.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the interface has %d bytes (%v)", n, err)
	}
	lease.Close()
	serveNetworks(t, dir)
	again := acquire(t, c, "shared", switchboard.AcquireID("one"))
	if again.MAC.String() != lease.MAC.String() || again.IP != lease.IP {
		t.Errorf("the lease is %+v, and was %+v", again, lease)
	}
}

// TestAcquireEnds: the end of the service on purpose and that of the interface alone are told as what they are.
func TestAcquireEnds(t *testing.T) {
	dir := runtimeDir(t)
	embed(t, dir)
	service := serveNetworks(t, dir)
	c := newClient(dir)
	defer c.Close()
	faulty, lease := acquire(t, c, "shared", switchboard.AcquireID("faulty")), acquire(t, c, "shared", switchboard.AcquireID("one"))
	for _, test := range []struct {
		lease *switchboard.Lease
		end   func() error
		want  error
	}{
		{faulty, func() error { _, err := faulty.Interface.Write(make([]byte, 4)); return err }, switchboard.ErrInterfaceEnded},
		{lease, func() error { return service.cmd.Process.Signal(syscall.SIGTERM) }, switchboard.ErrNetworkStopped},
	} {
		noError(t, test.end())
		select {
		case <-test.lease.Done():
		case <-time.After(deadline):
			t.Fatalf("nobody told of: %v", test.want)
		}
		if err := test.lease.Err(); !errors.Is(err, test.want) || !errors.Is(err, switchboard.ErrTryAgain) {
			t.Errorf("the error is %v, want %v", err, test.want)
		}
	}
}

// TestAcquireSystem asks the system's broker for what the user's has not, and only then.
func TestAcquireSystem(t *testing.T) {
	dir, system := runtimeDir(t), runtimeDir(t)
	embed(t, dir)
	embed(t, system)
	serveNetworks(t, system)
	c := newClient(dir)
	defer c.Close()
	c.SetSystemFolder(system)
	lease := acquire(t, c, "shared")
	alone := newClient(filepath.Join(dir, "nothing")) // and no broker of its own is needed
	defer alone.Close()
	alone.SetSystemFolder(system)
	acquire(t, alone, "shared")
	serveNetworks(t, dir)
	if other := acquire(t, c, "shared"); other.ID != lease.ID {
		t.Errorf("the user's own service gave lease %d, which is not its first", other.ID)
	}
}

// TestAcquireAlone: without a service to be started, it says what to build; and only asking starts nothing at all.
func TestAcquireAlone(t *testing.T) {
	dir := runtimeDir(t)
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true, Binary: os.Args[0]})
	defer c.Close()
	c.SetSystemFolder(filepath.Join(dir, "nothing"))
	if _, err := c.Networks(testContext(t)); !errors.Is(err, switchboard.ErrNoNetworkService) || !errors.Is(err, switchboard.ErrUnavailable) {
		t.Errorf("without a broker: %v", err)
	}
	if _, err := c.Acquire(testContext(t), "shared"); !errors.Is(err, switchboard.ErrUnavailable) || !strings.Contains(err.Error(), "no broker runs") {
		t.Errorf("without a broker: %v", err)
	}
	embed(t, dir)
	if _, err := c.Networks(testContext(t)); !errors.Is(err, switchboard.ErrNoNetworkService) {
		t.Errorf("without a service: %v", err)
	}
	if _, err := exec.LookPath("switchboard-network"); err == nil {
		t.Log("switchboard-network is installed here")
		return
	}
	if _, err := c.Acquire(testContext(t), "shared"); !errors.Is(err, switchboard.ErrUnavailable) || !strings.Contains(err.Error(), "go install") {
		t.Errorf("without a program: %v", err)
	}
}

// TestAcquireOddService asks a service that does not answer, or hangs up each time.
func TestAcquireOddService(t *testing.T) {
	dir := runtimeDir(t)
	embed(t, dir)
	b, err := mach.Connect(testContext(t), mach.Options{RuntimeDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	port, err := b.CheckIn(testContext(t), switchboard.NetworkService)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	c := newClient(dir)
	defer c.Close()
	c.SetPatience(50 * time.Millisecond)
	before := leaktest.Descriptors()
	if _, err := c.Acquire(context.Background(), "shared"); !errors.Is(err, switchboard.ErrTryAgain) || !strings.Contains(err.Error(), "has not answered for 50ms") {
		t.Errorf("one that does not answer: %v", err)
	}
	soon, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Acquire(soon, "shared"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if m, err := port.Receive(testContext(t)); err == nil {
		m.Close()
	}
	sameDescriptors(t, before)
	c.SetPatience(deadline)
	hungUp := make(chan int)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		n := 0
		for ; ; n++ {
			m, err := port.Receive(ctx)
			if err != nil {
				break
			}
			m.Close()
		}
		hungUp <- n
	}()
	_, err = c.Acquire(testContext(t), "shared")
	var code switchboard.NetworkCode
	if !errors.As(err, &code) || code != switchboard.NetworkFailure {
		t.Errorf("one that hangs up: %v", err)
	}
	stop()
	if n := <-hungUp; n < 2 {
		t.Errorf("it was asked %d times", n)
	}
}

// TestAcquireUnprivileged acquires as an ordinary user, with a broker and a service of that user's. (Run by one, all tests are that.)
func TestAcquireUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "switchboard-nobody-") // which others may enter, as they may not t.TempDir()
	noError(t, err)
	defer os.RemoveAll(dir)
	run := filepath.Join(dir, "run")
	binary := filepath.Join(dir, "test")
	noError(t, errors.Join(os.Chmod(dir, 0o755), os.Mkdir(run, 0o700), os.Chown(run, nobody, nobody), exec.Command("cp", os.Args[0], binary).Run()))
	role := func(role string, args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Dir, cmd.Stderr = "/", os.Stderr
		cmd.Env = []string{roleVariable + "=" + role, "HOME=/", "PATH=" + os.Getenv("PATH")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	for _, words := range [][]string{{"broker", run}, {"network", run, dir}} {
		cmd := role(words[0], words[1:]...)
		out, err := cmd.StdoutPipe()
		noError(t, err)
		noError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		})
		line := make([]byte, 6)
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "ready\n" {
			t.Fatalf("the %s said %q (%v)", words[0], line, err)
		}
	}
	out, err := role("acquirer", run).Output()
	if err != nil || !strings.HasPrefix(string(out), strconv.Itoa(nobody)+" 192.168.") {
		t.Errorf("the client said %q (%v)", out, err)
	}
}

// acquirerRole acquires once, and says as whom, and what.
func acquirerRole(args []string) error {
	c := newClient(args[0])
	defer c.Close()
	lease, err := c.Acquire(context.Background(), "shared")
	if err != nil {
		return err
	}
	defer lease.Close()
	fmt.Println(os.Geteuid(), lease.IP)
	return nil
}
