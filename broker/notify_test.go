// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// A process that says READY=1 at $NOTIFY_SOCKET, or where its argument says, and is gone: the helper of a script, or somebody else.
func init() {
	if os.Getenv(roleVariable) != "notifier" {
		return
	}
	if err := sayReady(append(os.Args, os.Getenv("NOTIFY_SOCKET"))[1]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func sayReady(address string) error {
	c, err := net.Dial("unixgram", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("READY=1"))
	return err
}

// notifyAddress is where a backend says that it is ready.
func notifyAddress(t *testing.T, pid int) (address string) {
	t.Helper()
	eventually(t, func() string {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil {
			t.Fatal(err)
		}
		for v := range strings.SplitSeq(string(b), "\x00") {
			if v, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok {
				address = v
				return ""
			}
		}
		return "it has no NOTIFY_SOCKET yet"
	})
	return address
}

const notifying = "ready = \"notify\"\n"

// TestNotifyShortLived: a descendant that has exited when the broker hears it counts too.
func TestNotifyShortLived(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	gate, tell := fifo(t)
	said := filepath.Join(s.dir, "said")
	s.add("up.toml", s.shell("up", "listener", notifying, `read x <"$1"; ( `+roleVariable+`=notifier "$2" ); echo >"$3"; exec sleep 1000`, gate, s.exe, said))
	b := s.broker()
	c := dial(t, b.dir, "DIAL up\n")
	r := recorded(t, b.dir, "up")
	address := notifyAddress(t, r.pid)
	if want := strings.TrimSuffix(r.path, ".json") + ".notify"; address != want {
		t.Errorf("%s, not %s", address, want)
	}
	if st, err := os.Lstat(address); err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Error(st, err)
	}
	b.signal(syscall.SIGSTOP)
	tell()
	eventually(t, func() string {
		if _, err := os.Stat(said); err != nil {
			return "it does not say that it is ready"
		}
		return ""
	})
	os.Remove(said) // no definition
	b.signal(syscall.SIGCONT)
	if v := verdict(t, c); !strings.HasPrefix(v, "AT ") {
		t.Error(v)
	}
	control := open(t, b.dir)
	control.stop(t, "up")
	if _, err := os.Lstat(address); err == nil {
		t.Errorf("%s was left behind", address)
	}
}

// TestNotifyOtherUser: what backends of other users say is heard where only root, they and the broker count.
func TestNotifyOtherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can launch as somebody else")
	}
	passwd, err := exec.Command("id", "-u", "nobody").Output()
	uid, aerr := strconv.Atoi(strings.TrimSpace(string(passwd)))
	if err != nil || aerr != nil {
		t.Skip("SKIPPED: there is no user nobody")
	}
	s := newServices(t)
	s.add("up.toml", s.shell("up", "listener", notifying+"user = \"nobody\"\n", "exec sleep 1000"))
	s.add("own.toml", s.shell("own", "listener", notifying, "exec sleep 1000"))
	b := s.broker()
	c := dial(t, b.dir, "DIAL up\n")
	address := notifyAddress(t, executed(t, b.dir, "up"))
	rest, ok := strings.CutPrefix(address, "@switchboard/")
	if secret, end, _ := strings.Cut(rest, "/"); !ok || len(secret) != 32 || end != "notify" || strings.Contains(recorded(t, b.dir, "up").path, secret) {
		t.Fatalf("%q", address)
	}
	control := open(t, b.dir)
	say := func(uid int) {
		t.Helper()
		p := start(t, "notifier", uid, address)
		p.exited()
		if p.cmd.ProcessState.ExitCode() != 0 {
			t.Fatalf("user %d could not send it", uid)
		}
	}
	say(uid - 1)  // a stranger, who found the name in /proc/net/unix
	for range 2 { // the loop has gone round
		if v := verdict(t, dial(t, b.dir, "DIAL missing\n")); !strings.HasPrefix(v, "ERR 69 ") {
			t.Error(v)
		}
	}
	if st := control.status(); st.Waiting != 1 {
		t.Errorf("what a stranger said counted: %d wait", st.Waiting)
	}
	say(uid)
	if v := verdict(t, c); !strings.HasPrefix(v, "AT ") {
		t.Error(v)
	}
	// Each has an address of its own.
	own := dial(t, b.dir, "DIAL own\n")
	if err := sayReady(address); err != nil {
		t.Error(err)
	}
	control.counts(t, 1, 2)
	if err := sayReady(notifyAddress(t, executed(t, b.dir, "own"))); err != nil {
		t.Error(err)
	}
	if v := verdict(t, own); !strings.HasPrefix(v, "AT ") {
		t.Error(v)
	}
}

// TestNotifyDeepFolder: a runtime folder whose path leaves no room for one more in it is no hindrance.
func TestNotifyDeepFolder(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("up.toml", s.shell("up", "listener", notifying, roleVariable+`=notifier "$1"; exec sleep 1000`, s.exe))
	temp := shortTemp(t)
	dir := filepath.Join(temp, strings.Repeat("x", max(76-len(temp), 1)), "run")
	b := startBrokerIn(t, dir, brokerOptions{Services: []string{s.dir}})
	s.endBackends(b)
	if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "AT ") {
		t.Error(v)
	}
}

// TestNotifyAdopted: one that was not ready when its broker died says it to the next.
func TestNotifyAdopted(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	gate, tell := fifo(t)
	s.add("up.toml", s.backend("up", notifying, "path", "gate="+gate))
	first := s.broker()
	dial(t, first.dir, "DIAL up\n")
	pid := executed(t, first.dir, "up")
	address := notifyAddress(t, pid)
	first.crash()
	stale := filepath.Join(first.dir, "i", strings.Repeat("0a", 16)+".notify")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := s.next(first)
	if _, err := os.Lstat(stale); err == nil {
		t.Errorf("%s was left behind", stale)
	}
	c := dial(t, b.dir, "DIAL up\n")
	control := open(t, b.dir)
	control.counts(t, 1, 1)
	tell()
	eventually(t, func() string {
		if ok, err := sys.ListeningAt(strings.TrimSuffix(address, ".notify") + ".sock"); !ok {
			return "it does not listen: " + strconv.FormatBool(err == nil)
		}
		return ""
	})
	if st := control.status(); st.Waiting != 1 {
		t.Errorf("it is ready without having said so: %d wait", st.Waiting)
	}
	if err := sayReady(address); err != nil {
		t.Error(err)
	}
	if got := follow(t, c); got.pid != pid {
		t.Errorf("process %d answers, %d was launched", got.pid, pid)
	}
	control.launches(t, 0)
}
