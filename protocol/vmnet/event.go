// SPDX-License-Identifier: Apache-2.0

package vmnet

import (
	"strings"

	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// What a client that has sent a version is told without having asked.
const (
	Ending         = "ending"          // the service ends on purpose
	ForwardEnded   = "forward_ended"   // what the connection forwarded is cut: its network has gone
	InterfaceEnded = "interface_ended" // the service has closed a lease's interface for a fault of the guest's
)

// Event is a message of the service's own accord. Which fields count depends on its name.
type Event struct {
	Name    string
	Network string // ForwardEnded, InterfaceEnded
	Lease   uint64 // InterfaceEnded
	Address string // ForwardEnded: where it listened
	Reason  string // for people; may be empty
}

// Dict returns the event as it is sent, without what is empty.
func (e Event) Dict() xpc.Dict {
	d := xpc.Dict{{Key: "event", Value: xpc.String(e.Name)}, {Key: "version", Value: xpc.Uint64(Version)}}
	text := func(key, value string) {
		if value != "" {
			d.Set(key, xpc.String(clean(value)))
		}
	}
	text("network_name", e.Network)
	if e.Lease != 0 {
		d.Set("lease", xpc.Uint64(e.Lease))
	}
	text("address", e.Address)
	text("reason", e.Reason)
	return d
}

// ParseEvent reads an event. Unknown keys are ignored, and names too: they are left to the caller. The error is a [*Refusal], InvalidReply.
func ParseEvent(root xpc.Dict) (Event, error) {
	p := reading{root: root}
	e := Event{
		Name: p.text("event", true), Network: p.text("network_name", false), Lease: p.number("lease", false), Address: p.text("address", false),
		Reason: p.text("reason", false),
	}
	return e, p.invalid()
}

// clean makes text of any bytes.
func clean(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD") }
