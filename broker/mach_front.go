// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// controlConn is the broker's side of one control connection of the Mach front, read by a goroutine of its own. Its session ends with it or
// with its process, whichever is first.
type controlConn struct {
	machSession
	file *os.File // registered with the runtime's poller
	raw  syscall.RawConn
	fd   int    // of file
	end  uint64 // see ownEnd

	// read orders what takes packets off the connection. It comes before the broker's lock.
	read   sync.Mutex
	closed bool
	over   bool          // its process is gone: what it sent counts, and nobody waits for replies
	unsent []unsentReply // for which there was no room; nothing is read until they are gone
}

// unsentReply waits for room, with duplicates of its descriptors.
type unsentReply struct {
	packet []byte
	fds    []*sys.FD
}

func (u unsentReply) numbers() []int {
	var n []int
	for _, fd := range u.fds {
		n = append(n, fd.Int())
	}
	return n
}

func (u unsentReply) close() {
	for _, fd := range u.fds {
		fd.Close()
	}
}

// unreadReplies bounds what one client leaves unread, in bytes as the kernel counts them: descriptors on the way count against what
// this user may have on the way in all.
const unreadReplies = 16 << 10

// acceptControl takes one connection from bootstrap.sock; false if there is none.
func (b *Broker) acceptControl(listener int) bool {
	fd, ok := b.accept(listener)
	if ok {
		b.newControl(fd, b.rootWay())
	}
	return ok
}

// newControl begins with a connection that was accepted, or came through a bootstrap port. Who it is, is settled now. One that is refused is
// closed: there is no message for it.
func (b *Broker) newControl(fd *sys.FD, in way) {
	peer, refusal, pidfd, process := b.identify(fd)
	if refusal.Reason == directory.OK {
		refusal = b.scarce(pidfd)
	}
	if refusal.Reason != directory.OK {
		b.log.Log(context.Background(), auditLevel(refusal), "bootstrap connection refused", "pid", peer.PID, "uid", peer.UID, "reason", refusal.Text)
		pidfd.Close()
		fd.Close()
		return
	}
	_ = sys.SetSendBuffer(fd.Int(), unreadReplies)
	n := fd.Take()
	c := &controlConn{file: os.NewFile(uintptr(n), "bootstrap"), fd: n, machSession: machSession{
		b: b, id: b.table.id(), peer: peer, process: process, pidfd: b.table.id(), program: programOf(peer.PID, pidfd.Int()),
		namespace: in.namespace, path: in.path, chain: in.chain, audit: new(auditBudget),
	}}
	raw, err := c.file.SyscallConn()
	if err != nil {
		b.log.Error("bootstrap connection closed", "pid", peer.PID, "uid", peer.UID, "reason", err.Error())
		c.file.Close()
		pidfd.Close()
		return
	}
	c.raw = raw
	b.mu.Lock()
	err = b.watch(&descriptor{id: c.pidfd, kind: controlWatch, fd: pidfd, control: c})
	if err == nil {
		b.table.put(&descriptor{id: c.id, kind: controlConnKind, control: c})
		c.end = b.ownEnd(n)
		b.openMach(&c.machSession)
		b.sessions.Go(c.run)
		b.noteSession()
	}
	b.mu.Unlock()
	if err != nil {
		b.log.Error("cannot watch a process", "pid", peer.PID, "err", err)
		c.file.Close()
	}
}

// run reads the connection until it ends.
func (c *controlConn) run() {
	receive := func(uintptr) bool { return c.receive() }
	flush := func(uintptr) bool { return c.flush() }
	for {
		err := c.raw.Read(receive)
		if errors.Is(err, os.ErrDeadlineExceeded) { // a late reply found no room
			err = c.file.SetReadDeadline(time.Time{})
		} else if err == nil && !c.waiting() {
			break
		}
		if err != nil {
			break
		}
		if err := c.raw.Write(flush); err != nil {
			break
		}
	}
	c.close()
}

// waiting reports whether replies wait for room.
func (c *controlConn) waiting() bool {
	c.read.Lock()
	defer c.read.Unlock()
	return len(c.unsent) > 0
}

// close ends the session in the directory and gives back what it had here.
func (c *controlConn) close() {
	b := c.b
	b.mu.Lock()
	reason := c.describe() + " closed its bootstrap connection"
	if d := b.table.entries[c.pidfd]; d != nil && sys.Exited(d.fd.Int()) {
		reason = c.describe() + " exited"
	}
	b.endMach(&c.machSession, reason)
	b.mu.Unlock()
	b.finishSlices()
	c.read.Lock()
	defer c.read.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	c.closed = true
	for _, u := range c.unsent {
		u.close()
	}
	c.unsent = nil
	b.table.take(c.id)
	delete(b.ownEnds, c.end)
	b.drop(c.pidfd)
	b.noteSession()
	c.file.Close()
}

// controlExited ends the session of a process that is gone, also where a child of it still holds the connection. What it sent before
// counts.
func (b *Broker) controlExited(d *descriptor) {
	c := d.control
	b.mu.Lock()
	_ = b.poller.Remove(d.fd.Int())
	b.mu.Unlock()
	c.drain()
	b.mu.Lock()
	b.endMach(&c.machSession, c.describe()+" exited")
	if b.table.entries[c.id] != nil {
		_ = sys.Shutdown(c.fd)
	}
	b.mu.Unlock()
	b.finishSlices()
}

// receive takes packets until there is none (false), or the connection ends or cannot be answered (true).
func (c *controlConn) receive() bool {
	for {
		c.read.Lock()
		empty, done := c.receiveOne()
		unsent := len(c.unsent) > 0
		c.read.Unlock()
		if done || unsent {
			return true
		}
		if empty {
			return false
		}
	}
}

// receiveOne takes and handles one packet, if there is one. Done: the connection is over.
func (c *controlConn) receiveOne() (empty, done bool) {
	p := c.b.packet()
	defer c.b.putPacket(p)
	n, err := p.Recv(c.fd)
	if isAgain(err) {
		return true, false
	}
	defer p.Message.Close() // what nobody took
	if err != nil || n == 0 && len(p.FDs) == 0 {
		return false, true // an empty packet looks like a hang-up here, and is treated like one
	}
	return false, c.packet(p, n)
}

// drain takes what is queued already. It does not wait.
func (c *controlConn) drain() {
	c.read.Lock()
	defer c.read.Unlock()
	c.over = true
	for range drainMost {
		if c.closed {
			return
		}
		if empty, done := c.receiveOne(); empty || done {
			return
		}
	}
}

// flush sends what could not be sent; true when it is gone, or never will be.
func (c *controlConn) flush() bool {
	c.read.Lock()
	defer c.read.Unlock()
	for len(c.unsent) > 0 {
		u := c.unsent[0]
		if _, err := sys.Send(c.fd, u.packet, u.numbers()...); isAgain(err) {
			return false
		} else if err != nil && !isHangUp(err) {
			c.giveUp("a reply cannot be sent: " + err.Error()) // the client would wait for ever
		}
		u.close()
		c.unsent = c.unsent[1:]
	}
	c.unsent = nil
	return true
}

// send sends a finished reply, or keeps a copy until there is room. The error is one that another reply may do without: there are no
// descriptors left, or too many on the way. That the client is gone is none.
func (c *controlConn) send(packet []byte, fds ...int) error {
	if len(c.unsent) == 0 {
		_, err := sys.Send(c.fd, packet, fds...)
		if err == nil || isHangUp(err) {
			return nil
		}
		if !isAgain(err) {
			return err
		}
	}
	if c.over {
		return nil
	}
	if len(c.unsent) >= maxUnsent {
		c.giveUp(fmt.Sprintf("%d replies wait for room: it reads none", len(c.unsent)))
		return nil
	}
	u := unsentReply{packet: slices.Clone(packet)}
	for _, n := range fds {
		fd, err := sys.Dup(n)
		if err != nil {
			u.close()
			return err
		}
		u.fds = append(u.fds, fd)
	}
	c.unsent = append(c.unsent, u)
	return nil
}

// giveUp closes a connection that cannot be answered, and says why.
func (c *controlConn) giveUp(why string) {
	c.b.log.Warn("bootstrap connection closed", "pid", c.peer.PID, "uid", c.peer.UID, "program", c.program, "reason", why)
	_ = sys.Shutdown(c.fd)
}

// machFront is what the broker keeps for the Mach front.
type machFront struct {
	bound []string // the sockets in the folder that the broker bound itself
	root  way

	// Guarded by the broker's lock.
	ports         map[directory.ID]*port    // by lease
	ways          map[directory.Process]int // bootstrap ports that somebody holds, by who asked for them
	rights        map[uint64]*rightWatch    // those whose death concerns somebody, by cookie
	subsets       map[directory.ID]*subset  // by namespace
	requestors    map[directory.Process]int // subsets, by who made them
	requestorEnds map[uint64]int            // subsets, by the inode of their requestor ports
	created       map[directory.Process]int // services that exist, by who created them
	declared      int                       // ports that are declared
	ownEnds       map[uint64]struct{}       // our ends of control connections, bootstrap ports and doors: see ownEnd
	closedWays    []*bootstrapPort          // nobody can send to them any more, and there are sessions on them
	portAnswer    directory.PortAnswer      // of the event that was applied last
}
