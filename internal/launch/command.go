// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
)

// Backlog is for how many callers a listening socket has room (the kernel cuts it to net.core.somaxconn, 4,096 by default).
const Backlog = 4096

// Preamble is the verdict that a backend's shim writes to a connection it has taken.
const Preamble = "OK\n"

// Accept is how a backend gets at its callers.
type Accept = order.Accept

// The four ways, see package order.
const (
	Listener   = order.Listener
	Connection = order.Connection
	Path       = order.Path
	Native     = order.Native
)

// Command is everything about the process of one backend.
type Command struct {
	Instance string   // random, 32 hexadecimal digits: names its cgroup and marks its processes
	Name     string   // of the service, for LISTEN_FDNAMES
	Argv     []string // Argv[0] is an absolute path
	Env      []string // complete, from Environment
	Dir      string   // the working folder; "" is "/"
	Accept   Accept
	UID, GID int   // -1: the broker's own
	Groups   []int // supplementary groups, if UID is not -1
}

// Expand fills in ${SWITCHBOARD_SOCKET} and ${SCOPE}; everything else, also other variables, stays as it is.
func Expand(s, socket, scope string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	return strings.NewReplacer("${SWITCHBOARD_SOCKET}", socket, "${SCOPE}", scope).Replace(s)
}
