// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package manifest

import (
	"os"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Host returns the identity of this host, as far as it is known without the
// system's own tools: its name. The rest is "unknown".
func Host(string) envelope.HostIdentity {
	h := envelope.HostIdentity{Hostname: unknown, MachineID: unknown, BootID: unknown}
	if name, err := os.Hostname(); err == nil && name != "" {
		h.Hostname = name
	}
	return h
}
