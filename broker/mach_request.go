// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// machCall is one request of the Mach front, from its packet to its reply.
type machCall struct {
	s       *machSession
	conn    *controlConn // where the reply goes; nil: to the descriptor replyTo
	replyTo int
	kept    *sys.FD             // replyTo, if it is the request's own
	user    func() *machSession // makes the session in the directory that a change needs, on a bootstrap port; nil: s is one
	p       *packet
	size    int
	req     mach.Request
	names   []string     // of lookUpArray, for those who trace
	pipe    *xpc.Request // of a pipe routine, which is answered in that dialect; nil: req is a Mach message
}

// maxMachMessage is how long a Mach message may be that is a request, in bytes; XPC's have limits of their own.
const maxMachMessage = 32 << 10

// longerThanMach reports whether a packet is longer than what it is can be.
func (p *packet) longerThanMach(n int) bool {
	return p.Truncated || n > maxMachMessage && !xpc.IsMessage(messageID(p.Data[:n]))
}

// packet handles one packet and reports whether the connection is over.
func (c *controlConn) packet(p *packet, n int) (done bool) {
	call := machCall{s: &c.machSession, conn: c, p: p, size: n}
	var err error
	switch {
	case p.longerThanMach(n):
		err = &mach.FramingError{Why: "the packet is longer than any request"}
	case p.ControlTruncated:
		err = &mach.FramingError{Why: "descriptors were lost: there are too many, or the broker has few left"}
	case xpc.IsMessage(messageID(p.Data[:n])):
		if err = call.xpcMessage(xpc.ParseClientMessage(p.Data[:n], len(p.FDs), nil)); err == nil {
			return false
		}
	default:
		call.req, err = mach.ParseRequest(p.Data[:n], len(p.FDs))
	}
	if err == nil && call.req.Routine == mach.Connect {
		err = call.badID("connect is for bootstrap ports")
	}
	if err == nil {
		call.dispatch()
		return false
	}
	var fault *mach.Fault
	if errors.As(err, &fault) {
		call.fault(fault)
		return false
	}
	c.b.log.Info("bootstrap connection closed", "pid", c.peer.PID, "uid", c.peer.UID, "program", c.program, "reason", err.Error())
	call.closed(err)
	_ = sys.Shutdown(c.fd)
	return true
}

// closed tells those who trace of a packet that ends its connection.
func (c *machCall) closed(err error) {
	if !c.b().trace.on() {
		return
	}
	t := traced{
		peer: c.s.peer, program: c.s.program, namespace: c.s.path, protocol: "mach", id: messageID(c.p.Data[:c.size]),
		code: int32(mach.BadArguments), outcome: "closed: " + err.Error(),
	}
	if t.routine = c.routine(t.id); xpc.IsMessage(t.id) {
		t.protocol = "xpc"
	}
	c.b().trace.emit(t)
}

func (c *machCall) badID(why string) *mach.Fault {
	h := mach.Header{ID: c.req.Routine.ID(), Size: uint32(c.size), Local: c.req.Token}
	return &mach.Fault{Header: h, Code: mach.BadID, Why: why}
}

// dispatch carries out a request that is well formed.
func (c *machCall) dispatch() {
	op := c.req.Routine.Op()
	if code := op.Unserved(); code != mach.OK {
		c.refuse(code, op.String()+" is not served here")
		return
	}
	switch op {
	case mach.OpLookUp:
		c.lookUp()
	case mach.OpCheckIn:
		c.checkIn()
	case mach.OpRegister:
		c.register()
	case mach.OpCreateService:
		c.createService()
	case mach.OpStatus:
		c.status()
	case mach.OpLookUpArray:
		c.lookUpArray()
	case mach.OpInfo:
		c.info()
	case mach.OpSubset:
		c.subset()
	case mach.OpParent:
		c.parent()
	case mach.OpGetRoot:
		c.root()
	case mach.OpLookUpChildren:
		c.lookUpChildren()
	case mach.OpSpawn:
		c.spawn()
	case mach.OpNotify:
		if s := c.session(); s != nil {
			s.notifyRequest(c)
		}
	case mach.OpUnprivileged:
		c.leadTo(c.s.chain)
	default:
		c.refuse(mach.BadID, "the routine is not served")
	}
}

// session returns the session that a change is made by, or refuses the request. The lock is not held.
func (c *machCall) session() *machSession {
	s := c.s
	if c.user != nil {
		s = c.user()
	}
	if s == nil {
		c.refuse(mach.NoMemory, "the broker has few descriptors left: try again later")
		return nil
	}
	if s.lost {
		c.refuse(mach.NotPrivileged, "the namespace has ended: nothing can be changed in it")
		return nil
	}
	return s
}

// answer sends a reply that grants something. It is not sent if none is wanted. An error means that the client did not get it and the
// caller is to take back what it granted; something is answered in any case.
func (c *machCall) answer(r mach.Reply, fds ...int) error {
	var err error
	var packet []byte
	switch {
	case c.req.Token == 0:
	case c.pipe != nil:
		packet, err = c.appendPipe(c.p.reply[:0], xpc.Answer{Port: mach.Right{Fd: 1}})
	default:
		packet, err = r.Append(c.p.reply[:0])
	}
	if err == nil && c.pipe != nil {
		c.donePipe(xpc.OK)
	} else if err == nil {
		c.done(c.req.Routine.ID(), mach.OK)
	}
	if packet != nil && err == nil {
		err = c.send(packet, fds...)
	}
	if err != nil {
		c.b().log.Warn("cannot send a reply", "pid", c.s.peer.PID, "routine", c.req.Routine.String(), "err", err)
		c.refuse(mach.NoMemory, "the broker cannot send the right: "+err.Error())
	}
	return err
}

// refuse answers with 36 bytes why not, or as the pipe does, and says so in the log.
func (c *machCall) refuse(code mach.Code, why string) {
	if c.pipe != nil {
		c.refusePipe(code, why)
		return
	}
	c.refused(c.req.Refused(code), why)
}

// fault answers a request that is well framed and wrong.
func (c *machCall) fault(f *mach.Fault) {
	c.req.Token = f.Header.Local
	reply, why := f.Reply(), f.Why
	if f.Header.ID == mach.Spawn.ID() && f.Header.Size >= uint32(mach.Spawn.Size()) {
		if not := c.mayNotSpawn(); not != "" { // who may not learns nothing more
			reply.Code, why = mach.NotPrivileged, not
		}
	}
	c.refused(reply, why)
}

// refused sends a reply that refuses. A code of OK refuses nothing: it is the success of a request without results.
func (c *machCall) refused(r mach.Reply, why string) {
	c.done(r.ID-100, r.Code)
	if c.req.Token != 0 {
		if packet, err := r.Append(c.p.reply[:0]); err == nil {
			_ = c.send(packet)
		}
	}
	if r.Code != mach.OK {
		c.audited(r.Code == mach.UnknownService, c.routine(r.ID-100), int64(r.Code), why)
	}
}

// audited says in the log why a request was refused.
func (c *machCall) audited(quiet bool, routine string, code int64, why string) {
	s, level := c.s, slog.LevelInfo
	if quiet || !s.audit.take() {
		level = slog.LevelDebug
	}
	c.b().log.Log(context.Background(), level, "bootstrap request refused", "pid", s.peer.PID, "uid", s.peer.UID, "program", s.program,
		"routine", routine, "name", c.req.Service, "code", code, "reason", why)
}

// succeed answers a request that has no results.
func (c *machCall) succeed() { c.refused(c.req.Refused(mach.OK), "") }

func (c *machCall) send(packet []byte, fds ...int) error {
	if c.conn != nil {
		return c.conn.send(packet, fds...)
	}
	if c.replyTo < 0 {
		return nil
	}
	_, err := sys.Send(c.replyTo, packet, fds...)
	if isHangUp(err) {
		return nil
	}
	return err
}

func (c *machCall) b() *Broker { return c.s.b }

func (c *machCall) routine(id int32) string {
	if name := mach.RoutineName(id, c.size); name != "" {
		return name
	}
	return fmt.Sprintf("unknown %d@%d", id, c.size)
}

// done tells those who trace, before the reply is sent: who begins to trace after that is told of later requests only.
func (c *machCall) done(id int32, code mach.Code) {
	b := c.b()
	if !b.trace.on() {
		return
	}
	t := traced{
		peer: c.s.peer, program: c.s.program, namespace: c.s.path, protocol: "mach", id: id, routine: c.routine(id),
		code: int32(code), outcome: code.String(),
	}
	if t.names = c.names; t.names == nil && c.req.Service != "" {
		t.names = []string{c.req.Service}
	}
	b.trace.emit(t)
}

// machCode is the code that stands for a refusal of the directory's.
func machCode(op mach.Op, r directory.Reason) mach.Code {
	switch r {
	case directory.OK:
		return mach.OK
	case directory.Unknown, directory.WrongKind:
		return mach.UnknownService
	case directory.NameTaken:
		if op == mach.OpCheckIn {
			return mach.ServiceActive
		}
		return mach.NameInUse
	case directory.LimitHit:
		return mach.NoMemory
	case directory.Malformed:
		return mach.BadArguments
	}
	return mach.NotPrivileged
}

// auditBudget bounds what one session writes into the log: the first refusals of each second.
type auditBudget struct {
	mu     sync.Mutex // guards the rest
	second int64
	left   int
}

const auditsPerSecond = 32

// take reports whether one more line may be written.
func (a *auditBudget) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now().Unix(); now != a.second {
		a.second, a.left = now, auditsPerSecond
	}
	if a.left == 0 {
		return false
	}
	a.left--
	return true
}
