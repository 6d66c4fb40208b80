// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// What a process that is launched with listening sockets finds in its environment, as systemd has it.
const (
	listenPID   = "LISTEN_PID"     // the process that they are for
	listenFDs   = "LISTEN_FDS"     // how many there are
	listenNames = "LISTEN_FDNAMES" // what they are called, with colons between
	firstPassed = 3                // the number of the first one

	socketPath = "SWITCHBOARD_SOCKET" // where the one of a launched process is bound
)

// passedListener makes l accept on the socket that this process was launched with for its name, if there is one. Each is used once.
func (c *Client) passedListener(l *Listener) (bool, error) {
	if l.options.accept == session.AcceptPath {
		return false, nil // it accepts elsewhere
	}
	number := passedSocket(l.name)
	if number < 0 || !c.takePassed(number) {
		return false, nil
	}
	if err := sys.CheckListener(number, sys.Stream); err != nil {
		return false, &Error{Code: CodeUnavailable, Err: err,
			Text: fmt.Sprintf("%s names a socket for it, and %v: it was closed or replaced; unset %s to claim the name instead", listenNames, err, listenFDs)}
	}
	fd, err := sys.Dup(number)
	if err != nil {
		return false, err
	}
	s, err := newSocket(fd)
	if err != nil {
		return false, err
	}
	sys.CloseOnExec(number)
	s.passed = true
	l.mu.Lock()
	l.socket, l.path = s, os.Getenv(socketPath)
	l.mu.Unlock()
	context.AfterFunc(l.ctx, s.close)
	return true, nil
}

// takePassed reports whether nobody has used the descriptor yet.
func (c *Client) takePassed(number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.passed[number] {
		return false
	}
	if c.passed == nil {
		c.passed = make(map[int]bool)
	}
	c.passed[number] = true
	return true
}

// passedSocket returns the number of the descriptor that this process was launched with for a name, or -1.
func passedSocket(service string) int {
	if os.Getenv(listenPID) != strconv.Itoa(os.Getpid()) {
		return -1
	}
	n, err := strconv.Atoi(os.Getenv(listenFDs))
	if err != nil {
		return -1
	}
	names := os.Getenv(listenNames)
	if n == 1 && names == service { // which may have colons itself
		return firstPassed
	}
	for i, name := range strings.Split(names, ":") {
		if i < n && name == service {
			return firstPassed + i
		}
	}
	return -1
}
