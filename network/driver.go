// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// Driver makes networks.
type Driver interface {
	// Name is what clients are told, such as "user".
	Name() string
	// Check returns a [*config.Error] for what the driver cannot do.
	Check(n *config.Network) error
	// Make makes a network that overlaps none of those that are taken. If the file does not fix the subnet, it avoids those to avoid as
	// well, as long as there are others.
	Make(n *config.Network, taken, avoid []netip.Prefix) (Network, error)
}

// Network is one that a driver made. Its methods may be called from several goroutines.
type Network interface {
	Info() usernet.Info
	Stats() usernet.Stats
	// Attach attaches a guest. [usernet.ErrMACInUse] says that another has its MAC.
	Attach(kind usernet.Kind, mac net.HardwareAddr) (Attachment, error)
	Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	Forward(protocol string, listen, guest netip.AddrPort) (Forward, error)
	Forwards() []Forward
	// Close ends it with everything in it, and waits for that.
	Close() error
}

// Attachment is one guest's interface on a network.
type Attachment interface {
	IP() netip.Addr
	// File is the end for the guest. It is closed by Close.
	File() *os.File
	Stats() usernet.Traffic
	// Ended reports whether the guest's end is closed, or about to be.
	Ended() bool
	// Done is closed when the guest is no longer attached; Err says why, if it was for a fault of its own.
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Forward is what listens on the host for a guest.
type Forward interface {
	Protocol() string
	Addr() netip.AddrPort  // where it listens
	Guest() netip.AddrPort // where it leads
	io.Closer
}

// ChooseDriver returns the driver of a name: "user", or "auto", the best that there is here; why says which that is and why. The logger
// is told of guests that are detached for a fault of theirs.
func ChooseDriver(name string, log *slog.Logger) (d Driver, why string, err error) {
	switch name {
	case "user":
		why = "it was asked for"
	case "auto":
		why = "it needs no privilege, and there is no other yet"
	default:
		return nil, "", fmt.Errorf("%q is no driver: there are user, and auto for the best that is there", name)
	}
	user, err := NewUserDriver(log)
	if err != nil {
		return nil, "", err
	}
	return user, why, nil
}
