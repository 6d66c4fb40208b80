// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"os"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Host returns the identity of this host and boot, with the device that a path is
// on (0 if it is missing). What cannot be found out is "unknown". (Section 12.)
func Host(path string) envelope.HostIdentity {
	h := envelope.HostIdentity{
		Hostname:    unknown,
		MachineID:   firstLine("/etc/machine-id", "/var/lib/dbus/machine-id"),
		BootID:      firstLine("/proc/sys/kernel/random/boot_id"),
		NamespaceID: link("/proc/self/ns/mnt", "mntns:unknown") + ":" + link("/proc/self/ns/pid", "pidns:unknown"),
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		h.Hostname = name
	}
	if info, err := os.Stat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			h.FSDevID = st.Dev
		}
	}
	return h
}

// firstLine returns what is in the first of the files that has something in it.
func firstLine(files ...string) string {
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil {
			if text := strings.TrimSpace(string(data)); text != "" {
				return text
			}
		}
	}
	return unknown
}

func link(path, otherwise string) string {
	if to, err := os.Readlink(path); err == nil {
		return to
	}
	return otherwise
}
