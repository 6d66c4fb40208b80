// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// hello opens the session in the directory.
func (s *clientSession) hello(m session.Hello) {
	if m.Session == ([16]byte{}) {
		s.reply(nil, s.request, session.HelloReply{Code: session.Usage, Text: "a session id of 16 bytes is missing: choose one at random"}.Append)
		return
	}
	peer := directory.Peer{PID: s.peer.PID, UID: s.peer.UID, Exe: s.executable()}
	s.b.apply(directory.OpenSession{Now: s.b.now(), Session: s.id, Client: m.Session, Process: s.process, Peer: peer, Namespace: s.namespace, Backend: s.launchedAs(m.Instance), Request: s.request.ID})
}

// welcome answers HELLO. A session that goes on takes the place of its old connection.
func (b *Broker) welcome(a directory.Welcome) {
	s := b.session(a.Session)
	if s == nil {
		return
	}
	if a.Resumed != 0 {
		if d := b.table.take(a.Resumed); d != nil && d.session != nil {
			d.session.replaced = true
			_ = sys.Shutdown(d.session.fd)
		}
		b.table.take(s.id)
		s.id = a.Resumed
		b.table.put(&descriptor{id: s.id, kind: sessionConn, session: s})
		s.namespace, _ = b.directory.SessionNamespace(s.id)
		s.chain = b.directory.Chain(s.namespace)
	}
	s.greeted = true
	s.reply(nil, s.request, session.HelloReply{
		PID: uint32(pid()), Version: b.config.Version, Broker: b.instance, Namespace: a.Namespace, Sequence: a.Sequence, Resumed: a.Resumed != 0,
	}.Append)
}

// lookUp answers from the index, without a lock and without allocating.
func (s *clientSession) lookUp(p *packet, h session.Header, payload []byte) error {
	v, err := session.ViewLookUp(payload)
	if err != nil {
		return err
	}
	r := s.b.index.resolve(s.chain, v.Name)
	if r != nil && (v.Kind == session.EntryAny || v.Kind == session.EntryKind(r.kind)) && len(v.Version) == 0 && len(v.Scope) == 0 {
		reply := session.Header{Kind: session.KindReply, Op: h.Op, ID: h.ID}.Append(p.reply[:0])
		s.send(append(reply, r.reply...))
		return nil
	}
	s.reply(p.reply, h, s.lookUpSlowly(v).Append)
	return nil
}

// lookUpSlowly answers what the index does not: a constraint, a scope, or why there is no answer.
func (s *clientSession) lookUpSlowly(v session.LookUpView) session.LookUpReply {
	name := string(v.Name)
	defined := s.b.isDefined(name, string(v.Version)) // it reads files: before the lock is held
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	e, r := s.b.directory.LookUp(s.namespace, name, string(v.Version), string(v.Scope), directory.Kind(v.Kind))
	switch {
	case r.Reason == directory.OK:
		return session.LookUpReply{Entry: s.b.wireEntry(e)}
	case r.Reason == directory.Unknown && defined:
		r.Text = fmt.Sprintf("service %q does not run: its first caller starts it (switchboard dial %s)", name, name)
	case r.Reason == directory.Unknown:
		r = unknown(name)
	}
	return session.LookUpReply{Code: code(r.Reason), Text: r.Text}
}

// unknown says why there is no such name: because it cannot be one, or because nobody has it.
func unknown(n string) directory.Refusal {
	if err := name.Check(n); err != nil {
		return directory.Refusal{Reason: directory.Malformed, Text: err.Error()}
	}
	return directory.UnknownName(n)
}

// taken closes our descriptor of a connection that its owner now has.
func (s *clientSession) taken(connection directory.ID) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.table.entries[connection]
	if d == nil || d.kind != callerSocket {
		return // refused meanwhile
	}
	id, err := sys.Cookie(d.fd.Int())
	if err != nil {
		b.log.Error("cannot identify a connection", "err", err)
	}
	b.handedOver.Add(1)
	b.applyLocked(directory.Taken{Session: s.id, Connection: connection, Socket: directory.Socket(id), Now: b.now()})
	if b.handedNow++; b.handedNow > compareEvery && b.handedNow > b.handedLive && b.comparing.CompareAndSwap(false, true) {
		b.tasks.Go(func() { b.compareConnections(); b.comparing.Store(false) })
	}
}

// change applies a request that has a sequence. What is read from a connection that another one replaced is dropped: the
// client asks again there.
func (s *clientSession) change(h session.Header, op directory.Op) {
	b := s.b
	b.mu.Lock()
	s.changeLocked(h, op)
	b.mu.Unlock()
	b.finishSlices()
}

// changeLocked is change for a holder of the lock, who leaves the slices to others.
func (s *clientSession) changeLocked(h session.Header, op directory.Op) {
	if !s.replaced {
		s.b.applyLocked(directory.Change{Now: s.b.now(), Session: s.id, Request: h.ID, Sequence: h.Sequence, Op: op})
	}
}

// answer sends what the directory says to the request at hand. The lock is held.
func (s *clientSession) answer(a directory.Answer) {
	h := s.request
	c, text := code(a.Reply.Reason), a.Reply.Text
	switch h.Op {
	case session.OpHello:
		s.reply(nil, h, session.HelloReply{Code: c, Text: text}.Append)
	case session.OpClaim:
		r := session.ClaimReply{Code: c, Text: text, Lease: uint64(a.Reply.ID)}
		if a.Reply.Path != "" {
			r.Path = s.b.absolute(a.Reply.Path)
		}
		if d := s.b.table.entries[a.Reply.ID]; d != nil && d.kind == serviceSocket {
			s.reply(nil, h, r.Append, d.fd.Int())
			return
		}
		s.reply(nil, h, r.Append)
	case session.OpNamespace:
		s.reply(nil, h, session.NamespaceReply{Code: c, Text: text, Namespace: uint64(a.Reply.ID), Path: a.Reply.Path}.Append)
	case session.OpDeclare:
		s.reply(nil, h, session.DeclareReply{Code: c, Text: text, Lease: uint64(a.Reply.ID), Version: a.Reply.Version}.Append)
	case session.OpStop, session.OpRestart, session.OpRetire:
		r := session.BackendsReply{Code: c, Text: text}
		for _, id := range a.Reply.Backends {
			r.Backends = append(r.Backends, uint64(id))
		}
		s.reply(nil, h, r.Append)
	case session.OpDoor:
		s.reply(nil, h, session.DoorReply{Code: c, Text: text, Lease: uint64(a.Reply.ID)}.Append)
	default:
		s.reply(nil, h, session.Reply{Code: c, Text: text}.Append)
	}
}

// claim gives the session a name. A socket for it is bound before the directory makes the name known, and
// gone if it does not.
func (s *clientSession) claim(h session.Header, m session.Claim) {
	b := s.b
	op := directory.Claim{
		Lease: b.table.id(), Name: m.Name, Kind: directory.Kind(m.Kind), Version: m.Version, Scope: m.Scope,
		Accept: directory.Accept(m.Accept), Path: m.Path, Since: time.Now().UnixMilli(),
	}
	if err := checkClaim(m); err != nil {
		s.change(h, directory.Fail{Refusal: directory.Refusal{Reason: directory.Malformed, Text: err.Error()}})
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Accept == session.AcceptListener && !s.replaced && !b.directory.Repeats(s.id, h.Sequence) {
		refusal := s.bind(&op)
		if refusal.Reason != directory.OK {
			s.changeLocked(h, directory.Fail{Refusal: refusal})
			return
		}
	}
	s.changeLocked(h, op)
	if _, granted := b.directory.Entry(op.Lease); !granted {
		b.drop(op.Lease)
	}
}

// bind makes the socket of a claim that accepts for itself. A claim that the directory will refuse gets none.
func (s *clientSession) bind(op *directory.Claim) directory.Refusal {
	b := s.b
	for b.directory.Unfinished() {
		// An owner that ended may still have its socket at this name's path.
		b.applyLocked(directory.Continue{Now: b.now()})
	}
	if b.directory.Claimable(s.id, *op).Reason != directory.OK {
		return directory.Refusal{}
	}
	file := op.Name
	if s.namespace != directory.Root {
		file = fmt.Sprintf("%s@%d", op.Name, s.namespace)
	}
	if len(file) > maxSocketName {
		return directory.Refusal{Reason: directory.Malformed,
			Text: fmt.Sprintf("name %q is too long for a socket of its own: at most %d bytes (have callers handed over instead)", op.Name, maxSocketName)}
	}
	op.Path = path.Join(serviceFolder, file)
	fd, err := b.folder.listen(op.Path, sys.Stream)
	if err != nil {
		return directory.Refusal{Reason: directory.NameTaken, Text: err.Error()}
	}
	if r := b.scarce(fd); r.Reason != directory.OK {
		b.folder.unlink(op.Path)
		fd.Close()
		return r
	}
	b.table.put(&descriptor{id: op.Lease, kind: serviceSocket, fd: fd, path: file})
	return directory.Refusal{}
}

const (
	maxVersion = 128
	// A socket in the runtime folder is reached as /proc/self/fd/N/NAME where the folder's own path is too long.
	maxSocketName = 80
	maxPath       = 4000 // of a scope or a socket: it must fit a verdict
)

// checkClaim says what is wrong with a claim by itself.
func checkClaim(m session.Claim) error {
	if err := name.Check(m.Name); err != nil {
		return err
	}
	if m.Kind != session.EntryService && m.Kind != session.EntryChannel {
		return fmt.Errorf("name %q cannot be claimed as %v here: a session claims services and channels", m.Name, m.Kind)
	}
	if m.Version != "" {
		if _, err := semver.StrictNewVersion(m.Version); err != nil || len(m.Version) > maxVersion {
			return fmt.Errorf("version %q is malformed: write MAJOR.MINOR.PATCH, such as 1.4.0", m.Version)
		}
	}
	if m.Scope != "" && (!filepath.IsAbs(m.Scope) || len(m.Scope) > maxPath) {
		return fmt.Errorf("scope %q must be the absolute path of a folder, of at most %d bytes", m.Scope, maxPath)
	}
	switch m.Accept {
	case session.AcceptHandedOver, session.AcceptListener:
		if m.Path != "" {
			return fmt.Errorf("a path goes with accept PATH only, and %q came with another", m.Path)
		}
	case session.AcceptPath:
		if !filepath.IsAbs(m.Path) || len(m.Path) > maxPath || strings.ContainsAny(m.Path, "\n\r\x00") {
			return fmt.Errorf("path %q must be absolute, of at most %d bytes and without line breaks", m.Path, maxPath)
		}
	default:
		return fmt.Errorf("accept %d is unknown", m.Accept)
	}
	return nil
}

func (s *clientSession) joinNamespace(h session.Header, m session.Namespace) {
	if err := name.Check(m.Name); err != nil {
		s.change(h, directory.Fail{Refusal: directory.Refusal{Reason: directory.Malformed, Text: err.Error()}})
		return
	}
	s.change(h, directory.JoinNamespace{New: s.b.table.id(), Name: m.Name, Sealed: m.Sealed, Only: m.Only})
}

// shutdown ends the broker, for those who are not confined to a namespace.
func (s *clientSession) shutdown(p *packet, h session.Header, m session.Shutdown) {
	if s.namespace != directory.Root {
		s.reply(p.reply, h, session.Reply{Code: session.NotAllowed, Text: "who was given a namespace cannot end the broker"}.Append)
		return
	}
	s.b.log.Info("shutdown asked for", "pid", s.peer.PID, "uid", s.peer.UID)
	s.reply(p.reply, h, session.Reply{}.Append)
	s.b.mu.Lock()
	s.b.keep = s.b.keep || m.KeepBackends
	s.b.mu.Unlock()
	s.b.end("the broker was told to end by process " + fmt.Sprint(s.peer.PID))
}

// absolute makes a path in the runtime folder one that anybody can use.
func (b *Broker) absolute(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.folder.path, p)
}
