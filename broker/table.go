// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os/exec"
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// kind says what a descriptor in the table is for.
type kind uint8

const (
	brokerListener     kind = iota + 1
	sessionListener         // session.sock
	folderWatch             // inotify of the runtime folder
	sessionConn             // of a session
	processWatch            // pidfd of a session's process
	callerSocket            // of a caller: reading its line, waiting, or handed over and not acknowledged
	doorSocket              // our end of a door
	serviceSocket           // listening socket that a service accepts on
	backendControl          // what the exec shim of a backend says
	backendExit             // pidfd of a backend
	activationSocket        // listening socket of a service that is launched when somebody connects
	notifySocket            // where one backend says that it is ready
	definitionWatch         // inotify of the folders of definitions
	envelopeListener        // where clients of the running-process broker connect
	handoffSocket           // to a backend of the running-process front, for handoffs
	bootstrapListener       // bootstrap.sock
	controlConnKind         // a control connection of the Mach front
	controlWatch            // pidfd of its process
	portSend                // send end of a port, under its lease
	portReceive             // receive end of a declared port
	watchedRight            // a right whose death somebody is to be told of
	bootstrapPortKind       // our end of a bootstrap port
	bootstrapUserWatch      // pidfd of a process that changed something by a bootstrap port
	spawnedWatch            // pidfd of a program that was started for a client
	notifyWatch             // a right of a request to be told
)

// accepts reports whether newcomers come by descriptors of a kind.
func (k kind) accepts() bool {
	return k == brokerListener || k == sessionListener || k == envelopeListener || k == bootstrapListener
}

// descriptor is one long-lived descriptor. Its id is the token of its readiness in the loop, and what the
// directory knows it by.
type descriptor struct {
	id      directory.ID
	kind    kind
	fd      *sys.FD
	session *clientSession // for sessionConn and processWatch
	caller  *caller        // for callerSocket
	backend *backend       // for backendControl, backendExit, notifySocket and handoffSocket
	service *socket        // for activationSocket
	path    string         // for serviceSocket: its name in the runtime folder; for envelopeListener: its address
	control *controlConn   // for controlConnKind and controlWatch
	port    *port          // for portSend and portReceive
	right   *sharedRight   // for the same and watchedRight: fd is its, and others may hold it, too
	watch   *rightWatch    // for watchedRight
	boot    *bootstrapPort // for bootstrapPortKind, bootstrapUserWatch and doorSocket
	user    *machSession   // for bootstrapUserWatch
	spawned *exec.Cmd      // for spawnedWatch
	notice  *notice        // for notifyWatch
}

// table holds every long-lived descriptor of the broker under a stable id that is never used twice. The
// broker's lock guards it; ids may be drawn without.
type table struct {
	next    atomic.Uint64
	entries map[directory.ID]*descriptor
}

func newTable() *table {
	t := &table{entries: make(map[directory.ID]*descriptor)}
	t.next.Store(uint64(directory.FirstFree))
	return t
}

// id draws an id.
func (t *table) id() directory.ID { return directory.ID(t.next.Add(1) - 1) }

// put adds d under its id.
func (t *table) put(d *descriptor) { t.entries[d.id] = d }

// take removes what is under id and returns it, or nil. Its descriptor is the caller's to close.
func (t *table) take(id directory.ID) *descriptor {
	d := t.entries[id]
	delete(t.entries, id)
	return d
}
