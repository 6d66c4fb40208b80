// SPDX-License-Identifier: Apache-2.0

// Package unixconn makes connections of descriptors. It is apart from internal/sys so that
// who needs no connections does not link package net.
package unixconn

import (
	"errors"
	"net"
	"os"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Of makes a connection of the descriptor of a connected Unix socket. The descriptor is
// closed in any case.
func Of(fd *sys.FD) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd.Take()), "connection")
	defer file.Close()
	c, err := net.FileConn(file) // of a duplicate
	if err != nil {
		return nil, err
	}
	unix, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("it is not a Unix socket")
	}
	return unix, nil
}
