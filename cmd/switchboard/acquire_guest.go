// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// guest is a command that has an interface, and the lease for it.
type guest struct {
	app     *app
	client  *switchboard.Client
	network string
	flags   acquireFlags
	lease   *switchboard.Lease // with --reconnect: the first one
	passed  []int              // descriptors that the command inherits where they are; none if it has them
	third   *os.File           // the one that is number 3 in the command, or nil

	// With --reconnect:
	dir, path string // of the socket that the command connects to
	listener  *net.UnixListener
	cancel    context.CancelFunc
	work      sync.WaitGroup
}

// started is called when the command has what it inherits. From then on it is the only one that has the guest's end.
func (g *guest) started() {
	g.drop()
	if g.listener != nil {
		return
	}
	g.lease.Interface.Close()
	g.work.Go(func() {
		<-g.lease.Done()
		if err := g.lease.Err(); !errors.Is(err, net.ErrClosed) {
			g.app.say("%v; the interface of the command is dead, and cannot be replaced while it runs: end it and acquire again, or run it with "+
				"acquire --reconnect (QEMU 8.0 or newer)", err)
		}
	})
}

// end gives everything back.
func (g *guest) end() {
	g.drop()
	if g.listener != nil {
		g.cancel()
		g.listener.Close()
	}
	g.lease.Close()
	g.work.Wait()
	if g.dir != "" {
		os.RemoveAll(g.dir)
	}
}

// listen makes the socket that QEMU connects to, as often as it likes: each connection has an interface.
func (g *guest) listen() error {
	err := g.listenIn(os.Getenv("XDG_RUNTIME_DIR"))
	if err != nil { // it may be too long for a socket's path, which QEMU has to have whole
		err = g.listenIn("")
	}
	if err != nil {
		return fmt.Errorf("cannot make the socket that the command connects to: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.work.Go(func() { g.serve(ctx) })
	return nil
}

// listenIn makes the socket in a new folder in dir.
func (g *guest) listenIn(dir string) (err error) {
	if g.dir, err = os.MkdirTemp(dir, "switchboard-acquire-"); err != nil {
		return err
	}
	g.path = filepath.Join(g.dir, "net.sock")
	if g.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: g.path, Net: "unix"}); err != nil {
		os.RemoveAll(g.dir)
	}
	return err
}

// serve gives each connection an interface until ctx ends. One that was used has half a frame in it perhaps, so each gets a new lease, for the same guest.
func (g *guest) serve(ctx context.Context) {
	lease := g.lease
	for ctx.Err() == nil {
		c, err := g.listener.AcceptUnix()
		if err != nil {
			return
		}
		if lease == nil {
			lease = g.again(ctx)
		}
		if lease != nil {
			g.connect(ctx, c, lease)
			lease.Close()
		}
		lease = nil
		c.Close()
	}
}

// connect relays between a guest and its interface until either ends.
func (g *guest) connect(ctx context.Context, c *net.UnixConn, lease *switchboard.Lease) {
	end, err := net.FileConn(lease.Interface)
	lease.Interface.Close()
	if err != nil {
		g.app.say("cannot use the interface: %v", err)
		return
	}
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		_ = both(ctx, c, end.(*net.UnixConn))
	}()
	select {
	case <-relayed: // the guest hung up, or the interface did, because the service is dying
		dying, cancel := context.WithTimeout(ctx, againPause)
		defer cancel()
		select {
		case <-lease.Done():
		case <-dying.Done():
		}
	case <-lease.Done():
	case <-ctx.Done():
	}
	if err := lease.Err(); err != nil && ctx.Err() == nil {
		g.app.say("%v; the command is to connect anew", err)
	}
	c.Close()
	end.Close()
	<-relayed
}

// againPause is the wait between attempts to acquire again, and for the word that the service has ended.
const againPause = time.Second

// again acquires for a guest that connects anew; nil: ctx has ended.
func (g *guest) again(ctx context.Context) *switchboard.Lease {
	for {
		lease, err := g.app.acquire(ctx, g.client, g.network, g.flags)
		if err == nil {
			return lease
		}
		if ctx.Err() != nil {
			return nil
		}
		g.app.say("%v: trying again", err)
		pause(ctx, againPause)
	}
}

var qemuVersion = regexp.MustCompile(`version (\d+)\.(\d+)`)

// reconnectOption is how the QEMU at a path is told to connect anew. What is no QEMU is taken for a new one behind a script.
func reconnectOption(ctx context.Context, path string) (string, error) {
	const newest, older = "reconnect-ms=1000", "reconnect=1"
	if name := filepath.Base(path); !strings.HasPrefix(name, "qemu") && name != "kvm" {
		return newest, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	match := qemuVersion.FindSubmatch(out)
	if err != nil || match == nil {
		return newest, nil
	}
	major, _ := strconv.Atoi(string(match[1]))
	minor, _ := strconv.Atoi(string(match[2]))
	switch {
	case major < 8:
		return "", &codeError{exitUnavailable, fmt.Errorf("QEMU %d.%d cannot connect anew: --reconnect needs QEMU 8.0; leave it out", major, minor)}
	case major < 9 || major == 9 && minor < 2:
		return older, nil
	}
	return newest, nil
}
