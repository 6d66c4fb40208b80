// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// instanceFolder, in the runtime folder, has a record of each backend, and the sockets that have no name of their own.
const instanceFolder = launch.RecordFolder

// socket is the listening socket of a service that is launched when somebody connects. It is the broker's until a backend accepts
// on it, and again after that has ended.
type socket struct {
	key     directory.Key
	id      directory.ID // in the table
	fd      *sys.FD
	path    string // in the runtime folder
	watched bool   // the loop tells when somebody connects
}

// socketPath is where the socket of a service is: s/NAME@VERSION for one with a version and without a scope. s/NAME is a link to the
// newest of them, so the one without a version is elsewhere too; a scoped one has no name to be found by.
func socketPath(key directory.Key) (string, error) {
	if key.Version == "" || key.Scope != "" || key.Namespace != directory.Root {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%s", key.Namespace, key.Name, key.Version, key.Scope))
		return filepath.Join(instanceFolder, hex.EncodeToString(sum[:8])+".sock"), nil
	}
	file := key.Name + "@" + key.Version
	if len(file) > maxSocketName {
		return "", fmt.Errorf("name %q is too long for a socket of its own: at most %d bytes with its version", key.Name, maxSocketName)
	}
	return filepath.Join(serviceFolder, file), nil
}

// bindSocket returns the socket of a service, bound now if it is not yet. The lock is held.
func (b *Broker) bindSocket(key directory.Key) (*socket, error) {
	if s := b.sockets[key]; s != nil {
		return s, nil
	}
	path, err := socketPath(key)
	if err != nil {
		return nil, err
	}
	fd, err := b.folder.listen(path, sys.Stream)
	if err != nil {
		return nil, err
	}
	s := &socket{key: key, id: b.table.id(), fd: fd, path: path}
	b.sockets[key] = s
	b.table.put(&descriptor{id: s.id, kind: activationSocket, fd: fd, service: s})
	b.linkNewest(key.Name)
	return s, nil
}

// watchSocket has the loop tell when somebody connects, or stops it. The lock is held.
func (b *Broker) watchSocket(s *socket, on bool) {
	if s.watched == on {
		return
	}
	var err error
	if on {
		err = b.poller.Add(s.fd.Int(), sys.Readable, uint64(s.id))
	} else {
		err = b.poller.Remove(s.fd.Int())
	}
	if err != nil {
		b.log.Error("cannot watch a service's socket", "name", s.key.Name, "err", err)
		return
	}
	s.watched = on
}

// closeSocket gives a socket up, and removes it from the folder. The lock is held.
func (b *Broker) closeSocket(s *socket) {
	b.watchSocket(s, false)
	b.table.take(s.id)
	if b.sockets[s.key] == s {
		delete(b.sockets, s.key)
		b.folder.unlink(s.path)
	}
	s.fd.Close()
	b.linkNewest(s.key.Name)
}

// linkNewest makes s/NAME lead to the newest version of a service that has a socket and no scope. The lock is held.
func (b *Broker) linkNewest(name string) {
	newest, target := "", ""
	consider := func(key directory.Key, path string) {
		if key.Name == name && key.Scope == "" && key.Namespace == directory.Root && (target == "" || directory.NewerVersion(key.Version, newest)) {
			newest, target = key.Version, path
		}
	}
	for key, s := range b.sockets {
		consider(key, s.path)
	}
	for _, be := range b.backends {
		if be.listens && !be.hidden && (be.definition.Accept == directory.Path || be.definition.Accept == directory.Listener) {
			consider(be.key, be.path)
		}
	}
	link := b.folder.at(filepath.Join(serviceFolder, name))
	if st, err := os.Lstat(link); err == nil && st.Mode()&fs.ModeSymlink == 0 {
		return // a socket of its own
	}
	if target == "" {
		os.Remove(link)
		return
	}
	temporary := link + "@new"
	os.Remove(temporary)
	if !filepath.IsAbs(target) {
		target = filepath.Join("..", target)
	}
	err := os.Symlink(target, temporary)
	if err == nil {
		err = os.Rename(temporary, link)
	}
	if err != nil {
		b.log.Error("cannot link a service's name", "name", name, "err", err)
	}
}

// pathSocket is where the program of a service with Path binds its socket.
func pathSocket(instance string) string { return filepath.Join(instanceFolder, instance+".sock") }

// oldSuffix is what the socket of a backend is called by that newcomers do not find.
const oldSuffix = ".old"

// ownPath is where newcomers find the socket of a backend; path is where it is now, there or aside.
func ownPath(key directory.Key, def directory.Definition, instance, path string) string {
	switch {
	case def.Probed:
		return strings.TrimSuffix(path, oldSuffix)
	case def.Accept == directory.Listener:
		path, _ = socketPath(key) // it had that one
		return path
	}
	return pathSocket(instance)
}

// asidePath is where a socket is put that newcomers are not to find.
func asidePath(path, instance string) string {
	if filepath.IsAbs(path) { // on another file system, perhaps
		return path + oldSuffix
	}
	return filepath.Join(instanceFolder, instance+oldSuffix)
}

// busy reports whether a process is there for a key, or has still to end before the next is launched. The lock is held.
func (b *Broker) busy(key directory.Key) bool {
	for _, be := range b.backends {
		if be.key == key && !be.retired {
			return true
		}
	}
	return false
}

// accepting reports whether a backend is there for a key. The lock is held.
func (b *Broker) accepting(key directory.Key) bool {
	for _, be := range b.backends {
		if be.key == key && !be.hidden {
			return true
		}
	}
	return false
}

// flush closes what has connected to a service's socket: who asks by DIAL is told why. The lock is held.
func (b *Broker) flush(key directory.Key) {
	s := b.sockets[key]
	if s == nil {
		return
	}
	// A backend that had it left it blocking.
	if err := sys.SetNonblock(s.fd.Int(), true); err != nil {
		b.log.Error("cannot empty a service's socket", "name", key.Name, "err", err)
		return
	}
	for {
		fd, err := sys.Accept(s.fd.Int())
		if err != nil {
			return
		}
		sys.NewFD(fd).Close()
	}
}

// hide takes the socket of a backend from newcomers, who find a new one. The lock is held.
func (b *Broker) hide(be *backend) {
	if be.hidden {
		return
	}
	be.hidden = true
	// Clients of running-process that were just told the path do not ask again: what is retired keeps it to its end.
	if be.path != "" && !(be.definition.Probed && be.retired) {
		aside := asidePath(be.path, be.instance)
		if err := os.Rename(b.folder.at(be.path), b.folder.at(aside)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.log.Error("cannot set a socket aside", "name", be.key.Name, "err", err)
		}
		be.path = aside
	}
	if be.definition.Accept == directory.Listener && be.path != "" {
		if s := b.sockets[be.key]; s != nil && s == be.socket {
			delete(b.sockets, be.key)
		}
		if _, err := b.bindSocket(be.key); err != nil {
			b.log.Error("cannot listen for a service", "name", be.key.Name, "err", err)
		}
	}
	b.rerecord(be)
	b.linkNewest(be.key.Name)
}

// unhide undoes hide: somebody connected meanwhile. The lock is held.
func (b *Broker) unhide(be *backend) {
	if !be.hidden || be.path == "" {
		return
	}
	path := ownPath(be.key, be.definition, be.instance, be.path)
	if fresh := b.sockets[be.key]; fresh != nil {
		b.flush(be.key)
		b.closeSocket(fresh)
	}
	if err := os.Rename(b.folder.at(be.path), b.folder.at(path)); err != nil {
		b.log.Error("cannot bring a socket back", "name", be.key.Name, "err", err)
	}
	be.hidden, be.path = false, path
	b.rerecord(be)
	if be.socket != nil { // an adopted one is its backend's alone
		b.sockets[be.key] = be.socket
	}
	b.linkNewest(be.key.Name)
}

// rerecord writes where a backend's socket is now, and whether newcomers find it. The lock is held.
func (b *Broker) rerecord(be *backend) {
	if be.process == nil || be.ended {
		return
	}
	be.record.Socket, be.record.Retired = be.path, be.hidden
	if err := launch.WriteRecord(b.folder.at(instanceFolder), be.record); err != nil {
		b.log.Error("cannot record a backend", "name", be.key.Name, "err", err)
	}
}
