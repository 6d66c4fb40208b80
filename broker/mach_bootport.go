// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// way is where a bootstrap port or a door leads: what is needed to serve there, also when the namespace has ended.
type way struct {
	namespace directory.ID
	path      string
	chain     []directory.Step
}

// rootWay leads into the root.
func (b *Broker) rootWay() way { return b.root }

// wayInto leads into a namespace. The lock is held.
func (b *Broker) wayInto(ns directory.ID) way {
	return way{namespace: ns, path: b.directory.NamespacePath(ns), chain: b.directory.Chain(ns)}
}

// bootstrapPort is the broker's end of a pair that a reply handed out, or of a door: what comes there is a fresh pair's end, or a request
// on a port's terms.
type bootstrapPort struct {
	way
	maker directory.Process                  // whose count it is on; 0: nobody's
	ours  uint64                             // our end: see ownEnd
	audit auditBudget                        // of who asks there
	users map[directory.Process]*machSession // who has changed something by it. The broker's lock guards it
}

// maxHeld bounds what one process can make the broker hold of each kind that is no lease of a session: bootstrap ports that somebody still
// has, subsets, and services that it created.
func (b *Broker) maxHeld() int {
	if n := b.config.Limits.NamesPerSession; n > 0 {
		return n
	}
	return 1024
}

// tooMany refuses a request if its process has as many of something as it may, and reports that.
func (c *machCall) tooMany(have int, what string) bool {
	if most := c.b().maxHeld(); have >= most {
		c.refuse(mach.NoMemory, fmt.Sprintf("a process may have %d %s", most, what))
		return true
	}
	return false
}

// watchFor is watch for other events than readability. The lock is held.
func (b *Broker) watchFor(d *descriptor, events uint32) error {
	if err := b.poller.Add(d.fd.Int(), events, uint64(d.id)); err != nil {
		d.fd.Close()
		return err
	}
	b.table.put(d)
	return nil
}

// newWay makes a bootstrap port and returns the other end, which is the caller's. The lock is held.
func (b *Broker) newWay(in way, maker directory.Process) (*sys.FD, directory.ID, error) {
	ours, theirs, err := sys.PortPair()
	if err != nil {
		return nil, 0, err
	}
	if r := b.scarce(theirs); r.Reason != directory.OK {
		err = errors.New(r.Text)
	}
	if err == nil {
		err = sys.SetPassCred(ours.Int(), true)
	}
	d := &descriptor{id: b.table.id(), kind: bootstrapPortKind, fd: ours, boot: &bootstrapPort{way: in, maker: maker}}
	if err != nil {
		ours.Close()
	} else {
		err = b.watchFor(d, sys.Readable)
	}
	if err != nil {
		theirs.Close()
		return nil, 0, err
	}
	d.boot.ours = b.ownEnd(ours.Int())
	if maker != 0 {
		b.ways[maker]++
	}
	return theirs, d.id, nil
}

// grantWay answers with a new bootstrap port. The lock is held.
func (c *machCall) grantWay(in way) error {
	b := c.b()
	fd, id, err := b.newWay(in, c.s.process)
	if err != nil {
		c.noRoom(err)
		return err
	}
	defer fd.Close()
	if err := c.answer(c.req.Granted(), fd.Int()); err != nil {
		b.drop(id)
		return err
	}
	return nil
}

// wayClosed takes a bootstrap port that nobody can send to any more off its maker's count. The loop ends the sessions on it: actions may be
// being carried out. The lock is held.
func (b *Broker) wayClosed(boot *bootstrapPort) {
	if len(boot.users) > 0 {
		b.closedWays = append(b.closedWays, boot)
		b.poller.Wake()
	}
	delete(b.ownEnds, boot.ours)
	if boot.maker != 0 {
		uncount(b.ways, boot.maker)
	}
}

// ownEnd notes a socket of ours that clients have the other end of: that is no port, though it looks like one. It returns what is deleted
// from ownEnds when it is closed. The lock is held.
func (b *Broker) ownEnd(fd int) uint64 {
	inode := b.inodeOf(fd)
	if inode == 0 {
		return 0
	}
	b.ownEnds[inode] = struct{}{}
	return inode
}

// inodeOf returns the inode of a socket as otherEnd has it; 0: it cannot be told.
func (b *Broker) inodeOf(fd int) uint64 {
	inode, err := sys.SocketInode(fd)
	if err != nil {
		b.log.Error("cannot tell a socket from ports", "err", err)
		return 0
	}
	return uint64(uint32(inode))
}

// leadsHere reports whether a right is one to the broker itself: the client's end of a control connection, or a bootstrap port. The lock
// is held.
func (b *Broker) leadsHere(right *sys.FD) bool { return b.isOwnEnd(otherEnd(right)) }

func (b *Broker) isOwnEnd(inode uint64) bool {
	_, ours := b.ownEnds[inode]
	return ours && inode != 0
}

// otherEnd returns the inode of the socket that a right leads to, cut to 32 bits; 0: it is closed, or of another network namespace.
func otherEnd(right *sys.FD) uint64 {
	peer, err := sys.PeerInode(right.Int())
	if err != nil {
		return 0
	}
	return peer
}

// uncount takes one off a count.
func uncount[K comparable](counts map[K]int, of K) {
	if counts[of]--; counts[of] <= 0 {
		delete(counts, of)
	}
}

// endClosedWays ends the sessions on bootstrap ports that nobody can send to any more. The loop's.
func (b *Broker) endClosedWays() {
	b.mu.Lock()
	closed := b.closedWays
	b.closedWays = nil
	for _, boot := range closed {
		for _, s := range boot.users {
			b.endMach(s, s.describe()+" closed its bootstrap port")
			b.drop(s.pidfd)
		}
		boot.users = nil
	}
	b.mu.Unlock()
	if len(closed) > 0 {
		b.finishSlices()
	}
}

// bootstrapMessage takes one Mach message that came to a bootstrap port or a door. The loop's.
func (b *Broker) bootstrapMessage(d *descriptor, p *packet, n int) {
	if p.longerThanMach(n) || p.ControlTruncated || p.PIDFD < 0 || !p.HasCred {
		if p.HasCred && b.admit(p.Cred).Reason == directory.OK {
			b.unanswered(p, n)
		}
		level := slog.LevelDebug
		if d.boot.audit.take() {
			level = slog.LevelInfo
		}
		b.log.Log(context.Background(), level, "bootstrap request dropped", "pid", p.Cred.PID, "uid", p.Cred.UID,
			"reason", "it is truncated, its descriptors were lost because the broker has few left, or the kernel does not say who sent it")
		return
	}
	if r := b.admit(p.Cred); r.Reason != directory.OK {
		if d.boot.audit.take() {
			b.log.Info("bootstrap request refused", "pid", p.Cred.PID, "uid", p.Cred.UID, "reason", r.Text)
		}
		return
	}
	if b.closing() {
		return
	}
	boot := d.boot
	s := &machSession{b: b, peer: p.Cred, namespace: boot.namespace, path: boot.path, chain: boot.chain, audit: &boot.audit}
	c := &machCall{s: s, p: p, size: n, replyTo: d.fd.Int()}
	var own bool
	var err error
	var m xpc.Message
	pipe := xpc.IsMessage(messageID(p.Data[:n]))
	if pipe {
		m, own, err = parseOnPort(p.Data[:n], len(p.FDs))
	} else {
		c.req, own, err = mach.ParseBootstrapRequest(p.Data[:n], len(p.FDs))
	}
	if own {
		c.replyTo = -1
		if _, bad := sys.CheckSocket(p.FDs[0], sys.Seqpacket); bad == nil {
			c.replyTo = p.FDs[0]
		}
	}
	if err == nil || !isFraming(err) {
		id, bad := sys.ProcessIDOf(p.PIDFD)
		if bad != nil {
			return // it has exited
		}
		s.process = directory.Process(max(id.Inode, uint64(id.PID)))
		s.program = programOf(p.Cred.PID, p.PIDFD)
		c.user = func() *machSession { return b.bootstrapUser(d, s, p) }
	}
	var fault *mach.Fault
	switch {
	case pipe && !isFraming(err):
		_ = c.xpcMessage(m, err)
	case err == nil && c.req.Routine == mach.Connect:
		if !own { // the port itself is for requests
			c.req.Token = 0
		}
		b.connectThrough(boot, c)
	case err == nil:
		c.dispatch()
	case errors.As(err, &fault):
		c.fault(fault)
	default:
		b.unanswered(p, n)
		b.log.Debug("refused at a bootstrap port", "pid", p.Cred.PID, "uid", p.Cred.UID, "reason", err.Error())
	}
	b.finishSlices()
}

// unanswered tells the reply right of a packet that is no message, if it looks as if it had one, that there will be no reply.
func (b *Broker) unanswered(p *packet, n int) {
	if head := p.Data[:n]; len(p.FDs) > 0 && wantsReply(head) {
		b.sendOnceDied(p.FDs[0], binary.LittleEndian.Uint32(head[12:]), "")
	}
}

func isFraming(err error) bool {
	var f *mach.FramingError
	return errors.As(err, &f)
}

// connectThrough begins a control connection with the end that came in a connect request. A bad one is closed, and only a reply right told.
func (b *Broker) connectThrough(boot *bootstrapPort, c *machCall) {
	if !c.req.Right.Fd.Carried() {
		c.refuse(mach.InvalidRight, "there is no end of a pair")
		return
	}
	i := c.req.Right.Fd - 1
	n := c.p.FDs[i]
	if _, err := fresh(n, c.p.PIDFD, sys.Seqpacket); err != nil {
		c.refuse(mach.InvalidRight, err.Error())
		return
	}
	c.p.FDs[i] = -1
	c.succeed()
	b.newControl(sys.NewFD(n), boot.way)
}

// bootstrapUser returns the session of a process that sends requests to a bootstrap port, opened when it first changes something. It ends
// with the process, or when nobody holds the bootstrap port any more. nil: it cannot be opened.
func (b *Broker) bootstrapUser(d *descriptor, asks *machSession, p *packet) *machSession {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := d.boot.users[asks.process]; s != nil {
		return s
	}
	pidfd, err := sys.Dup(p.PIDFD)
	if err != nil || b.scarce(pidfd).Reason != directory.OK {
		pidfd.Close()
		return nil
	}
	s := &machSession{
		b: b, id: b.table.id(), peer: asks.peer, program: asks.program, process: asks.process, pidfd: b.table.id(),
		namespace: asks.namespace, path: asks.path, chain: asks.chain, audit: asks.audit,
	}
	if err := b.watch(&descriptor{id: s.pidfd, kind: bootstrapUserWatch, fd: pidfd, boot: d.boot, user: s}); err != nil {
		return nil
	}
	if d.boot.users == nil {
		d.boot.users = make(map[directory.Process]*machSession)
	}
	d.boot.users[s.process] = s
	b.openMach(s)
	return s
}

// bootstrapUserExited ends the session of a process on a bootstrap port. What it sent before counts.
func (b *Broker) bootstrapUserExited(d *descriptor) {
	b.mu.Lock()
	if d.boot.users[d.user.process] == d.user {
		delete(d.boot.users, d.user.process)
	}
	b.endMach(d.user, d.user.describe()+" exited")
	b.drop(d.id)
	b.mu.Unlock()
	b.finishSlices()
}
