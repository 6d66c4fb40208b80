// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// A second broker in a live folder ends at once, names the first, and leaves it as it was.
func TestSecondBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	s := open(t, b.dir)
	s.own("com.example.a")
	_, err := broker.New(broker.Config{RuntimeDir: b.dir})
	var running *broker.RunningError
	if !errors.As(err, &running) || running.PID != b.cmd.Process.Pid {
		t.Fatalf("%v; want a RunningError with process %d", err, b.cmd.Process.Pid)
	}
	if r := open(t, b.dir).lookUp("com.example.a"); r.Code != session.OK {
		t.Error("the first broker lost a name")
	}
}

// What a broker that was killed left behind is replaced; a socket on which somebody listens is not.
func TestSocketsInTheWay(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortTemp(t), "run")
	first := startBrokerIn(t, dir, brokerOptions{})
	s := open(t, dir)
	_, m := s.claim(session.Claim{Name: "com.example.stale", Accept: session.AcceptListener})
	sys.CloseAll(m.fds)
	first.ended = true
	first.signal(syscall.SIGKILL)
	first.exited()
	for _, left := range []string{"broker.sock", "session.sock", "s/com.example.stale"} {
		if _, err := os.Lstat(filepath.Join(dir, left)); err != nil {
			t.Fatalf("the killed broker did not leave %s, so nothing is shown: %v", left, err)
		}
	}
	second := startBrokerIn(t, dir, brokerOptions{})
	if _, err := os.Lstat(filepath.Join(dir, "s/com.example.stale")); err == nil {
		t.Error("the stale socket of a service is still there")
	}
	open(t, dir).own("com.example.stale")
	second.ended = true
	second.signal(syscall.SIGKILL)
	second.exited()

	os.Remove(filepath.Join(dir, "broker.sock"))
	live, err := net.Listen("unix", filepath.Join(dir, "broker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	_, err = broker.New(broker.Config{RuntimeDir: dir})
	var running *broker.RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("with a live socket in the way: %v", err)
	}
	if c, err := net.Dial("unix", filepath.Join(dir, "broker.sock")); err != nil {
		t.Errorf("the live socket was unlinked: %v", err)
	} else {
		c.Close()
	}
}

// The first to call after a crash may come before the owner is back: it waits for a moment.
func TestCallAfterCrash(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortTemp(t), "run")
	first := startBrokerIn(t, dir, brokerOptions{})
	first.ended = true
	first.signal(syscall.SIGKILL)
	first.exited()
	startBrokerIn(t, dir, brokerOptions{})
	early := dial(t, dir, "DIAL com.example.up\nhi")
	early.CloseWrite()
	unknown := dial(t, dir, "DIAL com.example.none\n")
	s := open(t, dir)
	s.own("com.example.up")
	go s.serve()
	if got, err := io.ReadAll(early); string(got) != "OK\nHI" {
		t.Errorf("the early caller got %q, %v", got, err)
	}
	if v := verdict(t, unknown); !strings.HasPrefix(v, "ERR 69 ") {
		t.Errorf("the caller of an unknown name got %q", v)
	}
}

func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	base := shortTemp(t)
	open := filepath.Join(base, "open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o755)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(base, "good")
	link := filepath.Join(base, "link")
	if err := errors.Join(os.Mkdir(good, 0o700), os.Symlink(good, link)); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{open: "its mode is 0755 and must be 0700", file: "cannot make it", link: "it is not a folder"}
	if os.Geteuid() == 0 {
		theirs := filepath.Join(base, "theirs")
		if err := errors.Join(os.Mkdir(theirs, 0o700), os.Chown(theirs, 54321, 54321)); err != nil {
			t.Fatal(err)
		}
		cases[theirs] = "it belongs to user 54321 and not to 0"
	}
	for dir, want := range cases {
		_, err := broker.New(broker.Config{RuntimeDir: dir})
		var refused *broker.FolderError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want a FolderError with %q", dir, err, want)
		}
	}
}

// A folder whose path is too long for a socket address works like any other.
func TestDeepFolder(t *testing.T) {
	t.Parallel()
	dir := shortTemp(t)
	for len(dir) < 200 {
		dir = filepath.Join(dir, "a-folder-with-a-long-name")
	}
	b := startBrokerIn(t, dir, brokerOptions{})
	s := open(t, dir)
	s.own("com.example.up")
	go s.serve()
	r, m := open(t, dir).claim(session.Claim{Name: "com.example.at", Accept: session.AcceptListener})
	if r.Code != session.OK || len(m.fds) != 1 {
		t.Fatalf("%+v", r)
	}
	sys.CloseAll(m.fds)
	fd, err := sys.Connect(filepath.Join(b.dir, "broker.sock"), sys.Stream, false)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd.Take()), "caller")
	defer f.Close()
	f.SetDeadline(time.Now().Add(deadline))
	if _, err := io.WriteString(f, "DIAL com.example.up\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(f, got); err != nil || string(got) != "OK\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

// A broker whose folder is removed tells its sessions and ends; the folder's next broker is not disturbed.
func TestFolderReplaced(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	b.ended = true
	s := open(t, b.dir)
	s.own("com.example.a")
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	next := startBrokerIn(t, b.dir, brokerOptions{})
	if bye := parse(t, session.ParseBye, s.event(session.OpBye)); bye.Code != session.TryAgain || !strings.Contains(bye.Reason, "folder") {
		t.Errorf("BYE %d %q", bye.Code, bye.Reason)
	}
	b.exited()
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the first broker exited with %d", code)
	}
	open(t, next.dir).own("com.example.a")
}

func TestIdleExit(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{IdleExit: 2 * time.Second}) // in which the name must be claimed
	b.ended = true
	s := open(t, b.dir)
	lease := s.own("com.example.a")
	held := time.After(3 * time.Second)
	select {
	case <-b.done:
		t.Fatal("the broker ended while a name was held")
	case <-held:
	}
	s.call(session.OpRelease, session.Release{Lease: lease}.Append(nil))
	if bye := parse(t, session.ParseBye, s.event(session.OpBye)); bye.Code != session.TryAgain || !strings.Contains(bye.Reason, "nobody has held a lease for 2s") {
		t.Errorf("BYE %d %q", bye.Code, bye.Reason)
	}
	b.exited()
	for _, left := range []string{"broker.sock", "session.sock"} {
		if _, err := os.Lstat(filepath.Join(b.dir, left)); err == nil {
			t.Errorf("%s was left behind", left)
		}
	}
}

// A broker that ends serves those who had connected before it says BYE.
func TestPoliteEnd(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	b.ended = true
	s := open(t, b.dir)
	s.own("com.example.up")
	c := dial(t, b.dir, "DIAL com.example.up\nhi\n")
	m, h := s.handOver() // so it has read the request
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if _, err := os.Lstat(filepath.Join(b.dir, "broker.sock")); err == nil {
			return "the broker still accepts"
		}
		return ""
	})
	s.acknowledge(h.Connection)
	conn := s.conn(m)
	if _, err := conn.Write(h.Preamble); err != nil {
		t.Fatal(err)
	}
	if v := verdict(t, c); v != "OK" {
		t.Errorf("verdict %q", v)
	}
	s.event(session.OpBye)
	b.exited()
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	b.ended = true
	other := open(t, b.dir)
	s := open(t, b.dir)
	if r := parse(t, session.ParseReply, s.call(session.OpShutdown, nil)); r.Code != session.OK {
		t.Fatal(r.Text)
	}
	other.event(session.OpBye)
	s.event(session.OpBye)
	b.exited()
}
