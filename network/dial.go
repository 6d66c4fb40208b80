// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/network/usernet"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

const (
	// dialTimeout is how long a guest may take to accept a connection.
	dialTimeout = 10 * time.Second
	// maxDials is how many connections to guests there may be for clients at a time.
	maxDials = 256
)

// dial connects to a guest, and returns the client's end of the connection. It waits for the guest.
func (s *Service) dial(ctx context.Context, to func(context.Context) (net.Conn, error)) (*sys.FD, error) {
	select {
	case s.dials <- struct{}{}:
	default:
		return nil, vmnet.Refuse(vmnet.InternalError, "there are %d connections to guests, and may not be more", maxDials)
	}
	started := false
	defer func() {
		if !started {
			<-s.dials
		}
	}()
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	guest, err := to(limited)
	switch {
	case errors.Is(err, usernet.ErrNotHere):
		return nil, vmnet.Refuse(vmnet.NotFound, "%v", err)
	case err != nil:
		return nil, vmnet.Refuse(vmnet.CreateFailure, "%v", err)
	}
	ours, theirs, err := sys.Pair(sys.Stream)
	if err == nil {
		err = sys.SetNonblock(theirs.Int(), false)
	}
	var end net.Conn
	if err == nil {
		f := os.NewFile(uintptr(ours.Take()), "dial")
		end, err = net.FileConn(f)
		f.Close()
	}
	if err != nil {
		guest.Close()
		if theirs != nil {
			theirs.Close()
		}
		return nil, vmnet.Refuse(vmnet.InternalError, "%v", err)
	}
	started = true
	s.work.Go(func() {
		defer func() { <-s.dials }()
		relay(ctx, end, guest)
	})
	return theirs, nil
}

// halfCloser is a connection whose sending can end before its receiving.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// relay passes bytes on both ways until both have ended, or ctx has; then it closes both.
func relay(ctx context.Context, a, b net.Conn) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		a.Close()
		b.Close()
	})
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(halfCloser); ok && err == nil && half.CloseWrite() == nil {
			return
		}
		to.Close() // with an error, nothing will come the other way either
		from.Close()
	}
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
	if !stop() {
		<-closed
	}
	a.Close()
	b.Close()
}
