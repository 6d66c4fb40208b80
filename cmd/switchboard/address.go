// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
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
	var d net.Dialer
	c, err := d.DialContext(ctx, a.network, a.at)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", a, err)
	}
	return c.(stream), nil // *net.TCPConn or *net.UnixConn
}

// listen binds the address. A Unix socket is for this user only; a stale one is replaced, a live one is not.
func (a address) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	if a.network != "unix" {
		return config.Listen(ctx, a.network, a.at)
	}
	if err := a.removeStale(ctx); err != nil {
		return nil, err
	}
	defer syscall.Umask(syscall.Umask(0o077)) // nothing else of this process makes files now
	return config.Listen(ctx, a.network, a.at)
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
