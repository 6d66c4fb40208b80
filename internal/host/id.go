// SPDX-License-Identifier: Apache-2.0

// Package host says what a machine is known by, and where a user's things are on it. Its
// sections are those of the running-process protocol (6.1, 11 and 12).
package host

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

const bootFile = "/proc/sys/kernel/random/boot_id"

// MachineID returns what the machine is known by: /etc/machine-id, else that of D-Bus,
// else "boot:" and the id of this boot. A file that exists and cannot be read is an
// error; an empty one counts as none. Linux only.
func MachineID() (string, error) {
	for _, f := range []struct{ path, prefix string }{
		{"/etc/machine-id", ""}, {"/var/lib/dbus/machine-id", ""}, {bootFile, "boot:"},
	} {
		text, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if id := strings.TrimSpace(string(text)); id != "" {
			return f.prefix + id, nil
		}
	}
	return "", errors.New("this machine has no id (/etc/machine-id)")
}

// BootID returns the kernel's id of this boot. Linux only.
func BootID() (string, error) {
	text, err := os.ReadFile(bootFile)
	return strings.TrimSpace(string(text)), err
}
