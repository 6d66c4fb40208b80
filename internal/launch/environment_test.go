// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	s := Setting{
		Broker: []string{"HOME=/h", "LANG=de_DE.UTF-8", "TZ=UTC", "XDG_RUNTIME_DIR=/run/user/1", "SECRET=x", "SSH_AUTH_SOCK=/a", "LISTEN_FDS=1", "PATH=/p"},
		User:   User{Name: "ann", UID: 1, Home: "/home/ann", Shell: "/bin/zsh"},
		Env:    []string{"LANG=C.UTF-8", "WHERE=${SCOPE}:${SWITCHBOARD_SOCKET}:$HOME:${HOME}:$$"}, PassEnv: []string{"SSH_AUTH_SOCK", "NONE"},
		RuntimeDir: "/r", Name: "n", Version: "1.0.0", Instance: "i", Socket: "/r/s/n", Scope: "/src",
		Bootstrap: "/r/b",
	}
	want := []string{
		"HOME=/h", "LANG=C.UTF-8", "LOGNAME=ann", "PATH=/p", "SHELL=/bin/zsh", "SSH_AUTH_SOCK=/a", "SWITCHBOARD_BOOTSTRAP=/r/b", "SWITCHBOARD_INSTANCE=i", "SWITCHBOARD_NAME=n",
		"SWITCHBOARD_RUNTIME_DIR=/r", "SWITCHBOARD_SCOPE=/src", "SWITCHBOARD_SOCKET=/r/s/n", "SWITCHBOARD_VERSION=1.0.0", "TZ=UTC", "USER=ann",
		"WHERE=/src:/r/s/n:$HOME:${HOME}:$$", "XDG_RUNTIME_DIR=/run/user/1",
	}
	if d := cmp.Diff(want, Environment(s)); d != "" {
		t.Error(d)
	}
	s = Setting{Broker: s.Broker, User: s.User, Other: true, Notify: "@n"}
	want = []string{"HOME=/home/ann", "LANG=de_DE.UTF-8", "LOGNAME=ann", "NOTIFY_SOCKET=@n", "PATH=" + userPath, "SHELL=/bin/zsh", "TZ=UTC", "USER=ann"}
	if d := cmp.Diff(want, Environment(s)); d != "" {
		t.Error(d)
	}
	if got := Environment(Setting{}); len(got) != 1 || got[0] != "PATH="+rootPath {
		t.Error(got)
	}
}

func TestLookupUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	for path, text := range map[string]string{
		passwd: "root:x:0:0:root:/root:/bin/bash\nbroken:x\nann:x:71001:71002:Ann:/home/ann:\n",
		group:  "root:x:0:\nann:x:71002:ann\nvideo:x:71044:bob,ann\naudio:x:71045:anna\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := User{Name: "ann", UID: 71001, GID: 71002, Groups: []int{71002, 71044}, Home: "/home/ann", Shell: "/bin/sh"}
	for _, who := range []string{"ann", "71001"} {
		u, err := lookupUser(passwd, group, who)
		if d := cmp.Diff(want, u); d != "" || err != nil {
			t.Error(d, err)
		}
	}
	if _, err := lookupUser(passwd, group, "no-such-user"); err == nil || !strings.Contains(err.Error(), `no user "no-such-user"`) {
		t.Error(err)
	}
	if u := OwnUser(); u.UID != os.Geteuid() {
		t.Error(u)
	}
}

// A backend of another user has its ids and its groups, and nothing of root's.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	c := shell(t, Native, `grep -E '^(Uid|Gid|Groups|CapEff|CapPrm)' /proc/self/status`)
	c.UID, c.GID, c.Groups = 54321, 54322, []int{54322, 54323}
	s := launched(t, launcher(t, Config{}), c, nil)
	s.exit(t)
	want := "Uid:\t54321\t54321\t54321\t54321\nGid:\t54322\t54322\t54322\t54322\nGroups:\t54322 54323 \nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
	if got := s.output(t); got != want {
		t.Errorf("%q", got)
	}
	c = shell(t, Native, "true")
	c.UID, c.GID, c.Groups, c.Dir = 54321, 54322, nil, "/root"
	if st, err := os.Stat("/root"); err != nil || st.Mode().Perm()&0o001 != 0 {
		return
	}
	s = launched(t, launcher(t, Config{}), c, nil)
	if r := s.reports(t); len(r) != 1 || r[0].Errno != syscall.EACCES {
		t.Errorf("%+v", r)
	}
}

func TestOwnCgroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, mounts := filepath.Join(dir, "cgroup"), filepath.Join(dir, "mountinfo")
	const point = "30 24 0:26 ROOT /sys/fs/cgroup/uni\\040fied rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct{ group, root, want string }{
		{"0::/user.slice/a.scope\n", "/", "/sys/fs/cgroup/uni fied/user.slice/a.scope"},
		{"1:cpu:/x\n0::/\n", "/", "/sys/fs/cgroup/uni fied"},
		{"0::/docker/abc/x\n", "/docker/abc", "/sys/fs/cgroup/uni fied/x"},
		{"0::/docker/abcd\n", "/docker/abc", ""},
		{"0::/../other\n", "/", ""},
		{"1:cpu:/x\n", "/", ""},
	} {
		if err := os.WriteFile(self, []byte(tt.group), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mounts, []byte("1 2 0:1 / / rw - ext4 x rw\n"+strings.Replace(point, "ROOT", tt.root, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ownCgroup(mounts, self); got != tt.want {
			t.Errorf("%q at %s: %q, not %q", tt.group, tt.root, got, tt.want)
		}
	}
	if got := ownCgroup(mounts, self+".none"); got != "" {
		t.Error(got)
	}
}
