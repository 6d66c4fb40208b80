// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
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
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
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
	idle          bool // it was ended because nobody called it
	ended         bool
	asking        []*caller // who wants to know why it ends

	// Of what is Probed.
	aside         string // where the listener is until it is adopted
	takesHandoffs bool
	handoffs      handoffs
	trace         [2]string // of who had it launched
	helloAt       int64     // of the last Hello, Unix milliseconds
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

var errNoLauncher = errors.New("this program cannot launch services: its main must begin with execshim.Run(), or broker.Config.Shim name a program that does, such as switchboard")

// launch begins to launch a backend. The lock is held.
func (b *Broker) launch(a directory.Launch) {
	var id [16]byte
	rand.Read(id[:])
	be := &backend{id: a.Backend, key: a.Key, definition: a.Definition, instance: hex.EncodeToString(id[:])}
	b.backends[be.id], b.instances[be.instance] = be, be.id
	b.launches++
	b.note(be, envelope.EventSpawnAttempt, "")
	var err error
	switch {
	case b.launcher == nil:
		err = errNoLauncher
	case a.Connection != 0:
		d := b.table.entries[a.Connection]
		b.unpoll(d.caller)
		be.connection, err = sys.Dup(d.fd.Int())
	case a.Definition.Accept == directory.Listener:
		if be.socket, err = b.bindSocket(a.Key); err == nil {
			b.watchSocket(be.socket, false)
			be.path = be.socket.path
		}
	case a.Definition.Probed:
		be.trace = b.traces[a.Key]
		err = b.bindProbed(be)
	case a.Definition.Accept == directory.Path:
		be.path = pathSocket(be.instance)
	}
	b.tasks.Go(func() {
		if a.Definition.Accept == directory.Ports {
			b.awaitPorts(a.Key)
		}
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
	accept, err := order.ParseAccept(acceptWord(be))
	if err != nil {
		return err
	}
	setting := launch.Setting{
		Broker: os.Environ(), User: user, Other: uid >= 0, Env: run.Env, PassEnv: run.PassEnv, RuntimeDir: b.folder.path,
		Name: be.key.Name, Version: be.key.Version, Instance: be.instance, Scope: be.key.Scope,
	}
	if be.key.Namespace == directory.Root && !be.definition.Probed {
		setting.Bootstrap = b.absolute(bootstrapSocket)
	}
	if be.definition.Probed {
		setting.Env, setting.Fixed = nil, slices.Concat(run.Env, b.probedEnvironment(be))
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
		if !be.definition.Probed {
			word = launch.Expand(word, setting.Socket, be.key.Scope)
		}
		be.command.Argv = append(be.command.Argv, word)
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
	if be.aside != "" { // the listener is the process's alone
		be.connection.Close()
		be.connection = nil
	}
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
		path, _ := socketPath(directory.Key{Namespace: key.Namespace, Name: key.Name, Version: key.Version, Scope: cmp.Or(key.Scope, "/")})
		n += "+" + strings.TrimSuffix(filepath.Base(path), ".sock")
	}
	return n
}

// acceptWord is what the exec shim is to do with the socket of a backend.
func acceptWord(be *backend) string {
	if be.aside != "" {
		return "listener"
	}
	switch be.definition.Accept {
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
