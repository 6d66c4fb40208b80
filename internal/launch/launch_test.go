// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func TestNative(t *testing.T) {
	t.Parallel()
	c := shell(t, Native, `echo out; echo err >&2; umask; pwd; ls -l /proc/self/fd | grep -c ' -> '; cat; tr '\0' '\n' </proc/$$/environ; exit 3`)
	c.Dir = t.TempDir()
	s := launched(t, launcher(t, Config{}), c, nil)
	if r := s.reports(t); len(r) != 0 {
		t.Errorf("reports %v", r)
	}
	if st := s.exit(t); st.String() != "exited with status 3" || st.Success() {
		t.Error(st)
	}
	// ls has the three, and the folder that it lists.
	want := "out\nerr\n0022\n" + c.Dir + "\n4\nPATH=" + rootPath + "\nSWITCHBOARD_INSTANCE=" + c.Instance + "\n"
	if got := s.output(t); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd, err := sys.Listen(path, sys.Stream, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	c := shell(t, Listener, `echo env $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES; ls -l /proc/self/fd | grep -c ' -> '; readlink /proc/$$/fd/3; exec sleep 1000`)
	c.Name = "com.example:test"
	s := launched(t, launcher(t, Config{}), c, fd)
	r := s.reports(t)
	if len(r) != 1 || r[0].Kind != order.Listening {
		t.Fatalf("%v", r)
	}
	f := strings.Fields(s.waitOutput(t, "env "))
	if len(f) != 4 || f[0] != f[1] || f[2] != "1" || f[3] != "com.example_test" {
		t.Error(f)
	}
	// ls has the four, and the folder that it lists.
	eventually(t, "the descriptors", func() bool { return strings.Contains(s.output(t), "\n5\nsocket:[") })
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd.Int()), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_NONBLOCK != 0 {
		t.Errorf("the listening socket is non-blocking (%v)", errno)
	}
	conn, err := sys.Connect(path, sys.Stream, false)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if cred, err := sys.PeerCred(conn.Int()); err != nil || cred.PID != s.PID {
		t.Errorf("the peer is %+v, not %d: %v", cred, s.PID, err)
	}
}

func TestConnection(t *testing.T) {
	t.Parallel()
	a, b, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := shell(t, Connection, `echo to the log >&2; exec tr a-z A-Z`)
	s := launched(t, launcher(t, Config{}), c, b)
	r := s.reports(t)
	if len(r) != 1 || r[0].Kind != order.Taken {
		t.Fatalf("%v", r)
	}
	b.Close()
	conn, err := net.FileConn(os.NewFile(uintptr(a.Take()), "conn"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "OK\nHELLO\n" {
		t.Errorf("%q, %v", got, err)
	}
	if st := s.exit(t); !st.Success() {
		t.Error(st)
	}
	if s.output(t) != "to the log\n" {
		t.Error(s.output(t))
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	badInterpreter := filepath.Join(t.TempDir(), "script")
	for path, mode := range map[string]os.FileMode{plain: 0o600, badInterpreter: 0o700} {
		if err := os.WriteFile(path, []byte("#!/does/not/exist\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		change func(*Command)
		reason string
		status int
	}{
		"missing":        {func(c *Command) { c.Argv[0] = "/does/not/exist" }, "cannot run /does/not/exist: no such file or directory", 127},
		"not executable": {func(c *Command) { c.Argv[0] = plain }, "cannot run " + plain + ": permission denied", 126},
		"a folder":       {func(c *Command) { c.Argv[0] = "/tmp" }, "cannot run /tmp: permission denied", 126},
		"interpreter":    {func(c *Command) { c.Argv[0] = badInterpreter }, "cannot run " + badInterpreter + ": no such file or directory", 127},
		"working folder": {func(c *Command) { c.Dir = "/does/not/exist" }, "cannot change to the folder /does/not/exist: no such file or directory", 126},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := shell(t, Native, "true")
			tt.change(&c)
			s := launched(t, launcher(t, Config{}), c, nil)
			r := s.reports(t)
			if len(r) != 1 || r[0].Kind != order.Failed || r[0].Error() != tt.reason {
				t.Errorf("%+v", r)
			}
			if st := s.exit(t); st.Code != tt.status || st.Signal != 0 {
				t.Error(st)
			}
		})
	}
}

// Nothing runs that was not ordered, and nothing was touched.
func TestNoOrder(t *testing.T) {
	t.Parallel()
	a, b, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := start(t, launcher(t, Config{}), shell(t, Connection, "echo no"), b)
	b.Close()
	s.Control.Close()
	if st := s.exit(t); st.Code != 75 {
		t.Error(st)
	}
	if n, err := sys.Read(a.Int(), make([]byte, 8)); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if s.output(t) != "" {
		t.Error(s.output(t))
	}
}

func TestOrderTooLong(t *testing.T) {
	t.Parallel()
	c := shell(t, Native, "true")
	c.Env = append(c.Env, "BIG="+strings.Repeat("x", order.Max))
	s := start(t, launcher(t, Config{}), c, nil)
	if err := s.Order(c); err == nil || !strings.Contains(err.Error(), "at most 131072 can be passed") {
		t.Error(err)
	}
	c.Env = []string{"BIG=" + strings.Repeat("x", order.Max-4096)}
	c.Argv[2] = "exit ${#BIG}"
	if err := s.Order(c); err != nil {
		t.Error(err)
	}
	if st := s.exit(t); !st.Known || st.Signal != 0 {
		t.Error(st)
	}
}

// What this process ignores or blocks is not passed on.
func TestSignals(t *testing.T) {
	t.Parallel()
	s := launched(t, launcher(t, Config{}), shell(t, Native, `grep -E '^Sig(Blk|Ign)' /proc/self/status`), nil)
	s.exit(t)
	if got := s.output(t); got != "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" {
		t.Error(got)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := launched(t, launcher(t, Config{}), shell(t, Native, `kill -SEGV $$`), nil)
	if st := s.exit(t); !strings.HasPrefix(st.String(), "was killed by SIGSEGV") {
		t.Error(st)
	}
	if got := (Status{}).String(); got != "exited with a status that cannot be known" {
		t.Error(got)
	}
}

func TestBadShim(t *testing.T) {
	t.Parallel()
	able := launcher(t, Config{})
	launched(t, able, shell(t, Native, "true"), nil).exit(t)
	parent := able.groups.parent // "": this user makes none
	l := launcher(t, Config{Shim: "/does/not/exist"})
	p, err := l.Start(shell(t, Native, "true"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot start /does/not/exist") {
		t.Error(p, err)
	}
	if l.groups.parent != parent {
		t.Error("the cgroups were blamed")
	}
	if _, err := l.Start(shell(t, Listener, "true"), nil, nil); err == nil {
		t.Error("a listener without a socket was started")
	}
}
