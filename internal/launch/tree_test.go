// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// running reports whether a process exists and is no zombie.
func running(pid int) bool {
	st, err := sys.StatProcess(pid)
	return err == nil && st.State != 'Z' && st.State != 'X'
}

func pids(t *testing.T, list string) []int {
	t.Helper()
	var out []int
	for f := range strings.FieldsSeq(list) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

const family = `
sleep 1000 & a=$!
setsid sleep 1000 & b=$!
env -i sleep 1000 & c=$!
nohup sh -c 'trap "" TERM; sleep 1000; :' >/dev/null 2>&1 & d=$!
until [ "$(cat /proc/$b/comm)" = sleep -a "$(cat /proc/$c/comm)" = sleep ]; do :; done
echo pids $a $b $c $d
`

func TestKillTree(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config Config
		script string
	}{
		"the main process has exited":        {Config{NoCgroup: true}, family + `exit 0`},
		"the main process runs":              {Config{NoCgroup: true}, family + `wait`},
		"the main process is stopped":        {Config{NoCgroup: true}, family + `kill -STOP $$`},
		"in a cgroup, if one can be made":    {Config{}, family + `env -i setsid sh -c 'sleep 1000; :' & exit 0`},
		"in a cgroup, the main process runs": {Config{}, family + `wait`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := launched(t, launcher(t, tt.config), shell(t, Native, tt.script), nil)
			list := pids(t, s.waitOutput(t, "pids "))
			if strings.HasSuffix(tt.script, "exit 0") {
				s.exit(t)
			}
			for _, pid := range list {
				if !running(pid) {
					t.Errorf("%d does not run before", pid)
				}
			}
			if err := s.KillTree(); err != nil {
				t.Error(err)
			}
			for _, pid := range append(list, s.PID) {
				if running(pid) {
					t.Errorf("%d still runs", pid)
				}
			}
			if _, err := sys.StatProcess(s.PID); err == nil {
				t.Error("a zombie is left")
			}
			if s.Cgroup != "" {
				if _, err := os.Stat(s.Cgroup); err == nil {
					t.Errorf("%s is left", s.Cgroup)
				}
			}
			if err := s.KillTree(); err != nil {
				t.Error(err)
			}
			if st, ok := s.Wait(); !ok || !st.Known {
				t.Error(st, ok)
			}
		})
	}
}

// A backend makes cgroups of its own below its own.
func TestNestedCgroup(t *testing.T) {
	t.Parallel()
	l := launcher(t, Config{})
	c := shell(t, Native, `mkdir -p $G/inner/most && echo 0 >$G/inner/most/cgroup.procs && echo ready && sleep 1000`)
	s := start(t, l, c, nil)
	if s.Cgroup == "" {
		t.Skip("no cgroup can be made here")
	}
	c.Env = append(c.Env, "G="+s.Cgroup)
	if err := s.Order(c); err != nil {
		t.Fatal(err)
	}
	s.waitOutput(t, "ready")
	if err := s.KillTree(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Cgroup); err == nil {
		t.Errorf("%s is left", s.Cgroup)
	}
}

// Nothing else is hit: neither another backend, nor who merely mentions the instance.
func TestKillTreeSparesOthers(t *testing.T) {
	t.Parallel()
	l := launcher(t, Config{NoCgroup: true})
	other := launched(t, l, shell(t, Native, `echo up; exec sleep 1000`), nil)
	other.waitOutput(t, "up")
	c := shell(t, Native, `echo up; exec sleep 1000`)
	s := launched(t, l, c, nil)
	s.waitOutput(t, "up")
	bystander := exec.Command("sleep", "1000")
	bystander.Env = []string{"X=SWITCHBOARD_INSTANCE=" + c.Instance, "SWITCHBOARD_INSTANCE=" + c.Instance + "0"}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	if err := s.KillTree(); err != nil {
		t.Error(err)
	}
	if !running(other.PID) || !running(bystander.Process.Pid) {
		t.Error("it hit somebody else")
	}
}

func role(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	return cmd
}

// The broker's own process, as the subreaper: orphans without any mark end too, and no zombie is left.
func TestSubreaper(t *testing.T) {
	t.Parallel()
	out, err := role(t, "subreaper").CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("good\n")) {
		t.Errorf("%v: %s", err, out)
	}
}

func playSubreaper() int {
	l, err := New(Config{Subreaper: true, NoCgroup: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer l.Close()
	log, err := os.CreateTemp("", "launch")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.Remove(log.Name())
	defer log.Close()
	// A daemon by the book: no parent, no session, no environment.
	c := Command{Instance: strings.Repeat("0a", 16), Argv: []string{"/bin/sh", "-c", `env -i setsid sh -c 'sleep 1000 & echo $!'; true & exit 0`}, Accept: Native, UID: -1, GID: -1}
	c.Env = []string{"PATH=" + rootPath, "SWITCHBOARD_INSTANCE=" + c.Instance}
	p, err := l.Start(c, nil, log)
	if err == nil {
		err = p.Order(c)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer p.Close()
	deadline := time.Now().Add(patience)
	for {
		if _, ok := p.Wait(); ok {
			break
		}
		if time.Now().After(deadline) {
			fmt.Println("it does not exit")
			return 1
		}
		time.Sleep(time.Millisecond)
	}
	orphan := 0
	for {
		b, _ := os.ReadFile(log.Name())
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			if st, err := sys.StatProcess(n); err == nil && st.Parent == os.Getpid() && running(n) {
				orphan = n
				break
			}
		}
		if time.Now().After(deadline) {
			fmt.Printf("no orphan came here: %q\n", b)
			return 1
		}
		time.Sleep(time.Millisecond)
	}
	if err := p.KillTree(); err != nil {
		fmt.Println(err)
		return 1
	}
	for len(childrenByParent()) > 0 {
		l.Reap()
		if time.Now().After(deadline) {
			fmt.Println("children are left:", childrenByParent())
			return 1
		}
		time.Sleep(time.Millisecond)
	}
	if running(orphan) {
		fmt.Println("the orphan runs")
		return 1
	}
	fmt.Println("good")
	return 0
}

// An ordinary user's launcher: no cgroup where it may make none, and everything else works.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	cmd := role(t, "subreaper")
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd.ExtraFiles = []*os.File{exe} // the folder of the test binary may be closed to others
	cmd.Path = "/proc/self/fd/3"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("good\n")) {
		t.Errorf("%v: %s", err, out)
	}
}

// Two hundred launches, eight at a time, leave no descriptor, no zombie and no cgroup.
func TestLeaks(t *testing.T) {
	cmd := role(t, "broker", "leaks")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
