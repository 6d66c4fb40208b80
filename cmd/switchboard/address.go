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
	"strings"
	"syscall"
)

// address is a place outside the broker: tcp:HOST:PORT or unix:PATH.
type address struct {
	network string // "tcp" or "unix"
	at      string // host:port, or an absolute path
}

func (a address) String() string { return a.network + ":" + a.at }

// parseAddress reads tcp:HOST:PORT or unix:PATH.
func parseAddress(s string) (address, error) {
	network, at, _ := strings.Cut(s, ":")
	switch network {
	case "tcp":
		if _, port, err := net.SplitHostPort(at); err != nil || port == "" {
			return address{}, usagef("address %q wants a host and a port, like tcp:127.0.0.1:8000", s)
		}
		return address{network, at}, nil
	case "unix":
		if at == "" {
			return address{}, usagef("address %q wants a path, like unix:/run/server.sock", s)
		}
		path, err := filepath.Abs(at)
		if err != nil {
			return address{}, fmt.Errorf("cannot resolve %q: %w", s, err)
		}
		return address{network, path}, nil
	}
	return address{}, usagef("cannot read address %q: it is tcp:HOST:PORT or unix:PATH", s)
}

// dial connects to the address.
func (a address) dial(ctx context.Context) (stream, error) {
	at, folder, err := a.short()
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, a.network, at)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", a, err)
	}
	return c.(stream), nil // *net.TCPConn or *net.UnixConn
}

// listen binds the address. A Unix socket is for this user only; a stale one is replaced, a live one is not.
func (a address) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	if a.network != "unix" {
		l, err := config.Listen(ctx, a.network, a.at)
		if err != nil {
			return nil, a.cannotListen(err)
		}
		return l, nil
	}
	if err := a.removeStale(ctx); err != nil {
		return nil, err
	}
	at, folder, err := a.short()
	if err != nil {
		return nil, err
	}
	defer syscall.Umask(syscall.Umask(0o077)) // nothing else of this process makes files now
	l, err := config.Listen(ctx, a.network, at)
	if err != nil {
		folder.Close()
		return nil, a.cannotListen(err)
	}
	return &unixListener{l, a, folder}, nil
}

// cannotListen adds a code, and what to do, to why an address could not be bound.
func (a address) cannotListen(err error) error {
	err = fmt.Errorf("cannot listen on %s: %w", a, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && a.network == "tcp":
		return &codeError{exitTryAgain, fmt.Errorf("%w: choose another port (0: the system chooses), or end who has it", err)}
	case errors.Is(err, syscall.EADDRINUSE):
		return &codeError{exitTryAgain, fmt.Errorf("%w: choose another path, or remove what lies there", err)}
	case errors.Is(err, os.ErrPermission) && a.network == "tcp":
		return &codeError{exitNotAllowed, fmt.Errorf("%w: choose a port from 1024 on (0: the system chooses)", err)}
	case errors.Is(err, os.ErrPermission):
		return &codeError{exitNotAllowed, fmt.Errorf("%w: choose a folder that you may write to", err)}
	}
	return err
}

// longestPath is what a socket address holds on every system.
const longestPath = 103

// short returns the address in a form that fits into a socket address: a long path leads through a descriptor of its
// folder, which is to be kept open meanwhile.
func (a address) short() (string, io.Closer, error) {
	if a.network != "unix" || len(a.at) <= longestPath {
		return a.at, io.NopCloser(nil), nil
	}
	folder, err := os.Open(filepath.Dir(a.at))
	if err != nil {
		return "", nil, fmt.Errorf("cannot open the folder of %s: %w", a, err)
	}
	at := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(a.at))
	if over := len(at) - longestPath; over > 0 {
		folder.Close()
		return "", nil, usagef("the name of the socket %q is too long: it is of %d bytes at most", a.at,
			len(filepath.Base(a.at))-over)
	}
	return at, folder, nil
}

// unixListener is a Unix socket that is removed by Close, and whose folder is open until then.
type unixListener struct {
	net.Listener
	at     address
	folder io.Closer
}

// Addr returns the address as it was given, not the form in which it was bound.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.at.at, Net: l.at.network} }

// Close removes the socket and closes it.
func (l *unixListener) Close() error {
	return errors.Join(l.Listener.Close(), l.folder.Close())
}

// removeStale removes the socket that a dead process left at the address.
func (a address) removeStale(ctx context.Context) error {
	info, err := os.Lstat(a.at)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return nil // what else lies there, bind will say
	}
	c, err := a.dial(ctx)
	if err == nil {
		c.Close()
		return &codeError{exitTryAgain, fmt.Errorf("cannot listen on %s: somebody else does", a)}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(a.at)
	}
	return nil
}
