// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// killPatience is how long KillTree waits for what it has killed. Only a process stuck in the kernel takes longer.
const killPatience = 5 * time.Second

// KillTree kills whatever of the backend still runs, the main process included, waits until it is gone, and reaps it. It may be called
// whether or not the main process has exited, and again. It takes from 1 ms up to 5 s: never call it under a lock.
//
// With a cgroup that is every process in it. Without one: every process of its session, every process that has
// SWITCHBOARD_INSTANCE of this instance in its environment, and, in a subreaper, orphans that show neither, as soon as no
// other backend without a cgroup lives that they might belong to. Of Remains: the cgroup, or those with the mark.
func (p *Process) KillTree() error {
	deadline := time.Now().Add(killPatience)
	pause := 200 * time.Microsecond
	for {
		if p.PIDFD != nil {
			_ = sys.SignalProcess(p.PIDFD.Int(), syscall.SIGKILL)
		}
		left := p.killOthers()
		exited := true
		if p.PIDFD != nil {
			_, exited = p.Wait()
		}
		if len(left) == 0 && exited {
			break
		}
		if time.Now().After(deadline) {
			if !exited {
				left = append(left, p.PID)
			}
			return fmt.Errorf("of the backend that was process %d, these processes do not end after SIGKILL: %s", p.PID, numbers(left))
		}
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
	// A process that is not our child: its parent, usually process 1, reaps it in a moment.
	for i := 0; i < 100 && p.PIDFD != nil && !p.reap().Known && !p.child; i++ {
		time.Sleep(time.Millisecond)
	}
	if p.Cgroup != "" {
		removeGroup(p.Cgroup)
	}
	p.launcher.forget(p)
	p.launcher.Reap()
	return nil
}

// killOthers kills what belongs to the backend beside the main process, and returns what may still run.
func (p *Process) killOthers() []int {
	if p.Cgroup != "" && !inGroup(p.Cgroup) {
		return killGroup(p.Cgroup)
	}
	var left []int
	self, mark := os.Getpid(), []byte("SWITCHBOARD_INSTANCE="+p.Instance)
	session := p.sessionIsOurs()
	for _, pid := range processes() {
		if pid == self || pid == 1 || pid == p.PID && p.PIDFD != nil {
			continue
		}
		st, err := sys.StatProcess(pid)
		if err != nil || st.State == 'Z' || st.State == 'X' || st.Start < p.Began {
			continue
		}
		kill := killExactly
		if !(session && st.Session == p.PID) && !marked(pid, mark) {
			if st.Parent != self || !p.adopts(pid) {
				continue
			}
			kill = p.killAdopted
		}
		if kill(pid, st.Start) {
			left = append(left, pid)
		}
	}
	return left
}

// sessionIsOurs reports whether the session with the main process' number can only be the backend's: while a session has members its
// number is nobody else's, so it is, unless another process has that number now. Of Remains it is not known: their number may
// have been somebody else's since, who has exited too and left his session.
func (p *Process) sessionIsOurs() bool {
	if p.PIDFD == nil {
		return false
	}
	st, err := sys.StatProcess(p.PID)
	return err != nil || st.Start == p.Began
}

// adopts reports whether an unmarked child of this process must be p's, because it is nobody else's.
func (p *Process) adopts(pid int) bool {
	l := p.launcher
	return p.PIDFD != nil && l.subreaper && !l.knows(pid) && l.onlyOne(p) && !markedAtAll(pid)
}

// killAdopted is killExactly for a child that p adopts. A shim that is just being forked is unmarked and not known yet: no fork may be
// under way between the look and the kill.
func (p *Process) killAdopted(pid int, start uint64) bool {
	p.launcher.forking.Lock()
	defer p.launcher.forking.Unlock()
	return p.adopts(pid) && killExactly(pid, start)
}

// killExactly kills the process that has this number and start, and reports whether it was there.
func killExactly(pid int, start uint64) bool {
	fd, err := sys.PIDFDOpen(pid)
	if err != nil {
		return false
	}
	defer fd.Close()
	if st, err := sys.StatProcess(pid); err != nil || st.Start != start || sys.Exited(fd.Int()) {
		return false
	}
	return sys.SignalProcess(fd.Int(), syscall.SIGKILL) != syscall.ESRCH
}

// marked reports whether a process has the mark in the environment that it was started with.
func marked(pid int, mark []byte) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && slices.ContainsFunc(bytes.Split(b, []byte{0}), func(v []byte) bool { return bytes.Equal(v, mark) })
}

func markedAtAll(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && (bytes.HasPrefix(b, []byte("SWITCHBOARD_INSTANCE=")) || bytes.Contains(b, []byte("\x00SWITCHBOARD_INSTANCE=")))
}

// killGroup kills all that is in a cgroup and below it, and returns what may still run.
func killGroup(path string) []int {
	if populated(path) {
		_ = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
	}
	if !populated(path) {
		return nil
	}
	var left []int
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "cgroup.procs" {
			b, _ := os.ReadFile(at)
			for f := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					left = append(left, pid)
				}
			}
		}
		return nil
	})
	if left == nil {
		left = []int{0} // somebody is there who has no number here
	}
	return left
}

// populated reports whether a cgroup or one below it has a living process.
func populated(path string) bool {
	b, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
	return err == nil && strings.Contains(string(b), "populated 1")
}

// inGroup reports whether this very process is in a cgroup, or below it.
func inGroup(path string) bool {
	own := ownCgroup("/proc/self/mountinfo", "/proc/self/cgroup")
	return own == path || strings.HasPrefix(own, path+"/")
}

// removeGroup removes a cgroup and those that the backend made below it.
func removeGroup(path string) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeGroup(filepath.Join(path, e.Name()))
		}
	}
	// What was just killed may still count for a moment.
	for i := 0; i < 50; i++ {
		if err := syscall.Rmdir(path); err != syscall.EBUSY {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// processes lists the numbers of all processes.
func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	list := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// children lists this process' children, zombies too.
func children() []int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var list []int
	for _, t := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if os.IsNotExist(err) {
			if _, err := os.Stat("/proc/self/task/" + t.Name()); err == nil {
				return childrenByParent() // a kernel without this file
			}
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

func childrenByParent() []int {
	self := os.Getpid()
	return slices.DeleteFunc(processes(), func(pid int) bool {
		st, err := sys.StatProcess(pid)
		return err != nil || st.Parent != self
	})
}

func numbers(pids []int) string {
	s := make([]string, len(pids))
	for i, pid := range pids {
		s[i] = strconv.Itoa(pid)
	}
	return strings.Join(s, ", ")
}
