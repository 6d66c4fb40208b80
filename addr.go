// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"net"
	"strconv"
)

// Addr is the address of one side of a connection: the service's name, or the caller's process id.
type Addr struct {
	Name string // of a service; "": the caller's side
	PID  int    // of the caller; 0: not known
}

var _ net.Addr = Addr{}

// Network returns "switchboard".
func (Addr) Network() string { return "switchboard" }

// String returns the name of a service, or "pid:N" for a caller.
func (a Addr) String() string {
	if a.Name != "" {
		return a.Name
	}
	return "pid:" + strconv.Itoa(a.PID)
}
