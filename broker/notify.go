// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/execshim"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func hooked() bool { return execshim.Hooked() }

// notifyPath is where an instance says what it says of itself (sd_notify), if it runs as the broker's own user.
func notifyPath(instance string) string { return filepath.Join(instanceFolder, instance+".notify") }

// bindNotify binds the address at which a backend says that it is ready. Each has its own, so that who sends need not be asked whose
// descendant it is: it may have exited before it is heard. uid is whom the backend runs as; negative: as the broker's own user.
func (b *Broker) bindNotify(be *backend, uid int) (address string, err error) {
	address, notifyUID := b.absolute(notifyPath(be.instance)), b.uid
	bind := b.folder.at(notifyPath(be.instance))
	if uid >= 0 {
		notifyUID = uid
	}
	if uid >= 0 || len(address) > maxSocketPath { // who cannot enter the folder, or not say where in it
		var secret [16]byte
		rand.Read(secret[:]) // not the instance, which its cgroup shows to everybody
		address = "@switchboard/" + hex.EncodeToString(secret[:]) + "/notify"
		bind = address
	}
	fd, err := sys.BindDatagram(bind)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return address, b.watchNotify(be, fd, notifyUID)
}

func (b *Broker) watchNotify(be *backend, fd *sys.FD, uid int) error {
	id := b.table.id()
	if err := b.watch(&descriptor{id: id, kind: notifySocket, fd: fd, backend: be}); err != nil {
		return err
	}
	be.notify, be.notifyUID = id, uid
	return nil
}

// rebindNotify lets a backend that was found again before it was ready say so to this broker. The lock is held.
func (b *Broker) rebindNotify(be *backend) {
	path := b.folder.at(notifyPath(be.instance))
	if _, err := os.Lstat(path); err != nil {
		return // it has none, or one without a path: that is not known any more
	}
	b.folder.unlink(notifyPath(be.instance))
	fd, err := sys.BindDatagram(path)
	if err == nil {
		err = b.watchNotify(be, fd, b.uid)
	}
	if err != nil {
		b.log.Error("cannot hear when a backend is ready", "name", be.key.Name, "err", err)
	}
}

// closeNotify gives back what bindNotify took. The lock is held.
func (b *Broker) closeNotify(be *backend) {
	if !be.definition.Notify {
		return
	}
	b.drop(be.notify)
	be.notify = 0
	b.folder.unlink(notifyPath(be.instance))
}

// sweepNotify removes the sockets of backends that have ended without a broker.
func (b *Broker) sweepNotify() {
	if b.launcher == nil {
		return // none was looked for
	}
	entries, _ := os.ReadDir(b.folder.at(instanceFolder))
	for _, e := range entries {
		instance, ok := strings.CutSuffix(e.Name(), ".notify")
		if _, lives := b.instances[instance]; ok && !lives {
			b.folder.unlink(notifyPath(instance))
		}
	}
}

// readNotify takes what a backend says of itself. Abstract addresses are seen, and can be written to, by everybody: so only what the
// users say counts who could end the backend anyway.
func (b *Broker) readNotify(d *descriptor) {
	be := d.backend
	b.mu.Lock() // so that nobody closes the socket meanwhile
	p := b.packet()
	for range doorAtOnce {
		if b.table.entries[d.id] != d {
			break
		}
		n, err := p.Recv(d.fd.Int())
		if err != nil {
			break
		}
		uid, from := p.Cred.UID, p.HasCred
		ready := launch.ParseNotify(p.Data[:n]).Ready
		p.Message.Close()
		if ready && from && (uid == be.notifyUID || uid == b.uid || uid == 0) && be.process != nil {
			b.applyLocked(directory.Ready{Backend: be.id, Notified: true, Now: b.now()})
		}
	}
	b.putPacket(p)
	b.mu.Unlock()
	b.finishSlices()
}

// reapOrphans reaps what backends left behind, where this process is the broker's alone. The function that it returns ends that.
func (b *Broker) reapOrphans() func() {
	if b.launcher == nil || !b.config.Subreaper {
		return func() {}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			b.launcher.Reap()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// starting reports whether a process is being launched that the broker would leave half done. The lock is held.
func (b *Broker) starting() bool {
	for _, be := range b.backends {
		if be.process == nil || be.control != 0 {
			return true
		}
	}
	return false
}
