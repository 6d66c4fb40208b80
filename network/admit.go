// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// admit makes a connection of a handshake. The message stays the caller's.
func (s *Service) admit(ctx context.Context, m *mach.Message) {
	if _, ok := m.Notification(); ok {
		return
	}
	if err := s.handshake(ctx, m); err != nil && s.refusals.allow(time.Now()) {
		s.log.Warn("a client was refused", "err", err)
	}
}

func (s *Service) handshake(ctx context.Context, m *mach.Message) error {
	if uint32(m.ID) != uint32(xpc.KindHandshake) {
		return fmt.Errorf("message %#x came to the port: connections begin with the handshake %#x", uint32(m.ID), uint32(xpc.KindHandshake))
	}
	wrong := errors.New("a handshake has a receive right and a send right, and nothing else")
	if len(m.Rights) != 2 || len(m.Memory) != 0 || m.Ports != nil || len(m.Body) != 0 || m.Reply != nil {
		return wrong
	}
	receive, ok := m.Rights[0].(*mach.ReceiveRight)
	send, ok2 := m.Rights[1].(*mach.SendRight)
	if !ok || !ok2 || receive == nil || send == nil {
		return wrong
	}
	c := &connection{service: s}
	err := c.open(receive, send)
	if err == nil {
		err = s.enlist(ctx, c)
	}
	if err != nil {
		c.closeAll()
	}
	return err
}

// open takes the ends of a connection's pairs, and who made the first.
func (c *connection) open(receive *mach.ReceiveRight, send *mach.SendRight) (err error) {
	if c.in, err = own(receive.File()); err != nil {
		return err
	}
	if c.out, err = own(send.File()); err != nil {
		return err
	}
	if c.maker, err = sys.PeerCred(c.in.Int()); err != nil {
		return err
	}
	if c.process, err = sys.PeerPIDFD(c.in.Int()); err == nil {
		c.processID, err = sys.ProcessIDOf(c.process.Int())
	}
	if err != nil {
		return fmt.Errorf("process %d, which made the connection, is gone: %w", c.maker.PID, err)
	}
	return sys.SetPassCred(c.in.Int(), true)
}

// own makes an owner of a duplicate of a file, which is closed.
func own(f *os.File, err error) (fd *sys.FD, _ error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(n uintptr) { fd, err = sys.Dup(int(n)) })
		err = errors.Join(err, cerr)
	}
	return fd, err
}

// What may be there beside MaxConnections, only to be told why it may not: each has its first request answered, soon.
const (
	mostExcess   = 16 // half of them for one process
	excessPeriod = 5 * time.Second
)

// enlist gives a connection its number, and begins to listen to it. One too many is told so when it asks for something; the error is for those of
// which there are too many even for that.
func (s *Service) enlist(ctx context.Context, c *connection) error {
	s.mu.Lock()
	switch {
	case len(s.connections)-s.excess >= s.config.MaxConnections:
		c.excess = fmt.Sprintf("there are %d connections to the network service, and may not be more", s.config.MaxConnections)
	case s.processes[c.processID] >= share(s.config.MaxConnections):
		c.excess = fmt.Sprintf("process %d has %d connections to the network service, half of all that there may be, and may not have more",
			c.maker.PID, s.processes[c.processID])
	}
	if c.excess != "" {
		if s.excess >= mostExcess || s.excessive[c.processID] >= share(mostExcess) {
			s.mu.Unlock()
			return errors.New(c.excess)
		}
		c.ended = make(chan struct{})
		s.excess++
		s.excessive[c.processID]++
	} else {
		s.processes[c.processID]++
	}
	s.last++
	c.id = s.last
	s.connections[c.id] = c
	s.mu.Unlock()
	if c.excess != "" {
		s.work.Go(func() {
			limited, cancel := context.WithTimeout(ctx, excessPeriod) // nor does it outlive the service
			defer cancel()
			select {
			case <-limited.Done():
				c.end("it was one too many, and asked for nothing")
			case <-c.ended:
			}
		})
	} else if !s.networks.open(c.id) {
		s.delist(c)
		return errors.New("the service is ending")
	}
	s.log.Debug("connection", "conn", c.id, "pid", c.maker.PID, "uid", c.maker.UID, "excess", c.excess)
	if !c.enter() {
		return nil
	}
	err := c.watch()
	c.leave()
	if err != nil {
		c.end(err.Error())
	}
	return nil
}

// share is how much of something one process may have.
func share(all int) int { return (all + 1) / 2 }

// refuse answers the request of a connection too many. The result is why it is ended.
func (c *connection) refuse(m xpc.Message, who *Client) string {
	r, _ := vmnet.ParseRequest(m.Root) // its version counts
	if why := c.reply(m, r, who, nil, nil, vmnet.Refuse(vmnet.InternalError, "%s", c.excess)); why != "" {
		return why
	}
	return c.excess
}

func (s *Service) delist(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c.id)
	of := s.processes
	if c.excess != "" {
		s.excess--
		of = s.excessive
	}
	if of[c.processID]--; of[c.processID] == 0 {
		delete(of, c.processID)
	}
}
