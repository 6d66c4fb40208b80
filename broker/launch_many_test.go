// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLaunchMany: launches in a row leave nothing behind: no descriptor, goroutine, record, cgroup or zombie.
func TestLaunchMany(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("cat.toml", s.command("cat", "connection", "", "/bin/cat"))
	s.add("up.toml", s.command("up", "listener", "", "/bin/sleep", "1000"))
	b := s.broker()
	control := open(t, b.dir)
	begin := b.count()
	const rounds, connections = 40, 4
	for range rounds {
		for range connections {
			c := dial(t, b.dir, "DIAL cat\nhello")
			c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != "OK\nhello" {
				t.Fatalf("got %q, %v", got, err)
			}
			c.Close()
		}
		if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "AT ") {
			t.Fatal(v)
		}
		group := recorded(t, b.dir, "up").cgroup
		control.stop(t, "up")
		if _, err := os.Stat(group); group != "" && err == nil {
			t.Fatalf("%s was left behind", group)
		}
	}
	control.launches(t, rounds*(connections+1))
	control.counts(t, 0, 0)
	eventually(t, func() string {
		if now := b.count(); now != begin {
			return "the broker has " + now + "; before it had " + begin
		}
		return ""
	})
	if left, err := filepath.Glob(filepath.Join(b.dir, "i", "*.json*")); err != nil || len(left) > 0 {
		t.Errorf("records are left: %v, %v", left, err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		if left, err := os.ReadFile(task); err == nil && len(left) > 0 { // a thread may have ended meanwhile
			t.Errorf("children are left: %s", left)
		}
	}
}

// TestLaunchOrdinaryUser: a broker of an ordinary user, with the limits that such a user has.
func TestLaunchOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can run a broker as another user; the other tests ran as this one")
	}
	s := newServices(t)
	exe, err := publicBinary()
	if err != nil {
		t.Fatal(err)
	}
	s.exe = exe
	for _, accept := range shared {
		s.add(accept+".toml", s.backend(accept, "", accept))
	}
	s.add("limits.toml", s.shell("limits", "connection", "", "id -u; id -G; ulimit -Sn; exec cat"))
	b := s.start(brokerOptions{UID: 65534, Soft: 1024})
	for _, accept := range shared {
		c := reach(t, b.dir, accept)
		c.alive(t)
		if c.says["uid"] != "65534" {
			t.Errorf("%s runs as user %s", accept, c.says["uid"])
		}
	}
	c := dial(t, b.dir, "DIAL limits\n")
	for _, want := range []string{"OK", "65534", "65534", "1024"} {
		if v := verdict(t, c); v != want {
			t.Errorf("got %s, want %s", v, want)
		}
	}
	// A process for each of many callers: the broker keeps no descriptor of theirs.
	for range 30 {
		c := dial(t, b.dir, "DIAL limits\n")
		if v := verdict(t, c); v != "OK" {
			t.Fatal(v)
		}
	}
	open(t, b.dir).counts(t, 0, 34)
}
