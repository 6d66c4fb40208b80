// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	machwire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// bootstrap is a control connection of the barest client.
type bootstrap struct {
	c       *net.UnixConn
	token   uint32
	packet  []byte
	control []byte
}

func dialPackets(path string) (*net.UnixConn, error) {
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
}

func openBootstrap(path string) (*bootstrap, error) {
	c, err := dialPackets(path)
	if err != nil {
		return nil, err
	}
	return &bootstrap{c: c, packet: make([]byte, 4096), control: make([]byte, syscall.CmsgSpace(8))}, nil
}

// exchange sends a packet and returns the reply; the descriptor that came with it is the caller's, -1: there is none.
func (b *bootstrap) exchange(packet, rights []byte) (reply []byte, fd int, err error) {
	if _, _, err := b.c.WriteMsgUnix(packet, rights, nil); err != nil {
		return nil, -1, err
	}
	n, nc, _, _, err := b.c.ReadMsgUnix(b.packet, b.control)
	if err != nil {
		return nil, -1, err
	}
	fd = -1
	if nc > 0 {
		messages, err := syscall.ParseSocketControlMessage(b.control[:nc])
		if err != nil {
			return nil, -1, err
		}
		fds, err := syscall.ParseUnixRights(&messages[0])
		if err != nil {
			return nil, -1, err
		}
		fd = fds[0]
	}
	return b.packet[:n], fd, nil
}

// call is exchange of a request, whose reply must bring a right.
func (b *bootstrap) call(req machwire.Request, rights []byte) (fd int, err error) {
	b.token++
	req.Token = b.token
	packet, err := req.Append(nil)
	if err != nil {
		return -1, err
	}
	reply, fd, err := b.exchange(packet, rights)
	if err != nil {
		return -1, err
	}
	if fd < 0 {
		return -1, fmt.Errorf("%v of %q is answered with %x", req.Routine, req.Service, reply)
	}
	return fd, nil
}

// machHoldRole has the ports of a group until its input ends; its folder is the path of a socket.
func machHoldRole(_ context.Context, r *role) error {
	g, err := parseGroup(r)
	if err != nil {
		return err
	}
	for s := range g.sessions {
		b, err := openBootstrap(g.folder)
		if err != nil {
			return err
		}
		defer b.c.Close() // at the end of the role, all together
		for n := range g.names {
			if _, err := b.call(machwire.Request{Routine: machwire.CheckIn, Service: g.name(s, n)}, nil); err != nil {
				return err
			}
		}
	}
	r.ready()
	r.wait()
	return nil
}

// machLookUpRole looks ports of a group up for as long as it is told; the request is made once, so that the figure is the round trip's.
func machLookUpRole(_ context.Context, r *role) error {
	g, err := parseGroup(r)
	if err != nil {
		return err
	}
	b, err := openBootstrap(g.folder)
	if err != nil {
		return err
	}
	defer b.c.Close()
	requests := make([][]byte, lookUpNames)
	for i := range requests {
		req := machwire.Request{Routine: machwire.LookUp, Token: 1, Service: g.name(rand.IntN(g.sessions), rand.IntN(g.names))}
		if requests[i], err = req.Append(nil); err != nil {
			return err
		}
	}
	r.ready()
	return r.answer(func(d time.Duration, _ []string) (any, error) {
		start, count := time.Now(), 0
		for {
			for range 16 { // the clock is read once in 16 round trips
				reply, fd, err := b.exchange(requests[count%lookUpNames], nil)
				if err != nil || len(reply) != 40 {
					return nil, fmt.Errorf("a reply of %d bytes: %w", len(reply), err)
				}
				if fd >= 0 {
					_ = syscall.Close(fd)
				}
				count++
			}
			if took := time.Since(start); took >= d {
				return rate{Count: count, Seconds: took.Seconds()}, nil
			}
		}
	})
}

// machEchoRole is the barest server: PATH PASS; a goroutine for each connection, which answers what it reads with 40 bytes.
func machEchoRole(_ context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: r.args[0], Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer l.Close()
	var rights []byte
	if r.args[1] == "true" {
		ours, theirs, err := sys.Pair(sys.Seqpacket)
		if err != nil {
			return err
		}
		defer ours.Close()
		defer theirs.Close()
		rights = syscall.UnixRights(ours.Int())
	}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return // closed at the end of the role
			}
			go func() {
				defer c.Close()
				request, reply := make([]byte, 4096), make([]byte, 40)
				for {
					if n, err := c.Read(request); n == 0 || err != nil {
						return
					}
					if rights == nil {
						_, err = c.Write(reply)
					} else {
						_, _, err = c.WriteMsgUnix(reply, rights, nil)
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	r.ready()
	r.wait()
	return nil
}

// machSubsetsRole makes COUNT subsets when it is told to first, and ends them when it is told to again: SOCKET COUNT.
func machSubsetsRole(_ context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	count, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	b, err := openBootstrap(r.args[0])
	if err != nil {
		return err
	}
	defer b.c.Close()
	var requestors []*sys.FD
	var ports []*os.File
	r.ready()
	return r.answer(func(time.Duration, []string) (any, error) {
		start := time.Now()
		if requestors != nil {
			for _, fd := range requestors {
				fd.Close()
			}
			for _, p := range ports {
				if err := awaitEnd(p); err != nil {
					return nil, err
				}
			}
			return rate{Count: count, Seconds: time.Since(start).Seconds()}, nil
		}
		for range count {
			receive, send, err := sys.Pair(sys.Seqpacket)
			if err != nil {
				return nil, err
			}
			requestors = append(requestors, receive)
			req := machwire.Request{Routine: machwire.Subset, Right: machwire.Right{Fd: 1, Disposition: machwire.MakeSend}}
			fd, err := b.call(req, syscall.UnixRights(send.Int()))
			send.Close()
			if err != nil {
				return nil, err
			}
			ports = append(ports, os.NewFile(uintptr(fd), "bootstrap port"))
		}
		return rate{Count: count, Seconds: time.Since(start).Seconds()}, nil
	})
}

// awaitEnd asks a subset for a service until it is refused as one that has ended is, with 1100.
func awaitEnd(port *os.File) error {
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return err
	}
	through := machwire.Message{
		Header:      machwire.Header{Bits: machwire.NewBits(true, machwire.CopySend, 0), Remote: machwire.BrokerPort, ID: 710},
		Descriptors: []machwire.Descriptor{{Fd: 1, Disposition: machwire.MoveSend}},
	}
	err = syscall.Sendmsg(int(port.Fd()), through.Append(nil), syscall.UnixRights(theirs.Int()), nil, 0)
	theirs.Close()
	file := os.NewFile(uintptr(ours.Take()), "control connection")
	defer file.Close()
	if err != nil {
		return err
	}
	c, err := net.FileConn(file)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 10000 {
		req := machwire.Request{Routine: machwire.CreateService, Token: 1, Service: "bench.late" + strconv.Itoa(i)}
		packet, err := req.Append(nil)
		if err != nil {
			return err
		}
		b := &bootstrap{c: c.(*net.UnixConn), packet: make([]byte, 4096), control: make([]byte, syscall.CmsgSpace(8))}
		reply, fd, err := b.exchange(packet, nil)
		if err != nil {
			return err
		}
		if fd < 0 && len(reply) == 36 {
			return nil
		}
		_ = syscall.Close(fd)
	}
	return errors.New("a subset does not end with its requestor port")
}
