// SPDX-License-Identifier: Apache-2.0

package vmnet

import (
	"fmt"
	"strings"

	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// MaxID is how long an ID may be, in bytes.
const MaxID = 255

// Request is what a client asks for. Which fields count depends on the command.
type Request struct {
	Command string
	Network string // network_name
	Version uint64 // 0: the original's client

	// Acquire; all may be left out, and the original ignores them.
	ID      string // whose MAC and address it is: the same for the same id
	Kind    string // of the socket: "stream" or "datagram"
	Driver  string // "auto" or "user"
	Lasting bool   // the connection ends with its descriptors, and not with the process that made it. Needs a Version

	Lease uint64 // Release

	// Forward and Dial.
	Guest    string // its address, MAC or id
	Port     uint16
	Address  string // Forward: where to listen, "127.0.0.1:8080"
	Protocol string // "tcp" or "udp"; "": tcp

	After string // List, Status, Leases: go on after this one
}

// Refusal is a request that is refused, or a reply that says so.
type Refusal struct {
	Code Code
	Why  string // for people
}

func (r *Refusal) Error() string {
	if r.Why == "" {
		return fmt.Sprintf("%v (%d)", r.Code, int64(r.Code))
	}
	return fmt.Sprintf("%v (%d): %s", r.Code, int64(r.Code), r.Why)
}

// Refuse makes a Refusal.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// Reply returns the reply that says it; why only to a client that has sent a version.
func (r *Refusal) Reply(version uint64) xpc.Dict {
	d := xpc.Dict{{Key: "error", Value: xpc.Int64(r.Code)}}
	if version != 0 && r.Why != "" {
		d.Set("reason", xpc.String(clean(r.Why)))
	}
	return d
}

// ParseRequest reads a request. Unknown keys are ignored, as are those of other commands. The error is a [*Refusal].
func ParseRequest(root xpc.Dict) (Request, error) {
	p := reading{root: root}
	var r Request
	if r.Command = p.text("command", true); p.refused != nil {
		return r, p.refused
	}
	if r.Command != Acquire {
		r.Version = p.number("version", false)
		switch {
		case p.refused != nil || r.Version == 0:
			return r, Refuse(InvalidRequest, "there is no command %q without a version: uint64 %d", clip(r.Command), Version)
		case r.Version != Version:
			return r, Refuse(InvalidRequest, "version is %d, and this service knows %d only", r.Version, Version)
		}
	} else if v, err := root.Uint("version"); err == nil { // the original's clients may have such a key, of any type
		r.Version = v
	}
	switch r.Command {
	case Acquire:
		r.Network = p.text("network_name", true)
		r.ID, r.Kind, r.Driver = p.text("id", false), p.text("kind", false), p.text("driver", false)
		if root.Has("id") && (r.ID == "" || len(r.ID) > MaxID || strings.ContainsFunc(r.ID, func(c rune) bool { return c < ' ' || c == 0x7f })) {
			p.refuse("id is %q, and must be 1 to %d bytes without control characters", clip(r.ID), MaxID)
		}
		if r.Version == Version {
			var err error
			r.Lasting, err = root.Bool("lasting")
			p.check(err, false)
		}
		p.oneOf("kind", r.Kind, "stream", "datagram")
		p.oneOf("driver", r.Driver, "auto", "user")
	case Release:
		r.Lease = p.number("lease", true)
	case List, Status, Leases:
		r.Network, r.After = p.text("network_name", false), p.text("after", false)
	case Forward, Dial:
		r.Network, r.Guest, r.Protocol = p.text("network_name", true), p.text("guest", true), p.text("protocol", false)
		p.oneOf("protocol", r.Protocol, "tcp", "udp")
		port := p.number("port", true)
		if port < 1 || port > 65535 {
			p.refuse("port is %d, and must be 1 to 65535", port)
		}
		r.Port = uint16(port)
		if r.Command == Forward {
			r.Address = p.text("address", true)
		}
	default:
		p.refuse("there is no command %q", clip(r.Command))
	}
	if p.refused != nil {
		return r, p.refused
	}
	return r, nil
}

// Dict returns the request as clients send it, without what is empty.
func (r Request) Dict() xpc.Dict {
	d := xpc.Dict{{Key: "command", Value: xpc.String(r.Command)}}
	text := func(key, value string) {
		if value != "" {
			d.Set(key, xpc.String(value))
		}
	}
	number := func(key string, value uint64) {
		if value != 0 {
			d.Set(key, xpc.Uint64(value))
		}
	}
	text("network_name", r.Network)
	number("version", r.Version)
	text("id", r.ID)
	text("kind", r.Kind)
	text("driver", r.Driver)
	if r.Lasting {
		d.Set("lasting", xpc.Bool(true))
	}
	number("lease", r.Lease)
	text("guest", r.Guest)
	number("port", uint64(r.Port))
	text("address", r.Address)
	text("protocol", r.Protocol)
	text("after", r.After)
	return d
}
