// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// What a process has descriptors for is divided, so that guests with many connections, or one client with many leases, do not leave the
// service without any.
const (
	spareDescriptors = 64 // for nobody
	ofConnection     = 3  // two sockets and a process
	ofLease          = 2  // the network's end, and the guest's
	mostConnections  = 4096
	mostLeases       = 16384
	mostFlows        = 65536
)

// shares is how many of each there may be.
type shares struct{ connections, leases, flows int }

// shareOut divides descriptors: a quarter is for connections, and three eighths are for leases and for what guests have open outside.
func shareOut(descriptors int) shares {
	left := max(descriptors-spareDescriptors, 0)
	return shares{
		connections: min(max(left/4/ofConnection, 2), mostConnections),
		leases:      min(max(left*3/8/ofLease, 2), mostLeases),
		flows:       min(max(left*3/8, 2), mostFlows),
	}
}

// ownShares divides those of this process.
func ownShares() (shares, error) {
	limit, err := sys.DescriptorLimit()
	return shareOut(limit), err
}

var errFlows = errors.New("guests have too many connections open")

// flows are connections of guests to the host and outside: each has one in the channel.
type flows chan struct{}

// dial makes a connection, if there may be one more.
func (f flows) dial(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case f <- struct{}{}:
	default:
		return nil, errFlows
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		<-f
		return nil, err
	}
	return &flow{Conn: conn, free: sync.OnceFunc(func() { <-f })}, nil
}

type flow struct {
	net.Conn
	free func()
}

func (f *flow) Close() error {
	defer f.free()
	return f.Conn.Close()
}

// CloseWrite ends what is sent, where that can end alone.
func (f *flow) CloseWrite() error {
	if half, ok := f.Conn.(halfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
