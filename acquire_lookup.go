// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

const (
	bootstrapSocket = "bootstrap.sock" // in the runtime folder
	systemFolder    = "/run/switchboard"
)

// errNoPort: a broker was asked, and nobody has the name.
var errNoPort = errors.New("nobody has the name")

// lookUpPort asks the broker for a send right to a port. If no broker runs it starts one with start, and else nobody has the name.
func (c *Client) lookUpPort(ctx context.Context, name string, start bool) (*sys.FD, error) {
	r := newRetry(ctx, c.patience)
	for started := false; ; {
		port, err := c.lookUpPortOnce(ctx, name)
		switch {
		case err == nil, errors.Is(err, errNoPort), ctx.Err() != nil:
			return port, err
		case c.ctx.Err() != nil:
			return nil, errClosed
		case isAbsent(err) && c.door == nil && !start:
			return nil, errNoPort
		case isAbsent(err) && c.door == nil:
			c.trusted.Store(false)
			if err := c.startBroker(ctx); err != nil {
				return nil, err
			}
			if !started {
				started = true
				continue
			}
		case !isPassing(err):
			return nil, err
		}
		if !r.wait(ctx) {
			if errors.Is(err, os.ErrNotExist) && c.answers() {
				return nil, &Error{Code: CodeUnavailable, Err: err, Text: fmt.Sprintf("the broker of %s serves no Mach messages: it is older than this "+
					"program; switchboard shutdown ends it", c.dir)}
			}
			return nil, gaveUp(ctx, err)
		}
	}
}

func (c *Client) lookUpPortOnce(ctx context.Context, name string) (*sys.FD, error) {
	var fd *sys.FD
	var err error
	if c.door != nil {
		fd, err = c.door.connectBootstrap(ctx)
	} else if err = c.trust(); err == nil {
		fd, err = sys.Connect(filepath.Join(c.dir, bootstrapSocket), sys.Seqpacket, false)
	}
	if err != nil {
		return nil, err
	}
	return askForPort(ctx, fd, name)
}

// lookUpSystemPort asks the system's broker, if there is one that this user may ask. errNoPort: it is not to be had there.
func (c *Client) lookUpSystemPort(ctx context.Context, name string) (*sys.FD, error) {
	if c.dir == c.system {
		return nil, errNoPort
	}
	st, err := sys.LstatFolder(c.system)
	if err != nil || !st.IsDir {
		return nil, errNoPort
	}
	fd, err := sys.Connect(filepath.Join(c.system, bootstrapSocket), sys.Seqpacket, false)
	if err != nil {
		return nil, errNoPort
	}
	// Whoever may make a folder in /run is trusted with what runs there; who listens is to be the same.
	if cred, err := sys.PeerCred(fd.Int()); err != nil || cred.UID != st.UID {
		fd.Close()
		return nil, errNoPort
	}
	port, err := askForPort(ctx, fd, name)
	if err != nil && ctx.Err() == nil {
		return nil, errNoPort // such as one that does not serve this user
	}
	return port, err
}

// askForPort looks a name up on a control connection, which it closes.
func askForPort(ctx context.Context, fd *sys.FD, name string) (*sys.FD, error) {
	end, err := newPacketEnd(fd, bootstrapSocket)
	if err != nil {
		return nil, err
	}
	defer end.close()
	packet, err := mach.Request{Routine: mach.LookUp3, Service: name, Token: 1}.Append(nil)
	if err != nil {
		return nil, err
	}
	if err := end.send(ctx, packet); err != nil {
		return nil, err
	}
	b := buffers.Get().(*sys.Buffer)
	defer putBuffer(b)
	if packet, err = end.receive(ctx, b); err != nil {
		return nil, err
	}
	reply, err := mach.ParseReply(packet, len(b.FDs))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the broker's answer to a look-up is none: %w", err)
	case reply.Code == mach.UnknownService:
		return nil, errNoPort
	case reply.Code != mach.OK:
		return nil, &Error{Code: CodeUnavailable, Text: fmt.Sprintf("the look-up of %s failed: %v", name, reply.Code)}
	case reply.Shape != mach.PortReply || !reply.Right.Fd.Carried() || len(b.FDs) != 1:
		return nil, fmt.Errorf("the broker's answer to a look-up has no port")
	}
	port := sys.NewFD(b.FDs[0])
	b.FDs = b.FDs[:0]
	return port, nil
}

// connectBootstrap is connect for a control connection of Mach messages.
func (d *door) connectBootstrap(ctx context.Context) (*sys.FD, error) {
	if d.err != nil {
		return nil, d.err
	}
	packet, err := mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}}.Append(nil)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err = sendThrough(ctx, d.fd, packet, theirs.Int()); err == nil {
		return ours, nil
	}
	ours.Close()
	return nil, d.explained(err)
}
