// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
	"github.com/switchboard-ipc/switchboard/runningprocess"
)

const (
	demoDaemon  = "switchboard-demo-daemon" // the name of this program as a backend of running-process, which gets no arguments
	demoBuilder = "builder"                 // its service
	demoLane    = 0xF415                    // of what its clients say, for private use
)

// definitionsDir is the folder with the tour's definitions of running-process.
func (t *tour) definitionsDir() string { return filepath.Join(t.dir, "definitions") }

// stepDaemon is what a client of running-process sees: a daemon in two versions, each launched by its first client.
func stepDaemon(ctx context.Context, t *tour) (string, error) {
	program := filepath.Join(t.dir, demoDaemon)
	if err := copyProgram(t.self, program); err != nil {
		return "", err
	}
	if err := os.Mkdir(t.definitionsDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	d := envelope.ServiceDefinition{ServiceName: demoBuilder, BinaryPath: program, VersionAllowList: []string{"1.0.0", "2.0.0"}}
	if err := os.WriteFile(filepath.Join(t.definitionsDir(), demoBuilder+".servicedef"), d.Append(nil), 0o600); err != nil {
		return "", err
	}
	began := time.Now()
	first, err := t.askDaemon(ctx, "1.0.0")
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	second, err := t.askDaemon(ctx, "2.0.0")
	if err != nil {
		return "", err
	}
	again, err := t.askDaemon(ctx, "1.0.0")
	switch {
	case err != nil:
		return "", err
	case again.pid != first.pid || second.pid == first.pid:
		return "", fmt.Errorf("1.0.0 was answered by pids %d and %d, 2.0.0 by %d", first.pid, again.pid, second.pid)
	case !again.handed:
		return "", errors.New("the connection to a daemon that runs was not handed over")
	}
	t.launched(first.pid)
	t.launched(second.pid)
	return fmt.Sprintf("a client of running-process had %s 1.0.0 launched (pid %d) and answered in %s; 2.0.0 runs beside it (pid %d); then a connection was handed over",
		demoBuilder, first.pid, millis(took), second.pid), nil
}

// daemonAnswer is who answered, and which way the connection came.
type daemonAnswer struct {
	pid    int
	handed bool
}

func (t *tour) askDaemon(ctx context.Context, version string) (a daemonAnswer, err error) {
	c, _, err := runningprocess.Dial(ctx, runningprocess.Request{
		Broker: filepath.Join(t.runtimeDir(), "broker.sock"), Service: demoBuilder, Version: version,
	})
	if err != nil {
		return a, err
	}
	defer c.Close()
	a.handed = c.HandedOff()
	if err := c.SetDeadline(time.Now().Add(demoPatience)); err != nil {
		return a, err
	}
	ask := envelope.Frame{EnvelopeVersion: envelope.Version, PayloadProtocol: demoLane, Payload: []byte("who?"), RequestID: 1}
	if err := runningprocess.WriteFrame(c, ask); err != nil {
		return a, err
	}
	reply, err := runningprocess.ReadFrame(c, 1024)
	if err != nil {
		return a, err
	}
	var of string
	if _, err := fmt.Sscanf(string(reply.Payload), "pid %d of %s", &a.pid, &of); err != nil || of != version {
		return a, fmt.Errorf("%s was asked for, and the daemon says %q", version, reply.Payload)
	}
	return a, nil
}

// demoPatience is for answers of a daemon that runs.
const demoPatience = 10 * time.Second

// demoDaemonMain is the daemon: it answers each frame with its process and version.
func demoDaemonMain() int {
	l, err := runningprocess.Listen()
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			go answerFrames(c)
		}
	}
	fmt.Fprintln(os.Stderr, demoDaemon+":", err)
	return 1
}

func answerFrames(c net.Conn) {
	defer c.Close()
	for {
		f, err := runningprocess.ReadFrame(c, 1024)
		if err != nil {
			return
		}
		who := fmt.Sprintf("pid %d of %s", os.Getpid(), os.Getenv("RUNNING_PROCESS_BROKER_V1_SERVICE_VERSION"))
		if runningprocess.WriteFrame(c, f.Reply(f.PayloadProtocol, []byte(who))) != nil {
			return
		}
	}
}

// copyProgram gives a program another name: by a link where that can be, since it may be large.
func copyProgram(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
