// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"
	"strings"
)

// Sandboxed says why this process must be taken for one inside a sandbox, or "". What it compares
// with is process 1 of its own pid namespace, as far as an ordinary user may look at it: inside a
// container everything is of one kind and no sandbox; a process that was given less than its surroundings is.
func Sandboxed() string {
	self, err := ProcStatus("self")
	if err != nil {
		return "cannot read /proc/self/status, so it may be a sandbox"
	}
	if self["NoNewPrivs"] != "0" && self["NoNewPrivs"] != "" {
		return "NoNewPrivs is set"
	}
	init, err := ProcStatus("1")
	if err != nil {
		return ""
	}
	if self["Seccomp"] != init["Seccomp"] || self["Seccomp_filters"] != init["Seccomp_filters"] {
		return "a seccomp filter is set"
	}
	for _, ns := range []string{"user", "mnt"} {
		ours, err1 := os.Readlink("/proc/self/ns/" + ns)
		theirs, err2 := os.Readlink("/proc/1/ns/" + ns) // often not permitted
		if err1 == nil && err2 == nil && ours != theirs {
			return "its " + ns + " namespace is not the one of process 1"
		}
	}
	return ""
}

// ProcStatus returns the fields of /proc/PID/status; pid is "self" or a number.
func ProcStatus(pid string) (map[string]string, error) {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return nil, err
	}
	m := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = strings.TrimSpace(v)
		}
	}
	return m, nil
}
