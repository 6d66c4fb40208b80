// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// isolate gives a command a mount namespace of its own; an ordinary user's
// with a user namespace around it, in which the user keeps its number.
func isolate(cmd *exec.Cmd) {
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		const sysAdmin = 21 // CAP_SYS_ADMIN, which mount asks for
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		attr.AmbientCaps = []uintptr{sysAdmin}
	}
	cmd.SysProcAttr = attr
}

// busRole runs dbus-broker in the folder that is its argument, where systemd
// is not process 1, until its input ends; it prints the launcher's process id
// when it can be used. The launcher then lacks three
// things, which it gets: a journal to log to (a datagram socket, in this
// process's own mount namespace), a bus to announce itself on (a dbus-daemon),
// and a listening socket (systemd-socket-activate).
func busRole(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(errOut, "usage: role-bus FOLDER")
		return 64
	}
	if err := runBus(ctx, args[0], in, out, errOut); err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}

func runBus(ctx context.Context, folder string, in io.Reader, out, errOut io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The launcher's child becomes ours when the launcher ends.
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("cannot become a subreaper: %w", errno)
	}
	defer reap()
	journal, err := makeJournal()
	if err != nil {
		return err
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		drain(journal)
	}()
	defer func() {
		_ = journal.Close()
		<-drained
	}()

	config := func(name, socket string) (string, error) {
		path := filepath.Join(folder, name)
		return path, os.WriteFile(path, []byte(busConfig(socket)), 0o600)
	}
	other := filepath.Join(folder, "otherbus")
	daemonConfig, err := config("dbus-daemon.conf", other)
	if err != nil {
		return err
	}
	daemon, err := proc.Start(ctx, []string{"dbus-daemon", "--config-file=" + daemonConfig, "--nofork", "--print-address"},
		proc.Options{EndsByTERM: true})
	if err != nil {
		return err
	}
	defer daemon.Stop()

	brokerConfig, err := config("dbus-broker.conf", busSocket(folder))
	if err != nil {
		return err
	}
	address := "unix:path=" + other
	launcher := exec.CommandContext(ctx, "systemd-socket-activate", "-l", busSocket(folder),
		"-E", "DBUS_SYSTEM_BUS_ADDRESS="+address, "-E", "DBUS_SESSION_BUS_ADDRESS="+address,
		"dbus-broker-launch", "--scope", "user", "--config-file", brokerConfig)
	launcher.Cancel = func() error { return launcher.Process.Signal(syscall.SIGTERM) }
	launcher.WaitDelay = proc.Grace
	launcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as our broker
	launcher.Stderr = errOut
	if err := launcher.Start(); err != nil {
		return fmt.Errorf("cannot start dbus-broker: %w", err)
	}
	defer func() {
		cancel()
		_ = launcher.Wait() // ended by us: its status says nothing
	}()
	if err := awaitSocket(ctx, busSocket(folder)); err != nil {
		return err
	}
	fmt.Fprintln(out, launcher.Process.Pid)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil
}

// makeJournal puts a journal's socket where the launcher looks for it, on a
// file system that only this mount namespace sees.
func makeJournal() (*net.UnixConn, error) {
	below := "/run/systemd"
	if _, err := os.Stat(below); err != nil {
		below = "/run"
	}
	if err := syscall.Mount("tmpfs", below, "tmpfs", 0, "mode=755"); err != nil {
		return nil, fmt.Errorf("cannot mount a tmpfs on %s for dbus-broker's journal: %w", below, err)
	}
	folder := "/run/systemd/journal"
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: folder + "/socket", Net: "unixgram"})
}

// drain reads the journal's socket until it is closed.
func drain(journal *net.UnixConn) {
	b := make([]byte, 64<<10)
	for {
		if _, err := journal.Read(b); err != nil {
			return
		}
	}
}

// awaitSocket waits until a socket can be connected to; the first connection
// makes systemd-socket-activate start the launcher.
func awaitSocket(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot reach dbus-broker: %w", err)
		}
	}
}

// reap waits for the processes that became ours, and kills those that do not
// end by themselves.
func reap() {
	deadline := time.Now().Add(proc.Grace)
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR) || pid > 0:
			continue
		case err != nil: // no children left
			return
		}
		if time.Now().After(deadline) {
			for _, child := range children() {
				_ = syscall.Kill(child, syscall.SIGKILL)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// children are the children of this process.
func children() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var list []int
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

// busConfig is the configuration of a bus that lets everybody do everything,
// with no files besides, so that no rule of this machine costs it time.
func busConfig(socket string) string {
	return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=` + socket + `</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`
}
