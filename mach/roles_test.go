// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/mach"
)

// roles are the parts that this binary plays beside the tests. They find the bootstrap server as the environment says.
var roles = map[string]func(args []string) error{
	"own": ownRole, "hold": holdRole, "return": returnRole, "scarce": scarceRole, "_detach": detachRole, "serve": serveRole,
}

// holdID is what ownRole never answers, and never gives up.
const holdID = 9

// ownRole checks a name in and answers each call with its process id. Of messages without a reply it reads as many as its second argument
// says.
func ownRole(args []string) error {
	ctx := context.Background()
	b, err := mach.Connect(ctx, mach.Options{NoAutostart: true})
	if err != nil {
		return err
	}
	port, err := b.CheckIn(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	most := 1 << 30
	if len(args) > 1 {
		most, _ = strconv.Atoi(args[1])
	}
	for n := 0; n < most; {
		m, err := port.Receive(ctx)
		if err != nil {
			return err
		}
		if m.ID == holdID {
			fmt.Println("held")
			continue
		}
		if m.Reply == nil {
			n++
			fmt.Println("read", m.ID)
		} else if err := m.Reply.Send(ctx, &mach.Message{ID: m.ID + 100, Body: []byte(strconv.Itoa(os.Getpid()))}); err != nil {
			return err
		}
		m.Close()
	}
	<-ctx.Done()
	return nil
}

// holdRole looks a name up and keeps the right.
func holdRole(args []string) error {
	b, err := mach.Connect(context.Background(), mach.Options{NoAutostart: true})
	if err != nil {
		return err
	}
	if _, err = b.LookUp(context.Background(), args[0]); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// returnRole has a port with a message in it, that is to go to a name when this process ends.
func returnRole(args []string) error {
	ctx := context.Background()
	b, err := mach.Connect(ctx, mach.Options{NoAutostart: true})
	if err != nil {
		return err
	}
	to, err := b.LookUp(ctx, args[0])
	if err != nil {
		return err
	}
	receive, send, err := mach.NewPort()
	if err != nil {
		return err
	}
	if err := send.Send(ctx, &mach.Message{ID: 33}); err != nil {
		return err
	}
	if err := b.NotifyDestroyed(ctx, receive, to); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// scarceRole runs out of descriptors while it looks a name up and while it receives, and goes on when there are some again.
func scarceRole(args []string) error {
	ctx := context.Background()
	b, err := mach.Connect(ctx, mach.Options{NoAutostart: true})
	if err != nil {
		return err
	}
	receive, send, err := mach.NewPort()
	if err != nil {
		return err
	}
	right, err := b.LookUp(ctx, args[0])
	if err != nil {
		return err
	}
	back, reply, err := mach.NewReplyPort()
	if err != nil {
		return err
	}
	if err := send.Send(ctx, &mach.Message{Rights: []mach.Right{right}, Reply: reply}); err != nil {
		return err
	}
	if err := send.Send(ctx, &mach.Message{ID: 2}); err != nil {
		return err
	}
	var usual, none syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		return err
	}
	free, err := os.Open(os.DevNull) // the lowest number that is free
	if err != nil {
		return err
	}
	none.Cur, none.Max = uint64(free.Fd()), usual.Max
	free.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		return err
	}
	_, lookUp := b.LookUp(ctx, args[0])
	_, receiving := receive.Receive(ctx)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		return err
	}
	if mach.CodeOf(lookUp) != mach.NoMemory || mach.CodeOf(receiving) != mach.NoMemory {
		return fmt.Errorf("without descriptors: %v; %v", lookUp, receiving)
	}
	if _, err := b.LookUp(ctx, args[0]); err != nil {
		return err
	}
	if m, err := receive.Receive(ctx); err != nil || m.ID != 2 {
		return fmt.Errorf("the next message: %+v, %v", m, err)
	}
	if _, err := back.Receive(ctx); !errors.Is(err, mach.ErrNoSenders) {
		return fmt.Errorf("the reply right of what was lost: %v", err)
	}
	fmt.Println("ready")
	return nil
}

// detachRole and serveRole are what a broker is started with.
func detachRole([]string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "serve"}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{null, null, null, os.NewFile(3, "ready")}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return p.Release()
}

func serveRole([]string) error {
	ready := os.NewFile(3, "ready")
	syscall.CloseOnExec(3)
	b, err := broker.New(broker.Config{IdleExit: time.Minute, Ready: func() {
		fmt.Fprintln(ready, "ready")
		ready.Close()
	}})
	if err != nil {
		fmt.Fprintln(ready, err)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return b.Serve(ctx)
}

// process is a role that runs.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	stdin io.Closer
}

// start runs a role until the test ends, and returns when it has said "ready".
func start(t testing.TB, env []string, files []*os.File, role string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, bufio.NewScanner(out), in}
	t.Cleanup(p.kill)
	if line := p.line(); line != "ready" {
		t.Fatalf("%s says %q", role, line)
	}
	return p
}

func (p *process) line() string {
	p.lines.Scan()
	return p.lines.Text()
}

// kill kills it, and returns when it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.stdin.Close()
}

// inFolder is the environment of a role that finds the broker in a folder.
func inFolder(dir string) []string { return []string{switchboard.EnvRuntimeDir + "=" + dir} }
