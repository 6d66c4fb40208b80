// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

const (
	daemonPatience = time.Minute // bounds every wait
	firstCallers   = 16          // that call at once
)

// TestDaemons follows docs/daemons.md: it has real daemons launched by their first callers, by the definitions there,
// and calls each by its own client, by the commands there. Only paths and ports are others.
func TestDaemons(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs real daemons")
	}
	for _, d := range []sharedDaemon{
		{id: "redis", section: "Redis", name: "com.example.redis", pid: `(?m)^process_id:(\d+)`,
			needs: []needed{{"redis-server", "redis-server"}, {"redis-cli", "redis-tools"}}},
		{id: "gunicorn", section: "Gunicorn", name: "com.example.web", pid: `^(\d+)\n`,
			needs: []needed{{"gunicorn", "gunicorn"}, {"curl", "curl"}}, prepare: writeApplication},
		{id: "gpg", section: "GnuPG's agent", name: "com.example.gpg", pid: `(?m)^D (\d+)$`,
			needs: []needed{{"gpg-agent", "gpg-agent"}, {"gpg-connect-agent", "gpgconf"}}, prepare: makeKeyFolder},
		{id: "grpc", section: "gRPC", name: "com.example.grpc", pid: `says process (\d+)\n`,
			needs: []needed{{"go", "golang-go"}}, prepare: buildExample},
	} {
		t.Run(d.id, func(t *testing.T) {
			t.Parallel()
			testSharedDaemon(t, d)
		})
	}
	t.Run("git", func(t *testing.T) {
		t.Parallel()
		testGitDaemon(t)
	})
}

// sharedDaemon is one that all callers share.
type sharedDaemon struct {
	id      string // short: a socket's path has at most 107 bytes
	section string // of docs/daemons.md
	name    string
	pid     string // what finds the daemon's process id in the words of its client
	needs   []needed
	prepare func(t *testing.T, d *desk)
}

// needed is a program, and the package of Debian that has it.
type needed struct{ program, debian string }

// testSharedDaemon: many first callers get one process, the next one gets it, too, stop ends it with all that it
// started, another call launches the next, and that one ends with the broker.
func testSharedDaemon(t *testing.T, d sharedDaemon) {
	k := newDesk(t, d.section, d.name, d.needs)
	if d.prepare != nil {
		d.prepare(t, k)
	}
	k.serve(t)
	client := k.client(t)
	if all := k.launched(t); len(all) > 0 {
		t.Fatalf("processes before the first call: %v", all)
	}
	pattern := regexp.MustCompile(d.pid)
	call := func() (int, error) { // returns the process that answered
		out, err := k.run(t, "sh", "-c", client)
		if err != nil {
			return 0, err
		}
		found := pattern.FindStringSubmatch(out)
		if found == nil {
			return 0, fmt.Errorf("the client printed %q", out)
		}
		return strconv.Atoi(found[1])
	}

	var wait sync.WaitGroup
	pids, errs := make([]int, firstCallers), make([]error, firstCallers)
	for i := range firstCallers {
		wait.Go(func() { pids[i], errs[i] = call() })
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("first caller %d: %v", i, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	pid := pids[0]
	if len(slices.Compact(slices.Sorted(slices.Values(pids)))) != 1 {
		t.Errorf("the first callers got the processes %d, want the same", pids)
	}
	if again, err := call(); err != nil || again != pid {
		t.Errorf("the second call got process %d (%v), want %d", again, err, pid)
	}
	if all := k.launched(t); all[pid].command == "" {
		t.Errorf("process %d is none of those that the broker launched: %v", pid, all)
	}
	if running := k.instances(t); len(running) != 1 || running[0].PID != pid || running[0].State != "active" {
		t.Errorf("service ls shows %v, want only the active process %d", running, pid)
	}
	k.stop(t)

	if _, err := call(); err != nil {
		t.Errorf("a call after stop: %v", err)
	}
	k.end(t, 2)
}

// testGitDaemon: each caller has a process of its own. Git reaches it by a port and by its name.
func testGitDaemon(t *testing.T) {
	k := newDesk(t, "Git", "com.example.git", []needed{{"git", "git"}})
	k.replace("/srv/git", filepath.Join(k.home, "git"))
	const text = "hello from a repository\n"
	k.must(t, "sh", "-ec", `git init -q hello && cd hello && printf "$1" >hello.txt && git add hello.txt
		git -c user.name=me -c user.email=me@example.com commit -q -m hello
		git clone -q --bare . "$HOME/git/hello.git"`, "sh", text)
	k.serve(t)
	clone := func(line string) error {
		dir, err := os.MkdirTemp(k.home, "clone")
		if err != nil {
			return err
		}
		cmd := k.command(t, "sh", "-c", line)
		cmd.Dir = dir
		if err := said(cmd); err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dir, "hello", "hello.txt"))
		if err == nil && string(got) != text {
			err = fmt.Errorf("the clone has %q", got)
		}
		return err
	}

	byPort := k.client(t)
	var wait sync.WaitGroup
	for i := range firstCallers {
		wait.Go(func() {
			if err := clone(byPort); err != nil {
				t.Errorf("clone %d: %v", i, err)
			}
		})
	}
	wait.Wait()

	k.section = "Git without a port"
	if err := clone(k.client(t)); err != nil {
		t.Errorf("a clone by name: %v", err)
	}

	// One whose caller says nothing.
	client := switchboard.New(switchboard.Config{RuntimeDir: k.dir, NoAutostart: true})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), daemonPatience)
	defer cancel()
	silent, err := client.Dial(ctx, k.name)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	k.until(t, "the process of the silent caller", func() bool {
		running := k.instances(t)
		return len(running) == 1 && running[0].State == "active" && k.launched(t)[running[0].PID].command != ""
	})
	k.stop(t)
	if err := silent.SetReadDeadline(time.Now().Add(daemonPatience)); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(silent); len(out) > 0 || ignoreHangup(err) != nil {
		t.Errorf("the silent caller read %q (%v), want the end", out, err)
	}
	k.end(t, firstCallers+2)
}

// writeApplication writes what gunicorn serves.
func writeApplication(t *testing.T, k *desk) {
	t.Helper()
	dir := filepath.Join(k.home, "web")
	k.replace("/srv/web", dir)
	k.write(t, filepath.Join(dir, "app.py"), block(t, k.page, k.section, "python"))
}

// makeKeyFolder makes an empty home for GnuPG, which wants it to be private.
func makeKeyFolder(t *testing.T, k *desk) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(k.home, ".gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// buildExample builds examples/grpc.
func buildExample(t *testing.T, k *desk) {
	t.Helper()
	program := filepath.Join(k.home, "grpc-example")
	k.replace("/usr/local/bin/grpc-example", program)
	ctx, cancel := context.WithTimeout(t.Context(), 8*daemonPatience) // with nothing in the cache, beside all other tests
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "../../examples/grpc").CombinedOutput(); err != nil {
		t.Fatalf("the example cannot be built: %v\n%s", err, out)
	}
}

// desk is a user with a home, a broker, and a section of the page.
type desk struct {
	dir, home     string
	page, section string
	name          string
	replaced      []string // pairs, for what the page has
	broker        *exec.Cmd
	log           string // the broker's
}

// newDesk skips the test if a program is missing.
func newDesk(t *testing.T, section, name string, needs []needed) *desk {
	t.Helper()
	page, err := os.ReadFile("../../docs/daemons.md")
	if err != nil {
		t.Fatal(err)
	}
	k := &desk{page: string(page), section: section, name: name, dir: testDir(t), home: t.TempDir()}
	for _, n := range needs {
		path, err := exec.LookPath(n.program)
		if err != nil {
			t.Skipf("SKIPPED: %s is not installed: apt-get install %s (make deps installs all)", n.program, n.debian)
		}
		k.replace("/usr/bin/"+n.program, path)
	}
	return k
}

func (k *desk) replace(what, with string) {
	k.replaced = append(k.replaced, what+`"`, with+`"`, what+" ", with+" ")
}

// block returns a block of the section, as it is to be here.
func (k *desk) block(t *testing.T, kind string) string {
	t.Helper()
	return strings.NewReplacer(k.replaced...).Replace(block(t, k.page, k.section, kind))
}

func (k *desk) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command makes a process of this user. It ends with the test, as do those that it starts.
func (k *desk) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), daemonPatience) // a cleanup may end it more gently
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = k.home
	cmd.Env = append(os.Environ(), envRuntimeDir+"="+k.dir, "XDG_RUNTIME_DIR="+k.dir, switchboard.EnvAutostart+"=0", "HOME="+k.home,
		"XDG_CONFIG_HOME="+filepath.Join(k.home, ".config"), "GNUPGHOME="+filepath.Join(k.home, ".gnupg"), "GIT_CONFIG_NOSYSTEM=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a process to its end and returns what it printed.
func (k *desk) run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	cmd := k.command(t, program, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := said(cmd)
	return out.String(), err
}

// must is run for what cannot fail.
func (k *desk) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := k.run(t, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// said runs a command; the error has what it said on stderr.
func said(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return nil
}

// serve writes the definition and starts the broker.
func (k *desk) serve(t *testing.T) {
	t.Helper()
	services := filepath.Join(k.home, "services")
	k.write(t, filepath.Join(services, k.name+".toml"), k.block(t, "toml"))
	k.log = filepath.Join(k.home, "broker.log")
	stderr, err := os.Create(k.log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	k.broker = k.command(t, "switchboard", "serve", "--services", services)
	k.broker.Stderr = stderr
	k.start(t, k.broker, k.broker.StdoutPipe, "switchboard: ready")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(k.log)
			own, _ := os.ReadFile(filepath.Join(k.dir, "log", k.name+".log"))
			t.Logf("the broker's log:\n%s\nthe daemon's:\n%s", log, own)
		}
	})
}

// start starts a process that goes on, and returns the line in which it said that it is ready. It ends with the test.
func (k *desk) start(t *testing.T, cmd *exec.Cmd, pipe func() (io.ReadCloser, error), ready string) string {
	t.Helper()
	says, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM) // the broker ends what it launched
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewScanner(says)
	for lines.Scan() {
		if strings.Contains(lines.Text(), ready) {
			return lines.Text()
		}
	}
	t.Fatalf("%s never said %q: %v", strings.Join(cmd.Args, " "), ready, lines.Err())
	return ""
}

// client returns the commands of the section, behind those that go on, which are started: each has its own terminal.
func (k *desk) client(t *testing.T) string {
	t.Helper()
	const port = "127.0.0.1:9418"
	lines := k.block(t, "sh")
	first, rest, _ := strings.Cut(lines, "\n")
	if !strings.HasPrefix(first, "switchboard forward ") {
		return lines
	}
	cmd := k.command(t, "sh", "-c", "exec "+strings.ReplaceAll(first, port, "127.0.0.1:0"))
	_, address, _ := strings.Cut(k.start(t, cmd, cmd.StderrPipe, "forwarding "), "forwarding ")
	address, _, _ = strings.Cut(address, " ")
	return strings.ReplaceAll(rest, "git://127.0.0.1/", "git://"+strings.TrimPrefix(address, "tcp:")+"/")
}

// instances is what service ls shows of the name.
func (k *desk) instances(t *testing.T) []instance {
	t.Helper()
	var all []service
	if err := json.Unmarshal([]byte(k.must(t, "switchboard", "service", "ls", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == k.name {
			return s.Instances
		}
	}
	t.Fatalf("service ls does not show %s: %v", k.name, all)
	return nil
}

// stop stops the daemon. When the command returns, nothing that the broker launched runs any more.
func (k *desk) stop(t *testing.T) {
	t.Helper()
	out := k.must(t, "switchboard", "stop", k.name)
	for pid, p := range k.launched(t) {
		if p.state != "Z" {
			t.Errorf("stop left process %d: %v", pid, p)
		}
	}
	if want := "stopped " + k.name + ": 1\n"; out != want {
		t.Errorf("stop printed %q, want %q", out, want)
	}
	k.until(t, "what has ended to be buried", func() bool { return len(k.launched(t)) == 0 })
}

// end ends the broker, and with it what it launched. It counts what it has launched.
func (k *desk) end(t *testing.T, want int) {
	t.Helper()
	all := k.launched(t)
	if err := k.broker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := k.broker.Wait(); err != nil {
		t.Errorf("the broker ended with %v", err)
	}
	for pid, p := range all {
		if now, err := readStat(pid); err == nil && now.since == p.since && now.state != "Z" {
			t.Errorf("the broker left process %d: %v", pid, now)
		}
	}
	log, err := os.ReadFile(k.log)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(log, []byte(`"msg":"backend ended"`)); n != want {
		t.Errorf("the broker launched %d processes, want %d", n, want)
	}
}

// until waits for a condition.
func (k *desk) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonPatience)
	defer cancel()
	for !done() {
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("waiting for %s in vain; the broker has %v", what, k.launched(t))
		}
	}
}

// stat is what the kernel tells of a process.
type stat struct {
	command, state string
	parent         int
	since          string
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:])) // from the third on
	parent, err := strconv.Atoi(fields[1])
	return stat{string(text[open+1 : end]), fields[0], parent, fields[19]}, err
}

// launched are the processes below the broker, which takes in the orphans of those that it launched.
func (k *desk) launched(t *testing.T) map[int]stat {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[int]stat)
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if s, err := readStat(pid); err == nil { // else it has just ended
				all[pid] = s
			}
		}
	}
	below := make(map[int]stat)
	for pid, s := range all {
		for parent := s.parent; parent != 0; parent = all[parent].parent {
			if parent == k.broker.Process.Pid {
				below[pid] = s
				break
			}
		}
	}
	return below
}
