// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Whoever is being started while the tree of another is killed is not taken for an orphan of that one.
func TestKillTreeSparesStarting(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	out, err := role(t, "broker", "storm").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// playStorm launches from two goroutines; each tree is killed while the other goroutine forks.
func playStorm() int {
	l, err := New(Config{Subreaper: true, NoCgroup: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer l.Close()
	var work sync.WaitGroup
	failed := make(chan error, 2)
	for i := range 2 {
		work.Go(func() {
			for j := range 300 {
				if err := launchTrue(l, fmt.Sprintf("%032x", i*300+j)); err != nil {
					failed <- fmt.Errorf("launch %d: %w", j, err)
					return
				}
			}
		})
	}
	work.Wait()
	close(failed)
	bad := 0
	for err := range failed {
		fmt.Println(err)
		bad = 1
	}
	if left := childrenByParent(); bad == 0 && len(left) > 0 {
		fmt.Println("children are left:", left)
		bad = 1
	}
	return bad
}

func launchTrue(l *Launcher, id string) error {
	c := Command{Instance: id, Argv: []string{"/bin/true"}, Accept: Native, UID: -1, GID: -1, Env: []string{"SWITCHBOARD_INSTANCE=" + id}}
	p, err := l.Start(c, nil, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Order(c); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
		if _, ok := p.Wait(); ok {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not exit", p.PID)
		}
	}
	if err := p.KillTree(); err != nil {
		return err
	}
	if st, ok := p.Wait(); !ok || !st.Success() {
		return fmt.Errorf("it %v", st)
	}
	return nil
}

// A stale record's number may have become that of somebody else's session: what is in it is not touched.
func TestRemainsSparesSessions(t *testing.T) {
	t.Parallel()
	leader := exec.Command("/bin/sh", "-c", "sleep 300 & echo $!; read x")
	leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := leader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	leader.Stdout = out // no pipe: the child would keep it open
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	session := leader.Process.Pid
	began, err := sys.StatProcess(session)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	eventually(t, "the child's number", func() bool {
		b, err := os.ReadFile(out.Name())
		if list := pids(t, string(b)); err == nil && len(list) == 1 && strings.HasSuffix(string(b), "\n") {
			child = list[0]
		}
		return child != 0
	})
	fd, err := sys.PIDFDOpen(child)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	defer func() { _ = sys.SignalProcess(fd.Int(), syscall.SIGKILL) }()
	in.Close()
	_ = leader.Wait()
	if st, err := sys.StatProcess(child); err != nil || st.Session != session {
		t.Fatalf("%+v, %v", st, err)
	}
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Instance: instance(t), PID: session, Began: began.Start, Boot: boot}
	q := launcher(t, Config{}).Remains(r)
	if err := q.KillTree(); err != nil {
		t.Error(err)
	}
	q.Close()
	if sys.Exited(fd.Int()) || !running(child) {
		t.Error("a process that was in no way the backend's was killed")
	}
	r.Cgroup = filepath.Join(t.TempDir(), groupPrefix+r.Instance)
	if launcher(t, Config{}).Remains(r) != nil {
		t.Error("something is said to be left in a cgroup that is gone")
	}
}

// Where there is no room for one more cgroup, the launch goes without; later ones have theirs again.
func TestCgroupsForAMoment(t *testing.T) {
	t.Parallel()
	for _, e := range []syscall.Errno{syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.ENOMEM} {
		g := &cgroups{parent: "/somewhere"}
		g.refused(&os.PathError{Op: "mkdir", Path: "/somewhere", Err: e})
		if g.parent == "" {
			t.Errorf("%v ends it for good", e)
		}
	}
	own := launcher(t, Config{}).groups.parent
	full := filepath.Join(own, "launch-test-"+instance(t))
	if own == "" || os.Mkdir(full, 0o755) != nil {
		t.Skip("no cgroup can be made here")
	}
	defer removeGroup(full)
	limit := filepath.Join(full, "cgroup.max.descendants")
	if err := os.WriteFile(limit, []byte("0"), 0); err != nil {
		t.Skip(err)
	}
	l := launcher(t, Config{})
	l.groups = &cgroups{parent: full}
	if s := launched(t, l, shell(t, Native, "exit 0"), nil); s.Cgroup != "" || !s.exit(t).Success() {
		t.Errorf("in %q, %v", s.Cgroup, s.exit(t))
	}
	if err := os.WriteFile(limit, []byte("max"), 0); err != nil {
		t.Fatal(err)
	}
	s := launched(t, l, shell(t, Native, "exit 0"), nil)
	if s.Cgroup == "" {
		t.Error("there is room again, and it has no cgroup")
	}
	s.exit(t)
	if err := s.KillTree(); err != nil { // before the folder around it is removed
		t.Error(err)
	}
}
