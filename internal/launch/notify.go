// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"strings"
)

// Notification is what a backend said on NOTIFY_SOCKET (sd_notify).
type Notification struct {
	Ready, Stopping bool
	Status          string // for people, printable
}

// ParseNotify reads one datagram: lines of "KEY=value". Keys that mean nothing here are passed over.
func ParseNotify(b []byte) Notification {
	var n Notification
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		key, value, _ := strings.Cut(string(line), "=")
		switch {
		case key == "READY" && value == "1":
			n.Ready = true
		case key == "STOPPING" && value == "1":
			n.Stopping = true
		case key == "STATUS":
			n.Status = printable([]byte(value))
		}
	}
	return n
}
