// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

const (
	logFolder   = "log"
	outputLines = 5 // of what a backend wrote, for those who wait for it
)

// backend is a process that was launched, or is being launched. The broker's lock guards it.
type backend struct {
	id         directory.ID
	key        directory.Key
	definition directory.Definition
	instance   string
	path       string  // where it accepts, in the runtime folder; "" if it does not
	socket     *socket // with Listener: what it accepts on
	connection *sys.FD // with Connection: its caller's, until it is its own
	hidden     bool    // newcomers do not find path
	listens    bool    // it was seen listening on path

	command       launch.Command
	process       *launch.Process // nil: there is none yet
	log           *launch.Log
	logFrom       int64
	record        launch.Record
	control, exit directory.ID // in the table
	notify        directory.ID // likewise: where it says that it is ready; 0 if nowhere
	notifyUID     int          // who may say so, beside the broker's user and root
	failure       string       // what the exec shim could not do
	listening     bool         // the exec shim has said that it listens
	stopped       bool         // it was told to end
	retired       bool
	adopted       bool
	ended         bool
	asking        []*caller // who wants to know why it ends
}

// prepareLaunching makes what is needed to launch services.
func (b *Broker) prepareLaunching() error {
	b.catalogue = newCatalogue(b.config.Services, b.uid)
	if err := os.MkdirAll(b.folder.at(instanceFolder), 0o700); err != nil {
		return err
	}
	if b.config.Shim != "" || hooked() {
		var err error
		if b.launcher, err = launch.New(launch.Config{Shim: b.config.Shim, Subreaper: b.config.Subreaper}); err != nil {
			return err
		}
	}
	b.loadFormer()
	b.adoptAll()
	b.sweepSockets()
	b.sweepNotify()
	return nil
}

// launch begins to launch a backend. The lock is held.
func (b *Broker) launch(a directory.Launch) {
	var id [16]byte
	rand.Read(id[:])
	be := &backend{id: a.Backend, key: a.Key, definition: a.Definition, instance: hex.EncodeToString(id[:])}
	b.backends[be.id], b.instances[be.instance] = be, be.id
	b.launches++
	var err error
	switch {
	case b.launcher == nil:
		err = errors.New("this program cannot launch services: its main must begin with execshim.Run(), or broker.Config.Shim name a program that does, such as switchboard")
	case a.Connection != 0:
		d := b.table.entries[a.Connection]
		b.unpoll(d.caller)
		be.connection, err = sys.Dup(d.fd.Int())
	case a.Definition.Accept == directory.Listener:
		if be.socket, err = b.bindSocket(a.Key); err == nil {
			b.watchSocket(be.socket, false)
			be.path = be.socket.path
		}
	case a.Definition.Accept == directory.Path:
		be.path = pathSocket(be.instance)
	}
	b.tasks.Go(func() {
		if err == nil {
			err = b.start(be)
		}
		if err != nil {
			b.log.Warn("cannot launch", "name", be.key.Name, "err", err)
			b.finishBackend(be, "could not be launched: "+err.Error(), true)
		}
	})
}

// start forks the process of a backend, which then waits for its order.
func (b *Broker) start(be *backend) error {
	run := be.definition.Run
	user, uid, gid := launch.OwnUser(), -1, -1
	var groups []int
	if run.User != "" && run.User != user.Name {
		if b.uid != 0 {
			return fmt.Errorf("only a broker of root runs services as another user (%q)", run.User)
		}
		var err error
		if user, err = launch.LookupUser(run.User); err != nil {
			return err
		}
		uid, gid, groups = user.UID, user.GID, user.Groups
	}
	accept, err := order.ParseAccept(acceptWord(be.definition.Accept))
	if err != nil {
		return err
	}
	setting := launch.Setting{
		Broker: os.Environ(), User: user, Other: uid >= 0, Env: run.Env, PassEnv: run.PassEnv, RuntimeDir: b.folder.path,
		Name: be.key.Name, Version: be.key.Version, Instance: be.instance, Scope: be.key.Scope,
	}
	if be.path != "" {
		setting.Socket = b.absolute(be.path)
	}
	if be.definition.Accept == directory.Path && len(setting.Socket) > maxSocketPath {
		return fmt.Errorf("the path of its socket, %s, is longer than %d bytes: use a shorter runtime folder", setting.Socket, maxSocketPath)
	}
	if be.definition.Notify {
		if setting.Notify, err = b.bindNotify(be, uid); err != nil {
			return err
		}
	}
	be.command = launch.Command{
		Instance: be.instance, Name: be.key.Name, Env: launch.Environment(setting), Dir: run.Dir, Accept: accept, UID: uid, GID: gid, Groups: groups,
	}
	for _, word := range run.Argv {
		be.command.Argv = append(be.command.Argv, launch.Expand(word, setting.Socket, be.key.Scope))
	}
	if be.command.Dir == "" {
		be.command.Dir = be.key.Scope
	}
	if be.log, err = launch.OpenLog(b.folder.at(logFolder), logName(be.key)); err != nil {
		return err
	}
	defer be.log.Close()
	be.logFrom = be.log.Offset()
	socket := be.connection
	if be.socket != nil {
		socket = be.socket.fd
	}
	process, err := b.launcher.Start(be.command, socket, be.log.File)
	if err != nil {
		return err
	}
	stored, _ := json.Marshal(be.definition)
	be.record = launch.Record{
		Instance: be.instance, Name: be.key.Name, Version: be.key.Version, Scope: be.key.Scope, Namespace: uint64(be.key.Namespace),
		Hash: be.definition.Hash, File: be.definition.Source, Argv: be.command.Argv, Accept: accept.String(), Socket: be.path,
		Log: filepath.Join(logFolder, filepath.Base(be.log.Path)), Since: time.Now().UnixMilli(), Definition: stored,
		StopTimeout: time.Duration(be.definition.Stop), IdleStop: time.Duration(be.definition.Idle),
	}
	if err = be.record.Identify(process, false); err == nil {
		err = launch.WriteRecord(b.folder.at(instanceFolder), be.record)
	}
	if err != nil {
		return errors.Join(err, process.KillTree(), process.Close())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	be.process = process
	if err := b.watchBackend(be); err != nil {
		for _, id := range []directory.ID{be.exit, be.control} {
			b.drop(id)
		}
		be.control = 0
		b.mu.Unlock()
		err = errors.Join(err, process.KillTree())
		b.mu.Lock()
		return err
	}
	b.applyLocked(directory.Launched{
		Backend: be.id, Owner: directory.Peer{PID: process.PID, UID: max(uid, b.uid), Exe: be.command.Argv[0]}, Path: be.path,
		Since: time.Now().UnixMilli(), Now: b.now(),
	})
	return nil
}

// maxSocketPath is what a socket address holds.
const maxSocketPath = 107

func logName(key directory.Key) string {
	n := key.Name
	if key.Version != "" {
		n += "@" + key.Version
	}
	if key.Scope != "" || key.Namespace != directory.Root {
		path, _ := socketPath(directory.Key{Namespace: key.Namespace, Name: key.Name, Version: key.Version, Scope: cmpScope(key.Scope)})
		n += "+" + strings.TrimSuffix(filepath.Base(path), ".sock")
	}
	return n
}

func cmpScope(scope string) string {
	if scope == "" {
		return "/"
	}
	return scope
}

func acceptWord(a directory.Accept) string {
	switch a {
	case directory.Listener:
		return "listener"
	case directory.Connection:
		return "connection"
	case directory.Path:
		return "path"
	}
	return "native"
}

// watchBackend has the loop tell what the process says and when it exits. The lock is held.
func (b *Broker) watchBackend(be *backend) error {
	be.exit = b.table.id()
	fd, err := sys.Dup(be.process.PIDFD.Int())
	if err != nil {
		return err
	}
	if err := b.watch(&descriptor{id: be.exit, kind: backendExit, fd: fd, backend: be}); err != nil {
		return err
	}
	if be.process.Control == nil {
		return nil
	}
	be.control = b.table.id()
	if fd, err = sys.Dup(be.process.Control.Int()); err != nil {
		return err
	}
	return b.watch(&descriptor{id: be.control, kind: backendControl, fd: fd, backend: be})
}

// proceed lets a process run its program. The lock is held.
func (b *Broker) proceed(id directory.ID) {
	be := b.backends[id]
	if be == nil || be.process == nil {
		return
	}
	if err := be.process.Order(be.command); err != nil {
		be.failure = err.Error()
		_ = be.process.Signal(syscall.SIGKILL)
	}
}

// readControl takes what the exec shim of a backend says, up to its end: then the program runs, or the shim has failed.
func (b *Broker) readControl(be *backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drainControl(be)
}

func (b *Broker) drainControl(be *backend) {
	d := b.table.entries[be.control]
	if d == nil {
		return
	}
	p := b.packet()
	defer b.putPacket(p)
	for {
		n, err := p.Recv(d.fd.Int())
		if isAgain(err) {
			return
		}
		p.Message.Close()
		if err != nil || n == 0 {
			break
		}
		r, err := order.ParseReport(p.Data[:n])
		switch {
		case err != nil:
			be.failure = err.Error()
		case r.Kind == order.Failed:
			be.failure = r.Error()
		case r.Kind == order.Listening:
			be.listening = true
		case r.Kind == order.Taken && be.connection != nil:
			cookie, err := sys.Cookie(be.connection.Int())
			if err != nil {
				b.log.Error("cannot identify a connection", "err", err)
			}
			be.connection.Close()
			be.connection = nil
			b.handedOver.Add(1)
			b.applyLocked(directory.Accepted{Backend: be.id, Socket: directory.Socket(cookie), Now: b.now()})
		}
	}
	b.drop(be.control)
	be.control = 0
	if be.failure != "" || !be.listening && (be.definition.Accept == directory.Listener || sys.Exited(be.process.PIDFD.Int())) {
		return // its end is on the way
	}
	if err := be.record.Identify(be.process, true); err == nil {
		if err := launch.WriteRecord(b.folder.at(instanceFolder), be.record); err != nil {
			b.log.Error("cannot record a backend", "name", be.key.Name, "err", err)
		}
	}
	b.applyLocked(directory.Executed{Backend: be.id, Now: b.now()})
	if be.definition.Accept == directory.Path {
		b.probing = append(b.probing, be)
		b.probeAt = b.now()
		b.poller.Wake()
	}
}

// probe looks whether those who bind a path listen there yet.
func (b *Broker) probe(now int64) {
	if len(b.probing) == 0 || now < b.probeAt {
		return
	}
	b.mu.Lock()
	waiting := slices.Clone(b.probing)
	b.mu.Unlock()
	var seen []*backend
	for _, be := range waiting {
		if ok, err := sys.ListeningAt(b.folder.at(be.path)); err == nil && ok {
			seen = append(seen, be)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, be := range seen {
		be.listens = true
		b.linkNewest(be.key.Name)
		b.applyLocked(directory.Ready{Backend: be.id, Now: b.now()})
	}
	b.probing = slices.DeleteFunc(b.probing, func(be *backend) bool { return be.ended || be.listens })
	b.probeAt = b.now() + int64(probeEvery)
}

const probeEvery = 2 * time.Millisecond

// backendExited goes on after the main process of a backend has exited.
func (b *Broker) backendExited(be *backend) {
	b.mu.Lock()
	b.drop(be.exit)
	b.drainControl(be)
	var sessions []*clientSession
	for _, d := range b.table.entries {
		if d.kind == sessionConn && d.session.peer.PID == be.process.PID {
			sessions = append(sessions, d.session)
		}
	}
	b.mu.Unlock()
	for _, s := range sessions {
		b.drain(s) // what it acknowledged counts
	}
	b.tasks.Go(func() {
		status, _ := be.process.Wait()
		text, failed := status.String(), !status.Success()
		if be.failure != "" {
			text, failed = "could not be run: "+be.failure, true
		}
		if err := be.process.KillTree(); err != nil {
			b.log.Error("cannot end all that a backend started", "name", be.key.Name, "err", err)
		}
		b.finishBackend(be, text, failed)
	})
}

// finishBackend tells the directory that a backend is gone, and gives back what it had.
func (b *Broker) finishBackend(be *backend, status string, failed bool) {
	var output []string
	if be.log != nil {
		output = launch.Tail(be.log.Path, be.logFrom, outputLines)
	}
	unserved := false
	if be.socket != nil && !be.hidden {
		if file, err := sys.StatSocket(b.folder.at(be.path)); err == nil {
			if use, err := sys.UseOf([]sys.SocketFile{file}); err == nil {
				unserved = use[0].Waiting > 0
			}
		}
	}
	b.log.Info("backend ended", "name", be.key.Name, "version", be.key.Version, "status", status)
	b.mu.Lock()
	be.ended = true
	delete(b.backends, be.id)
	delete(b.instances, be.instance)
	_ = launch.RemoveRecord(b.folder.at(instanceFolder), be.instance)
	if be.control != 0 {
		b.drop(be.control)
	}
	b.closeNotify(be)
	be.connection.Close()
	if be.socket == nil || be.hidden {
		if be.path != "" {
			b.folder.unlink(be.path)
		}
	} else if err := sys.Relisten(be.socket.fd.Int(), backlog); err != nil { // callers see the broker again, until the next one
		b.log.Error("cannot listen for a service", "name", be.key.Name, "err", err)
	}
	b.linkNewest(be.key.Name)
	b.applyLocked(directory.Ended{Backend: be.id, Status: status, Failed: failed, Unserved: unserved, Output: output, Now: b.now()})
	b.noteEnd(be)
	b.releaseSocket(be)
	b.busyAt = b.now()
	b.mu.Unlock()
	b.finishSlices()
	if be.process != nil {
		be.process.Close()
	}
	b.poller.Wake()
}

// releaseSocket watches the socket of a service that has no process now, or closes it if there is no definition of it. The lock is held.
func (b *Broker) releaseSocket(be *backend) {
	if be.definition.Accept != directory.Listener {
		return
	}
	if be.hidden && be.socket != nil {
		b.table.take(be.socket.id)
		be.socket.fd.Close()
	}
	if b.accepting(be.key) {
		return
	}
	s, defined := b.sockets[be.key], be.definition.Source != "" && be.key.Scope == "" && b.ending == ""
	switch {
	case s != nil && defined:
		b.watchSocket(s, true)
	case s != nil:
		b.flush(be.key)
		b.closeSocket(s)
	case defined: // it had been found again, and had its socket for itself
		b.rescanAt = b.now()
	}
}

// stopBackend tells a backend to end, or kills it. The lock is held.
func (b *Broker) stopBackend(a directory.Stop) {
	be := b.backends[a.Backend]
	if be == nil || be.process == nil || be.ended {
		return
	}
	be.stopped = true
	b.hide(be)
	if a.Kill {
		_ = be.process.Signal(syscall.SIGKILL)
		return
	}
	if err := be.process.Signal(syscall.SIGTERM); err != nil {
		b.log.Error("cannot stop a backend", "name", be.key.Name, "err", err)
	}
}

func (b *Broker) retire(a directory.Retire) {
	be := b.backends[a.Backend]
	if be == nil {
		return
	}
	be.retired = true
	b.hide(be)
	if s := b.sockets[be.key]; s != nil && be.definition.Source != "" && !b.busy(be.key) {
		b.watchSocket(s, true) // who connects from now on has the next one launched
	}
}

// count counts the connections of a backend, and stops newcomers before it is ended for having none. The lock is held.
func (b *Broker) count(id directory.ID) {
	be := b.backends[id]
	if be == nil {
		return
	}
	b.tasks.Go(func() {
		open := b.openConnections(be)
		b.mu.Lock()
		hide := open == 0 && be.path != "" && !be.hidden && !be.ended && b.directory.WouldStop(id, b.now())
		if hide {
			b.hide(be)
		}
		b.mu.Unlock()
		if hide {
			open = b.openConnections(be)
		}
		b.mu.Lock()
		if hide && open > 0 && !be.ended {
			b.unhide(be)
		}
		b.applyLocked(directory.Counted{Backend: id, Open: open, Now: b.now()})
		b.mu.Unlock()
		b.finishSlices()
		b.poller.Wake()
	})
}

func (b *Broker) openConnections(be *backend) int {
	if be.definition.Accept == directory.HandedOver {
		b.compareConnections() // the directory counts what it knows
		if be.adopted {
			return b.formerConnections()
		}
		return 0
	}
	b.mu.Lock()
	path := be.path
	b.mu.Unlock()
	file, err := sys.StatSocket(b.folder.at(path))
	if err != nil {
		return 1 // not known: it is not ended for that
	}
	use, err := sys.UseOf([]sys.SocketFile{file})
	if err != nil {
		return 1
	}
	return use[0].Open + use[0].Waiting
}

// tellLate says what backends wrote whose time to start is over.
func (b *Broker) tellLate(now int64) {
	b.mu.Lock()
	var late []*backend
	b.directory.Late(now, func(id directory.ID) {
		if be := b.backends[id]; be != nil && be.process != nil {
			b.drainControl(be)
			late = append(late, be)
		}
	})
	b.mu.Unlock()
	for _, be := range late {
		var output []string
		if be.log != nil {
			output = launch.Tail(be.log.Path, be.logFrom, outputLines)
		}
		b.apply(directory.NotReady{Backend: be.id, Output: output, Now: now})
	}
}
