// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// trace tells sessions of messages of the bootstrap fronts. While no session wants to know, a message costs one atomic load.
type trace struct {
	active atomic.Bool

	// mu guards the rest, and keeps the connections of all open. It comes after the broker's lock; nothing is locked under it.
	mu  sync.Mutex
	all []*tracing
}

// tracing is one TRACE.
type tracing struct {
	s       *clientSession
	id      uint32 // of the request
	pattern string
	names   name.Pattern // if pattern is not ""
	path    string       // of the session's namespace
	lost    uint64       // messages since the last that was sent
}

// traced is one message as those who trace are told of it.
type traced struct {
	peer      sys.Cred // who sent it; of a notification: whom it was sent to
	program   string   // its executable; "": as the kernel says now
	namespace string   // as a path
	protocol  string   // "mach" or "xpc"
	id        int32
	routine   string   // with its dialect
	names     []string // what it is about
	code      int32
	outcome   string // what code means
}

// tracesPerSession bounds them.
const tracesPerSession = 16

// on reports whether anybody traces: if not, there is no need to make a record.
func (t *trace) on() bool { return t.active.Load() }

// emit tells of a message. It never waits: what a connection has no room for is lost, and counted. The broker's lock may be held.
func (t *trace) emit(r traced) {
	if !t.on() {
		return
	}
	if r.program == "" {
		r.program, _ = os.Readlink("/proc/" + strconv.Itoa(r.peer.PID) + "/exe") // it may be gone
	}
	m := session.Traced{
		Time: uint64(time.Now().UnixMicro()), PID: uint32(r.peer.PID), UID: uint32(r.peer.UID), Namespace: r.namespace,
		Protocol: r.protocol, ID: uint32(r.id), Routine: r.routine, Name: strings.Join(r.names, " "), Code: uint32(r.code), Outcome: r.outcome,
	}
	if r.program != "" {
		m.Program = filepath.Base(r.program)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, to := range t.all {
		if !to.wants(&r) {
			continue
		}
		m.Lost = to.lost
		if to.s.event(session.OpTraced, to.id, m.Append(nil)) {
			to.lost = 0
		} else {
			to.lost++
		}
	}
}

// wants reports whether a message is one that the session may see and asked for. It sees its namespace and those below it.
func (to *tracing) wants(r *traced) bool {
	if to.path != "/" && r.namespace != to.path && !strings.HasPrefix(r.namespace, to.path+"/") {
		return false
	}
	if to.pattern == "" {
		return true
	}
	for _, n := range r.names {
		if to.names.Match(n) {
			return true
		}
	}
	return false
}

// trace begins a trace. Of what comes behind the reply, nothing is missed.
func (s *clientSession) trace(h session.Header, m session.Trace) {
	to := &tracing{s: s, id: h.ID, pattern: m.Pattern}
	fail := func(c session.Code, text string) { s.reply(nil, h, session.Reply{Code: c, Text: text}.Append) }
	if m.Pattern != "" {
		var err error
		if to.names, err = name.ParsePattern(m.Pattern); err != nil {
			fail(session.Usage, err.Error())
			return
		}
	}
	s.b.mu.Lock()
	to.path = s.b.directory.NamespacePath(s.namespace)
	s.b.mu.Unlock()
	t := &s.b.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, other := range t.all {
		if other.s == s && other.id == h.ID {
			fail(session.Usage, fmt.Sprintf("trace %d exists", h.ID))
			return
		}
		if other.s == s {
			n++
		}
	}
	if n >= tracesPerSession {
		fail(session.TryAgain, fmt.Sprintf("a session may have %d traces", tracesPerSession))
		return
	}
	t.active.Store(true)
	t.all = append(t.all, to)
	s.reply(nil, h, session.Reply{}.Append)
}

// endTrace ends one trace of a session, if it has that.
func (t *trace) endTrace(s *clientSession, id uint32) bool {
	return t.remove(func(to *tracing) bool { return to.s == s && to.id == id })
}

// endTraces ends what a session traces: its connection is about to be closed.
func (t *trace) endTraces(s *clientSession) {
	t.remove(func(to *tracing) bool { return to.s == s })
}

func (t *trace) remove(which func(*tracing) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.all[:0:0]
	for _, to := range t.all {
		if !which(to) {
			kept = append(kept, to)
		}
	}
	found := len(kept) < len(t.all)
	t.all = kept
	t.active.Store(len(kept) > 0)
	return found
}
