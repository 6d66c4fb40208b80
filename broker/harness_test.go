// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/execshim"
)

// The broker under test is a process of its own, so that tests may run in parallel and yet count its descriptors and
// goroutines. This binary plays every part: TestMain runs the role that roleVariable names.
const roleVariable = "TEST_ROLE" // not SWITCHBOARD_*: definitions may not set those
const softVariable = "TEST_SOFT" // the role runs with its soft limit

func TestMain(m *testing.M) {
	execshim.Run()
	roles := map[string]func(args []string){"broker": brokerRole, "owner": ownerRole, "caller": callerRole, "backend": backendRole, "port": portRole, "machowner": machOwnerRole}
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		role(os.Args[1:])
		return
	}
	code := m.Run()
	if publicUsed.Load() {
		path, _ := publicBinary()
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

var publicUsed atomic.Bool

// deadline bounds every wait of a test: far above what is needed, for slow machines.
const deadline = 60 * time.Second

// process is a role that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	done  chan struct{} // it has been waited for
}

// start runs a role; it is killed and waited for at the end of the test at the latest.
func start(t *testing.T, role string, uid int, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	if uid != 0 {
		path, err := publicBinary()
		if err != nil {
			t.Fatal(err)
		}
		publicUsed.Store(true)
		cmd.Path = path
	}
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // or each end takes a second
	if uid != 0 && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, lines: make(chan string, 4096), done: make(chan struct{})}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
		if t.Failed() && log.Len() > 0 {
			t.Logf("%s said:\n%s", role, log.String())
		}
	})
	return p
}

// expect waits for the next line that the process prints, which must begin so, and returns the rest.
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

func (p *process) tell(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exited waits until the process is gone.
func (p *process) exited() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(deadline):
		p.t.Fatal("the process did not exit")
	}
}

// eventually waits until f returns "", which says what is still missing.
func eventually(t *testing.T, f func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline) // not the test's: it is over in a clean-up
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := f()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(missing)
		}
	}
}

// testBroker is a broker in a process of its own and a folder of its own.
type testBroker struct {
	*process
	dir   string
	empty string // its descriptors and goroutines when nobody is connected
	ended bool   // the test ended it, or means it to end
}

// startBroker starts a broker. At the end of the test, when all clients are gone, its descriptors and goroutines must be
// back to where they were, and SIGTERM must end it without a socket left.
func startBroker(t *testing.T, o brokerOptions) *testBroker {
	t.Helper()
	dir := filepath.Join(shortTemp(t), "run")
	if o.UID != 0 && os.Geteuid() == 0 { // else it is the present user
		for d := filepath.Dir(dir); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
			if err := os.Chown(d, o.UID, o.UID); err != nil {
				t.Fatal(err)
			}
		}
	}
	return startBrokerIn(t, dir, o)
}

func startBrokerIn(t *testing.T, dir string, o brokerOptions) *testBroker {
	t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &testBroker{process: start(t, "broker", o.UID, dir, string(options)), dir: dir}
	b.expect("ready")
	b.empty = b.count()
	t.Cleanup(func() {
		if b.ended || t.Failed() {
			return
		}
		b.checkDescriptors()
		eventually(t, func() string {
			if now := b.count(); now != b.empty {
				return "the broker has " + now + "; it began with " + b.empty
			}
			return ""
		})
		b.signal(syscall.SIGTERM)
		b.exited()
		if code := b.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the broker exited with %d", code)
		}
		for _, s := range []string{"session.sock", "broker.sock", "bootstrap.sock"} {
			if _, err := os.Lstat(filepath.Join(dir, s)); err == nil {
				t.Errorf("%s was left behind", s)
			}
		}
	})
	return b
}

// checkDescriptors waits until the broker's descriptors are what its directory says, no more and no less.
func (b *testBroker) checkDescriptors() {
	b.t.Helper()
	eventually(b.t, func() string {
		b.tell("check")
		if fault := b.expect("check:"); fault != "<nil>" {
			return fault
		}
		return ""
	})
}

func (b *testBroker) count() string {
	b.t.Helper()
	b.tell("count")
	return b.expect("")
}

// shortTemp is a temporary folder whose path leaves room for socket names.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// publicBinary is a copy of this binary that other users may run; TestMain removes it. Another process makes it: one that other tests
// start meanwhile would hold our descriptor for a moment, and the copy could not be executed ("text file busy").
var publicBinary = sync.OnceValues(func() (path string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "test")
	return path, errors.Join(exec.Command("cp", exe, path).Run(), os.Chmod(path, 0o755), os.Chmod(dir, 0o755))
})
