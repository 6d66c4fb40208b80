// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// playBroker is a broker of its own process, which ends without tidying up.
func playBroker(args []string) int {
	l, err := New(Config{Subreaper: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	switch args[0] {
	case "leaks":
		return playLeaks(l)
	case "storm":
		return playStorm()
	case "crash": // crash FOLDER SCRIPT INSTANCE
		if err := launchRecorded(l, args[1], args[2], args[3]); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
	return 64
}

func launchRecorded(l *Launcher, folder, script, id string) error {
	c := Command{Instance: id, Name: "com.example.test", Argv: []string{"/bin/sh", "-c", script}, Accept: Native, UID: -1, GID: -1,
		Env: []string{"PATH=" + rootPath, "SWITCHBOARD_INSTANCE=" + id}}
	p, err := l.Start(c, nil, nil)
	if err != nil {
		return err
	}
	r := Record{Name: c.Name, Argv: c.Argv, Accept: c.Accept.String(), Definition: json.RawMessage(`{"a":1}`)}
	if err := r.Identify(p, false); err != nil {
		return err
	}
	if err := WriteRecord(folder, r); err != nil {
		return err
	}
	if err := p.Order(c); err != nil {
		return err
	}
	buf := sys.NewBuffer(1024)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if n, err := buf.Recv(p.Control.Int()); err == nil && n == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the shim does not hang up")
		}
	}
	if err := r.Identify(p, true); err != nil {
		return err
	}
	return WriteRecord(folder, r)
}

func playLeaks(l *Launcher) int {
	before := len(openFDs())
	var work sync.WaitGroup
	failed := make(chan error, 200)
	for i := range 8 {
		work.Go(func() {
			for j := range 25 {
				if err := oneLaunch(l, fmt.Sprintf("%032x", i*25+j)); err != nil {
					failed <- err
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
	if after := openFDs(); len(after) > before {
		fmt.Println("descriptors are left:", before, after)
		bad = 1
	}
	if left := childrenByParent(); len(left) > 0 {
		fmt.Println("children are left:", left)
		bad = 1
	}
	if left, _ := filepath.Glob(filepath.Join(l.groups.parent, "switchboard-"+strings.Repeat("0", 28)+"*")); l.groups.parent != "" && len(left) > 0 {
		fmt.Println("cgroups are left:", left)
		bad = 1
	}
	if len(l.live) > 0 {
		fmt.Println("processes are remembered")
		bad = 1
	}
	return bad
}

func openFDs() []string {
	list, _ := filepath.Glob("/proc/self/fd/*")
	return list
}

func oneLaunch(l *Launcher, id string) error {
	a, b, err := sys.Pair(sys.Stream)
	if err != nil {
		return err
	}
	defer a.Close()
	defer b.Close()
	c := Command{Instance: id, Argv: []string{"/bin/sh", "-c", "sleep 1000 & exit 4"}, Accept: Connection, UID: -1, GID: -1, Env: []string{"SWITCHBOARD_INSTANCE=" + id, "PATH=" + rootPath}}
	p, err := l.Start(c, b, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Order(c); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
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
	if st, ok := p.Wait(); !ok || st.Code != 4 {
		return fmt.Errorf("%d: %v", p.PID, st)
	}
	return nil
}

// A broker's backend is found by the next one, which is not its parent, and told from all others.
func TestFind(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if out, err := role(t, "broker", "crash", folder, `sleep 1000 & trap 'exit 5' TERM; while :; do sleep 0.01; done`, instance(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list, errs := ReadRecords(folder)
	if len(list) != 1 || len(errs) != 0 {
		t.Fatal(list, errs)
	}
	r := list[0]
	if !strings.HasPrefix(filepath.Base(r.Exe), "dash") && !strings.HasPrefix(filepath.Base(r.Exe), "bash") && filepath.Base(r.Exe) != "sh" || string(r.Definition) != `{"a":1}` {
		t.Errorf("%+v", r)
	}
	l := launcher(t, Config{})
	defer func() {
		if q := l.Remains(r); q != nil {
			_ = q.KillTree()
		}
	}()
	for reason, change := range map[string]func(*Record){
		"the machine has been started anew":    func(r *Record) { r.Boot = "other" },
		"the record has no process":            func(r *Record) { r.PID = 0 },
		"there is no such process":             func(r *Record) { r.PID = 1 << 30 },
		"that process started at another time": func(r *Record) { r.Began++ },
		"that process has another identity":    func(r *Record) { r.PIDInode++ },
	} {
		wrong := r
		change(&wrong)
		if reason == "that process has another identity" && r.PIDInode == 0 {
			continue
		}
		if p, err := l.Find(wrong); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, %v", reason, p, err)
		}
	}
	p, err := l.Find(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Cgroup != r.Cgroup {
		t.Errorf("%q, not %q", p.Cgroup, r.Cgroup)
	}
	if _, ok := p.Wait(); ok {
		t.Error("it has exited")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	eventually(t, "the exit", func() bool { _, ok := p.Wait(); return ok })
	if err := p.KillTree(); err != nil {
		t.Error(err)
	}
	st, _ := p.Wait()
	t.Logf("the adopted process %v", st)
	if st.Known && st.Code != 5 {
		t.Error(st)
	}
	if _, err := l.Find(r); err == nil {
		t.Error("it is found although it has exited")
	}
	if r.Cgroup != "" {
		if _, err := os.Stat(r.Cgroup); err == nil {
			t.Errorf("%s is left", r.Cgroup)
		}
	}
}

// The main process is gone when the next broker comes: what it left is ended.
func TestRemains(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	out := filepath.Join(t.TempDir(), "pid")
	if b, err := role(t, "broker", "crash", folder, `sleep 1000 & echo $! >`+out+`; sleep 1000`, instance(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	list, _ := ReadRecords(folder)
	if len(list) != 1 {
		t.Fatal(list)
	}
	var left []int
	eventually(t, "the child's number", func() bool {
		b, err := os.ReadFile(out)
		left = pids(t, string(b))
		return err == nil && len(left) == 1
	})
	if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l := launcher(t, Config{})
	eventually(t, "its end", func() bool {
		p, err := l.Find(list[0])
		if err == nil {
			p.Close()
		}
		return err != nil
	})
	if !running(left[0]) {
		t.Error("the child is gone already")
	}
	q := l.Remains(list[0])
	if err := q.KillTree(); err != nil {
		t.Error(err)
	}
	q.Close()
	if running(left[0]) {
		t.Error("the child runs")
	}
	if group := list[0].Cgroup; group != "" {
		if _, err := os.Stat(group); err == nil {
			t.Errorf("%s is left", group)
		}
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if list, errs := ReadRecords(filepath.Join(folder, "none")); list != nil || errs != nil {
		t.Error(list, errs)
	}
	r := Record{Instance: instance(t), Name: "a", Version: "1.0.0", Scope: "/x", Argv: []string{"/bin/true", "\xff"[:0]}, Accept: "path", StopTimeout: 5 * time.Second}
	if err := WriteRecord(folder, r); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(folder, r.Instance+".json")); err != nil || st.Mode() != 0o600 {
		t.Error(st, err)
	}
	for name, content := range map[string]string{"x.json": "{", "y.json": `{"instance":"z"}`, "z.json.new": "", "readme": "?"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", filepath.Join(folder, "link.json")); err != nil {
		t.Fatal(err)
	}
	list, errs := ReadRecords(folder)
	if d := cmp.Diff([]Record{r}, list); d != "" || len(errs) != 3 {
		t.Error(d, errs)
	}
	if _, err := os.Stat(filepath.Join(folder, "z.json.new")); err == nil {
		t.Error("a writer's leftover stays")
	}
	for range 2 {
		if err := RemoveRecord(folder, r.Instance); err != nil {
			t.Error(err)
		}
	}
	r.Instance = "../x"
	if err := WriteRecord(folder, r); err == nil {
		t.Error("an instance that is a path was accepted")
	}
}
