// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/leaktest"
)

// This binary plays every part: TestMain runs the role that roleVariable names. As the program that starts brokers
// it is called with the arguments of that program.
const roleVariable = "SWITCHBOARD_TEST_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func(args []string) error{
		"broker": brokerRole, "owner": ownerRole, "caller": callerRole, "inside": insideRole, "plain": func(args []string) error {
			l, err := net.Listen("unix", args[0]+"/x")
			if err != nil {
				return err
			}
			fmt.Println("ready")
			return answer(l)
		},
		"_detach": detachRole, "serve": serveRole, "passed": passedRole,
		"network": networkRole, "acquirer": acquirerRole,
	}
	name := os.Getenv(roleVariable)
	if name == "" && len(os.Args) > 1 {
		name = os.Args[1]
	}
	if role := roles[name]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(switchboard.ExitCode(err))
		}
		return
	}
	os.Exit(leaktest.Run(m))
}

// deadline bounds every wait of a test: far above what is needed, for slow machines.
const deadline = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// brokerRole is a broker in the folder of its first argument.
func brokerRole(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b, err := broker.New(broker.Config{RuntimeDir: args[0], Ready: func() { fmt.Println("ready") }})
	if err != nil {
		return err
	}
	return b.Serve(ctx)
}

// ownerRole owns a name and answers each caller with its process id.
func ownerRole(args []string) error {
	c := newClient(args[0])
	l, err := c.Listen(context.Background(), args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return answer(l)
}

// passedRole accepts on a socket that it was launched with, once, and gives it back. The name is its own only as long as it is launched for it.
func passedRole(args []string) error {
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())) // the shim knows it
	ctx := context.Background()
	client := newClient(args[0])
	defer client.Close()
	if _, err := client.Listen(ctx, "com.example.other"); !errors.Is(err, switchboard.ErrUnavailable) {
		return fmt.Errorf("another name: %v", err)
	}
	l, err := client.Listen(ctx, "com.example.up")
	if err != nil {
		return err
	}
	if _, err := client.Listen(ctx, "com.example.up"); !errors.Is(err, switchboard.ErrUnavailable) {
		return fmt.Errorf("the same name again: %v", err)
	}
	fmt.Println("ready at", l.Path())
	c, err := l.Accept()
	if err != nil {
		return err
	}
	fmt.Fprint(c, "hello")
	c.Close()
	time.AfterFunc(time.Millisecond, func() { l.Close() })
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("after the end: %v", err)
	}
	fmt.Println("closed")
	return nil
}

func answer(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%d\n", os.Getpid())
		c.Close()
	}
}

// callerRole calls a name once and prints the answer. It may start a broker.
func callerRole(args []string) error {
	c := switchboard.New(switchboard.Config{RuntimeDir: args[0], Binary: os.Args[0]})
	defer c.Close()
	s, err := c.Status(context.Background())
	if err != nil {
		return err
	}
	fmt.Println("broker", s.PID)
	return nil
}

// insideRole finds the broker as the environment says, gives itself the name of its first argument, and calls the second.
func insideRole(args []string) error {
	l, err := switchboard.Listen(context.Background(), args[0])
	if err != nil {
		return err
	}
	e, err := switchboard.LookUp(context.Background(), args[0])
	if err != nil {
		return err
	}
	c, err := switchboard.Dial(context.Background(), args[1])
	if err != nil {
		return err
	}
	id, err := switchboard.Peer(c)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	fmt.Printf("ready in %s, called %d: %s", e.Namespace, id.PID, text)
	return answer(l)
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
		var running *broker.RunningError
		if errors.As(err, &running) {
			err = fmt.Errorf("75 %w", err)
		}
		fmt.Fprintln(ready, err)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return b.Serve(ctx)
}

// process is a role that runs.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
}

func start(t testing.TB, role string, args ...string) *process {
	t.Helper()
	return startWith(t, role, nil, nil, args...)
}

func startWith(t testing.TB, role string, env []string, files []*os.File, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, lines: make(chan string, 64), done: make(chan struct{})}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop stops the process, all of its threads.
func (p *process) stop() {
	p.t.Helper()
	noError(p.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	eventually(p.t, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err == nil && !strings.Contains(string(stat), ") T ") {
			err = errors.New("it does not stop")
		}
		return err
	})
}

// expect waits for a line that begins so and returns the rest.
func (p *process) expect(prefix string) string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		rest, found := strings.CutPrefix(line, prefix)
		if !ok || !found {
			p.t.Fatalf("the process printed %q (it runs: %t), not %q", line, ok, prefix)
		}
		return strings.TrimSpace(rest)
	case <-time.After(deadline):
		p.t.Fatalf("the process did not print %q", prefix)
	}
	return ""
}

func runtimeDir(t testing.TB) string {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// embedded is a broker in this process.
type embedded struct {
	cancel context.CancelFunc
	done   chan error
}

func embed(t testing.TB, dir string) *embedded {
	t.Helper()
	var b *broker.Broker
	eventually(t, func() (err error) { // a process just being started may hold the lock of the one before
		b, err = broker.New(broker.Config{RuntimeDir: dir, Logger: testLogger(t)})
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	e := &embedded{cancel, make(chan error, 1)}
	go func() { e.done <- b.Serve(ctx) }()
	t.Cleanup(func() { e.end(t) })
	return e
}

// end ends the broker, politely.
func (e *embedded) end(t testing.TB) {
	if e.done == nil {
		return
	}
	e.cancel()
	if err := <-e.done; err != nil {
		t.Error(err)
	}
	e.done = nil
}

func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("SWITCHBOARD_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newClient(dir string) *switchboard.Client {
	return switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
}

func client(t testing.TB, dir string) *switchboard.Client {
	c := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true, Logger: testLogger(t)})
	t.Cleanup(func() { c.Close() })
	return c
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, not %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not say %q", err, w)
		}
	}
}

// serve answers every caller of l with handle, until l is closed.
func serve(t testing.TB, l net.Listener, handle func(net.Conn)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

func echo(c net.Conn) {
	go func() {
		defer c.Close()
		io.Copy(c, c)
	}()
}
