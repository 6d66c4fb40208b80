// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// requireVariable, if it is not empty, makes failures of what would be skips: go test shows no skips unless it is asked.
const requireVariable = "SWITCHBOARD_GUEST_REQUIRED"

// Options say how a guest is attached and what it does. The zero value is a guest without a network.
type Options struct {
	// Command stands before QEMU's own command, and gives it its network: "switchboard", "acquire", "shared", "--".
	// It is to replace %NETDEV and %MAC, and to hand its standard input and output on.
	Command []string
	// Stream is, without a Command, a connected stream socket, on which the guest has its interface. It stays the caller's.
	Stream *os.File
	// Netdev is the interface's -netdev without its id: "%NETDEV" with a Command, and the descriptor of Stream, if it is empty.
	Netdev string
	// MAC is the interface's: "%MAC" with a Command, and 52:54:00:12:34:56, if it is empty.
	MAC string
	// Static is an address such as "192.168.64.2/24" that the guest takes instead of asking by DHCP.
	Static string
	// Commands run in the guest when its network is up, before it is ready; what they print is on the console.
	Commands []string
	// Env is added to the environment of the command. It begins with no more than PATH.
	Env []string
	// Life ends the guest from within, so that none outlives for long a test that could not clean up: 5 minutes if it is 0.
	Life time.Duration
}

// Guest is a virtual machine that runs, or has ended.
type Guest struct {
	t       testing.TB
	console *console
	cmd     *exec.Cmd
	pidFile string
	started time.Time

	// ended is closed when the command has ended and been waited for.
	ended chan struct{}
	// mark is the line up to which Expect has looked.
	mark int
	// mu orders Run's commands, of which the guest does one at a time.
	mu      sync.Mutex
	input   io.Writer
	numbers int
}

// Start boots a guest and returns at once; Ready waits. The test is skipped, with the reason, where there
// is no QEMU or no kernel to be had, and the guest ends with the test.
func Start(t testing.TB, o Options) *Guest {
	t.Helper()
	qemu, m := require(t)
	dir, err := makeFolder(filepath.Dir(m.folder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	initramfs, err := m.initramfs(o.Static, o.Commands)
	if err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, initramfs, 0o644); err != nil {
		t.Fatal(err)
	}
	if o.Life == 0 {
		o.Life = 5 * time.Minute
	}
	g := &Guest{t: t, console: newConsole(2), pidFile: filepath.Join(dir, "pid"), ended: make(chan struct{})}
	line := append(append([]string{}, o.Command...), qemu)
	line = append(line, machine(m.kernel(), initrd, accelerator(), o.Life)...)
	line = append(line, "-pidfile", g.pidFile)
	line = append(line, o.network()...)
	g.cmd = exec.Command(line[0], line[1:]...)
	g.cmd.Dir = "/"
	g.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, o.Env...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(), Setpgid: true}
	if o.Stream != nil && o.Command == nil {
		g.cmd.ExtraFiles = []*os.File{o.Stream}
	}
	g.start()
	return g
}

// Require skips the test where guests cannot be had, as Start does: for tests with work to do before their first.
func Require(t testing.TB) {
	t.Helper()
	require(t)
}

func require(t testing.TB) (qemu string, m *image) {
	t.Helper()
	if testing.Short() {
		t.Skip("it boots virtual machines")
	}
	qemu, err := findEmulator()
	if err == nil {
		m, err = findImage()
	}
	if err != nil && os.Getenv(requireVariable) != "" {
		t.Fatal("no virtual machines here: ", err)
	}
	if err != nil {
		t.Skip("SKIPPED: no virtual machines here: ", err)
	}
	return qemu, m
}

// network returns QEMU's arguments for the interface.
func (o *Options) network() []string {
	netdev, mac := o.Netdev, o.MAC
	switch {
	case netdev != "":
	case o.Command != nil:
		netdev = "%NETDEV"
	case o.Stream != nil:
		netdev = "stream,addr.type=fd,addr.str=3" // the first of ExtraFiles
	default:
		return nil
	}
	if mac == "" {
		if mac = "52:54:00:12:34:56"; o.Command != nil {
			mac = "%MAC"
		}
	}
	return []string{"-netdev", netdev + ",id=n0", "-device", "virtio-net-pci,netdev=n0,mac=" + mac}
}

func (g *Guest) start() {
	g.t.Helper()
	input, err := g.cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	g.input = input
	outputs := map[string]io.Reader{}
	if outputs[""], err = g.cmd.StdoutPipe(); err != nil {
		g.t.Fatal(err)
	}
	if outputs[stderrPrefix], err = g.cmd.StderrPipe(); err != nil {
		g.t.Fatal(err)
	}
	g.started = time.Now()
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	var readers sync.WaitGroup
	for prefix, r := range outputs {
		readers.Go(func() { g.console.read(r, prefix) })
	}
	g.t.Cleanup(func() {
		g.kill()
		readers.Wait()
		<-g.ended
		if g.t.Failed() {
			g.t.Log("a guest's console:\n" + g.tail())
		}
	})
	go func() {
		defer close(g.ended)
		readers.Wait()
		g.cmd.Wait()
	}()
}

// Command is what Start ran: the Command of the options, else QEMU itself.
func (g *Guest) Command() *os.Process { return g.cmd.Process }

// Ended is closed when the command, and all that has its output, has ended; ExitCode is its status then.
func (g *Guest) Ended() <-chan struct{} { return g.ended }

// ExitCode is the command's exit status once it has ended, -1 for a signal.
func (g *Guest) ExitCode() int {
	<-g.ended
	return g.cmd.ProcessState.ExitCode()
}

// Kill ends QEMU as the plug does, and leaves it to the Command to notice. It does not wait: see Ended.
func (g *Guest) Kill() {
	g.t.Helper()
	pid := g.qemu()
	if pid == 0 {
		g.t.Fatal("there is no QEMU to kill:\n" + g.tail())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		g.t.Fatal(err)
	}
}

// qemu is the id of QEMU's process, 0 if it does not run (any more).
func (g *Guest) qemu() int {
	text, err := os.ReadFile(g.pidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	// A process that was killed leaves its file, and its number may be another's by now.
	if arguments, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err != nil || !strings.Contains(string(arguments), g.pidFile) {
		return 0
	}
	return pid
}

// kill ends all of it, at the test's end. The command is its group's leader; QEMU may have left the group.
func (g *Guest) kill() {
	select {
	case <-g.ended:
		return
	default:
	}
	if pid := g.qemu(); pid != 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
}
